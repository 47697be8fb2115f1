// The console's one script. Every page works without it; with it, tests show their steps as they happen, and nothing that was
// typed is lost. It writes text, never markup: what comes from elsewhere stays text.
const find = (selector, root = document) => root.querySelector(selector);
const make = (tag, members) => Object.assign(document.createElement(tag), members);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
document.documentElement.classList.add("scripted");

// --- What was typed and is not secret outlives a reload, in this tab only.
const draftOf = (form) => form.dataset.draft && `draft:${location.pathname}:${form.dataset.draft}`;
const kept = (form) => all("[data-keep]", form);
let unsaved = false;

function keepDraft(form) {
  unsaved = true;
  sessionStorage.setItem(draftOf(form), JSON.stringify(kept(form).map((input) => [input.value, input.checked])));
}
function restoreDraft(form) {
  const values = JSON.parse(sessionStorage.getItem(draftOf(form)) || "[]");
  kept(form).forEach((input, number) => {
    if (number in values) [input.value, input.checked] = values[number];
  });
}

// --- What is wrong, at its field and in a list above.
const titleOf = (input) => (find(`label[for="${CSS.escape(input.id)}"]`)?.firstChild.textContent || input.name).trim();
const linkTo = (input, text) => make("a", {
  href: `#${input.id}`, textContent: text, onclick: (event) => { event.preventDefault(); input.focus(); },
});

function clearProblems(form) {
  all("[aria-invalid]", form).forEach((input) => input.removeAttribute("aria-invalid"));
  all(".problem", form).forEach((text) => text.remove());
  all(".problems", form).forEach((box) => { box.hidden = true; });
}

function markField(form, name, message) {
  const input = all("[name]", form).find((one) => one.name === name && one.type !== "radio");
  if (!input) return null;
  input.closest(".stored")?.querySelectorAll("[value=replace]").forEach((replace) => { replace.checked = true; });
  input.closest("details")?.setAttribute("open", "");
  input.setAttribute("aria-invalid", "true");
  input.closest("[data-input]").append(make("p", { className: "problem", id: `${input.id}-problem`, textContent: message }));
  return input;
}

function showProblems(form, { problems = {}, summary = "", retry_after: wait = null }) {
  const box = find(".problems", form);
  const list = find("ul", box);
  list.replaceChildren();
  for (const [name, message] of Object.entries(problems)) {
    const input = markField(form, name, message);
    list.append(make("li", {}));
    list.lastChild.append(...(input ? [linkTo(input, titleOf(input)), `: ${message}`] : [message]));
  }
  const title = find(".problems-title span", box);
  title.textContent = summary;
  box.hidden = false;
  box.focus();
  if (wait) countDown(wait, (left) => { title.textContent = left ? `${summary} Try again in ${left} s.` : "Try again now."; });
}

function countDown(seconds, say) {
  say(seconds);
  const clock = setInterval(() => (seconds > 0 ? say(--seconds) : clearInterval(clock)), 1000);
  return clock;
}

// --- A test, step by step.
class TestPanel {
  constructor(panel, stop, button) {
    Object.assign(this, { panel, button, report: [] });
    this.steps = find(".steps.live", panel);
    this.copy = find("[data-copies]", panel);
    this.cancel = find("[data-cancels]", panel);
    this.cancel.onclick = () => stop.abort();
    [...all(".steps:not(.live)", panel), ...this.steps.children].forEach((part) => part.remove());
    find(".test-idle", panel).hidden = find(".verdict", panel).hidden = this.copy.hidden = true;
    this.steps.hidden = this.cancel.hidden = false;
    this.row("waiting", "running", "for its turn");
  }
  row(name, status, words, time = "") {
    let row = all("li", this.steps).find((one) => one.dataset.name === name);
    if (!row) {
      row = find(".step-row", this.panel).content.firstElementChild.cloneNode(true);
      row.dataset.name = name;
      find(".step-name", row).textContent = name.replaceAll("_", " ");
      this.steps.append(row);
    }
    row.className = status;
    find(".step-mark", row).textContent = { passed: "✓", failed: "✕", skipped: "–" }[status] || "";
    find(".step-status", row).textContent = words;
    find(".step-time", row).textContent = time;
  }
  take(name, data) {
    if (name === "queued") this.row("waiting", "running", `for its turn, ${data.position} before it`);
    if (name === "started") {
      const text = find(".deadline", this.panel);
      this.steps.replaceChildren();
      text.hidden = false;
      this.clock = countDown(Math.ceil(data.deadline_ms / 1000), (left) => { text.textContent = `It ends within ${left} s.`; });
    }
    if (name === "step") {
      const words = data.reason ? `${data.status}, ${data.reason.replaceAll("_", " ")}` : data.status;
      const time = ["running", "skipped"].includes(data.status) ? "" : `${Math.round(data.elapsed_ms * 10) / 10} ms`;
      this.row(data.name, data.status, words, time);
      if (data.status !== "running") this.report.push(`${data.name}: ${words} ${time}`.trim());
    }
    if (name === "verdict") {
      const failed = data.test_status === "failed";
      this.end(!failed, failed ? `Failed: ${data.failure_code.replaceAll("_", " ")}` : "Passed", data.failure_reason || "");
    }
  }
  end(good, title, reason = "") {
    clearInterval(this.clock);
    if (this.cancel.matches(":focus")) this.button.focus(); // what is hidden cannot keep it
    find(".deadline", this.panel).hidden = this.cancel.hidden = true;
    all("li.running", this.steps).forEach((row) => row.remove());
    const box = find(".verdict", this.panel);
    box.className = `verdict ${good ? "good" : "bad"}`;
    box.hidden = this.copy.hidden = false;
    find(".verdict-title", box).textContent = title;
    find(".verdict-reason", box).textContent = reason;
    find(".verdict-where", box).replaceChildren();
    this.copy.dataset.text = [...this.report, title, reason].join("\n").trim();
  }
  leadTo(input) {
    find(".verdict-where", this.panel).append(linkTo(input, `Go to ${titleOf(input)}`));
    input.focus(), input.select?.(); // what is wrong is typed over
  }
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "", part; !(part = await reader.read()).done; ) {
    const blocks = (held + part.value).split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const lines = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
      if (lines.event) yield [lines.event, JSON.parse(lines.data)];
    }
  }
}

if (find(".secret-once")) history.replaceState(null, "", location.href); // a reload asks for the page, and makes no second one
const isStream = (response) => response.headers.get("Content-Type").startsWith("text/event-stream");
const bodyOf = (form, button) => new URLSearchParams(new FormData(form, button));
const send = (to, body, signal, accept) => fetch(to, { method: "POST", body, headers: { Accept: accept }, signal });

function leave(form, address) {
  unsaved = false;
  sessionStorage.removeItem(draftOf(form));
  location.assign(address);
}
async function submitLive(form, button) {
  const stop = new AbortController();
  const tests = form.matches(".test-now") || (form.matches(".with-test > form") && button.value !== "store");
  const sending = send(form.action, bodyOf(form, button), stop.signal, tests ? "text/event-stream" : "application/json");
  const panel = tests && new TestPanel(find("#test"), stop, button);
  const say = (data) => {
    if (panel) panel.end(false, data.summary);
    if (find(".problems", form) && (data.problems || !panel)) showProblems(form, data);
  };
  clearProblems(form);
  form.ariaBusy = "true";
  try {
    const response = await sending;
    if (!isStream(response)) {
      const answer = await response.json();
      if (response.ok && answer.location) return leave(form, answer.location);
      if (answer.compare) return (unsaved = false), form.submit(); // the page that shows both versions
      if (answer.signed_out) answer.summary = "You are signed out. Sign in in another tab, then try again: what you typed stays.";
      return say(answer);
    }
    for await (const [name, data] of eventsOf(response)) {
      panel.take(name, data);
      if (name === "verdict") {
        const marked = data.failure_fields.map((field) => markField(form, `field.${field}`, data.failure_reason)).filter(Boolean);
        if (marked.length) panel.leadTo(marked.find((input) => input.matches("[data-secret]")) ?? marked[0]);
      } else if (data.location) leave(form, data.location);
      else if (name === "done" || name === "refused") say(data);
    }
  } catch {
    say({ summary: stop.signal.aborted ? "Cancelled." : "The service does not answer. What you typed stays; try again." });
  } finally {
    form.ariaBusy = null;
  }
}
for (const form of all("form[data-live]")) {
  if (draftOf(form)) restoreDraft(form);
  form.addEventListener("input", () => draftOf(form) && keepDraft(form));
  form.addEventListener("submit", (event) => { event.preventDefault(); if (!form.ariaBusy) submitLive(form, event.submitter); });
}
addEventListener("beforeunload", (event) => (unsaved ? event.preventDefault() : document.body.classList.add("leaving")));

// --- Where a stored secret must not follow: changing such a field asks for the secrets at once.
for (const form of all("form").filter((one) => find("fieldset.stored", one))) {
  const deciding = all("[data-repoints]", form);
  const before = new Map(deciding.map((input) => [input, input.value]));
  form.addEventListener("input", ({ target }) => {
    if (!before.has(target)) return;
    const moved = deciding.filter((input) => input.value !== before.get(input)).map((input) => input.dataset.repoints).join(", ");
    for (const field of all("fieldset.stored", form)) {
      const text = find(".repoint-text", field), keep = find("[value=keep]", field);
      if (moved && keep.checked) find("[value=replace]", field).checked = true;
      if (!moved && !text.hidden) keep.checked = true;
      text.hidden = !moved;
      text.textContent = `${moved} changes, so what is stored will not be sent there; enter it again.`;
    }
    find("[data-undo]", form).hidden = !moved;
  });
  find("[data-undo]", form).onclick = () => before.forEach((value, input) => {
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.focus();
  });
}

// --- Small helps: a key for the search, show what is typed, copy, go to a line, read a file into a field.
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); find("#find")?.focus(); }
});
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-reveals], [data-copies], [data-line]");
  if (!button) return;
  if (button.dataset.reveals) {
    const input = document.getElementById(button.dataset.reveals);
    input.type = input.type === "text" ? "password" : "text";
    button.textContent = input.type === "text" ? "Hide" : "Show";
  } else if (button.dataset.copies) {
    await navigator.clipboard.writeText(button.dataset.text || document.getElementById(button.dataset.copies).textContent);
    find("#notices").textContent = "Copied.";
  } else {
    const text = find("#text");
    const lines = text.value.split("\n"), number = Number(button.dataset.line);
    const start = lines.slice(0, number - 1).reduce((length, line) => length + line.length + 1, 0);
    text.focus();
    text.setSelectionRange(start, start + lines[number - 1].length);
    text.scrollTop = (number - 4) * parseFloat(getComputedStyle(text).lineHeight);
  }
});

async function readInto(into, file) {
  into.value = await file.text();
  into.dispatchEvent(new Event("input", { bubbles: true }));
}
all("[data-into]").forEach((input) => { input.onchange = () => readInto(find(`[id="${input.dataset.into}"]`), input.files[0]); });
all("[data-drop]").forEach((area) => area.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) { event.preventDefault(); readInto(area, event.dataTransfer.files[0]); }
}));

// --- One action on many connections, with each outcome as it comes.
for (const form of all("[data-bulk]")) {
  const bar = find(".bulk-progress", form), text = find(".bulk-text", bar), failures = find(".bulk-failures", bar);
  const retry = find("[data-retries]", bar), halt = find("[data-stops]", bar), boxes = all("[name=key]", form);
  find("[data-ticks-all]", form).onchange = ({ target }) => boxes.forEach((box) => { box.checked = target.checked; });
  const run = async (button, keys) => {
    const stop = new AbortController(), body = bodyOf(form, button), failed = [];
    if (keys) ["all", "key"].forEach((name) => body.delete(name)); // these, and not what is ticked
    keys?.forEach((key) => body.append("key", key));
    if (keys) body.set("count", keys.length);
    retry.onclick = () => { halt.hidden = false; halt.focus(); run(button, failed); };
    halt.onclick = () => stop.abort();
    form.ariaBusy = "true";
    retry.hidden = !(bar.hidden = halt.hidden = false);
    [text, failures].forEach((part) => part.replaceChildren());
    try {
      const response = await send(form.action, body, stop.signal, "text/event-stream");
      if (!isStream(response)) return (text.textContent = (await response.json()).summary);
      for await (const [name, told] of eventsOf(response)) {
        if (name === "done") return location.assign(told.location);
        if (name === "refused") return (text.textContent = told.summary);
        find("progress", bar).value = told.done / told.total;
        if (!told.ok) failed.push(told.key), failures.append(make("li", { textContent: `${told.key}: ${told.text}` }));
        text.textContent = `${told.done} of ${told.total} done, ${failed.length} failed.`;
      }
    } catch {
      text.textContent = stop.signal.aborted ? `Stopped. ${text.textContent}` : "The service does not answer; try again.";
    } finally {
      form.ariaBusy = null;
      if (halt.matches(":focus")) button.focus();
      halt.hidden = true;
      retry.hidden = !failed.length;
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); if (!form.ariaBusy) run(event.submitter); });
}

// --- Sign in with the code of a link: a fragment reaches no server by itself, and is taken out of the address at once.
const codeForm = find("#code-form");
const code = codeForm && new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  history.replaceState(null, "", location.pathname + location.search);
  codeForm.hidden = false;
  find("#credentials-form").hidden = true;
  find("[name=code]", codeForm).value = code;
  const asked = await fetch(codeForm.dataset.look, { method: "POST", body: new URLSearchParams({ code }) });
  const told = await asked.json();
  find(".code-text", codeForm).textContent = asked.ok ? `Sign in as ${told.text}` : told.summary;
  find("button", codeForm).hidden = !(find("#credentials-form").hidden = asked.ok);
}
