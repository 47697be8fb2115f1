// The console's one script. Every page works without it; with it, tests show their steps as they happen, fields are looked at as
// they are left, and nothing that was typed is lost. It writes text, never markup: what comes from elsewhere stays text.
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, members) => Object.assign(document.createElement(tag), members);
const fill = (root, texts) => Object.entries(texts).forEach(([selector, text]) => {
  const others = all(selector, root).filter((part) => part.textContent !== text); // what says so already is not drawn again
  others.forEach((part) => { part["value" in part ? "value" : "textContent"] = text; });
});
const enter = (input, value) => { // as a person does who then leaves the field
  input.value = value;
  ["input", "change"].forEach((type) => input.dispatchEvent(new Event(type, { bubbles: true })));
};
const spoken = document.body.dataset; // texts in the language of the page
document.documentElement.classList.add("scripted");

// --- Questions to the server.
const bodyOf = (form, button) => new URLSearchParams(new FormData(form, button));
const send = (to, body, signal, accept) => fetch(to, { method: "POST", body, headers: { Accept: accept }, signal });
let press = null; // a pointer that is down: nothing may move under it
self.onpointerdown = () => { press = new Promise((up) => addEventListener("pointerup", () => setTimeout(up), { once: true })); };
const painted = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go))); // what a key or a click changed is on screen

class Asker { // Only the newest question counts: an older one is given up, and its answer comes to nothing.
  giveUp() { this.stop?.abort(); }
  async ask(to, body, pause = 0) {
    this.giveUp();
    const { signal } = (this.stop = new AbortController());
    await Promise.all([press, painted(), new Promise((go) => setTimeout(go, pause))]);
    const response = signal.aborted ? null : await send(to, body(), signal, "application/json").catch(() => null);
    const told = response?.ok ? await response.json().catch(() => null) : null;
    await press;
    return signal.aborted ? null : told;
  }
}

// --- Hints, which are no problems: blanks around a secret; a URL where a part of it belongs, which may hold a password.
const HINTS = { blank: /^\s|\s$/, url: /^\s*[a-z][a-z\d+.-]*:\/\//i };
const isHinted = (input) => HINTS[input.dataset.hints]?.test(input.value) ?? false;
const showHint = (input) => all(`[id="${input.id}-hint"]`).forEach((hint) => { hint.hidden = !isHinted(input); });

// --- What was typed and is not secret outlives a reload, in this tab only.
const draftOf = (form) => `draft:${location.pathname}:${form.dataset.draft}`;
const valueBefore = (input) => input.defaultValue ?? find("[selected]", input)?.value ?? "";
let unsaved = false;
function keepDraft(form) {
  const values = all("[data-keep]", form).map((input) => [isHinted(input) ? "" : input.value, input.checked]);
  sessionStorage.setItem(draftOf(form), JSON.stringify(values));
}
function restoreDraft(form) {
  if ("answers" in form.dataset) return; // it shows what was sent
  const values = JSON.parse(sessionStorage.getItem(draftOf(form)) || "[]");
  all("[data-keep]", form).slice(0, values.length).forEach((input, number) => {
    [input.value, input.checked] = values[number];
    if (input.value !== valueBefore(input)) input.closest("details")?.setAttribute("open", "");
  });
}

// --- What is wrong, at its field and in a list above.
const titleOf = (input) => (find(`label[for="${CSS.escape(input.id)}"]`)?.firstChild.textContent || input.name).trim();
const linkTo = (input, text) => make("a", { href: `#${encodeURIComponent(input.id)}`, textContent: text });

function clearProblems(form, known = {}) {
  all("[aria-invalid]", form).forEach((input) => input.removeAttribute("aria-invalid"));
  all("[data-input] .problem", form).forEach((text) => text.remove());
  all(".problems li:not(:focus-within)", form).forEach((line) => line.dataset.about in known || line.remove());
  all(".problems", form).forEach((box) => { box.hidden = !find("li", box); });
}
function markField(form, name, message, which = "[name]") {
  const input = all(which, form).find((one) => one.name === name && one.type !== "radio");
  if (!input) return null;
  all("[value=replace]", input.closest(".stored") ?? input).forEach((replace) => { replace.checked = true; });
  input.closest("details")?.setAttribute("open", "");
  input.setAttribute("aria-invalid", "true");
  input.closest("[data-input]").append(make("p", { className: "problem", id: `${input.id}-problem`, textContent: message }));
  return input;
}
function showProblems(form, { problems = {}, summary = "", retry_after: wait = null }) {
  const box = find(".problems", form);
  find("ul", box).replaceChildren(...Object.entries(problems).map(([name, message]) => {
    const input = markField(form, name, message), line = make("li", {});
    line.append(...(input ? [linkTo(input, titleOf(input)), `: ${message}`] : [message]));
    line.dataset.about = name;
    return line;
  }));
  const say = (text) => fill(box, { ".problems-title span": text });
  wait ? countDown(wait, (left) => say(left ? `${summary} ${spoken.again.replace("{}", left)}` : spoken.now)) : say(summary);
  box.hidden = false, box.focus();
}
const countDown = (seconds, say) => (say(seconds), setInterval(() => seconds > 0 && say(--seconds), 1000));

// --- A changed field is looked at as it is left, by the server, which stores nothing. Where nobody was yet, nothing is said.
const looks = new Asker();
async function look(form, left, pause) {
  const button = find("[value=look]", form), told = button && await looks.ask(form.action, () => bodyOf(form, button), pause);
  if (!told) return;
  clearProblems(form, told.problems);
  Object.entries(told.problems).forEach(([name, message]) => markField(form, name, message, "[data-left]"));
  fill(form, { "[data-key]": told.key, "[data-says]": left.ariaInvalid ? `${titleOf(left)}: ${told.problems[left.name]}` : "" });
}

// --- What a person watches: the steps of a test, or what became of each of many connections.
class Panel {
  constructor(box, form) { Object.assign(this, { box, form, rows: find(".live", box), stopper: find("[data-stops]", box) }); }
  begin(stop, button) {
    Object.assign(this, { button, report: [] });
    this.box.dataset.state = "running";
    this.stopper.onclick = () => stop.abort(this.stopper.dataset.stops);
    if (find("[data-state] :focus") === button) this.stopper.focus(); // what is hidden cannot keep it
    all("li", this.box).forEach((row) => row.remove());
    fill(this.box, { ".verdict-title": "", ".so-far": "", ".left": "" });
  }
  take(told) {
    if (told.seconds) this.clock = countDown(told.seconds, (left) => fill(this.box, { ".left": left }));
    if (told.row) this.show(told.row);
    if (told.verdict) this.judge(told.verdict);
    fill(this.box, told.texts ?? {});
  }
  show({ name, status, texts, line = [] }) {
    const known = all("li", this.rows).find((row) => row.dataset.name === name);
    const row = known ?? this.rows.appendChild(find(".step-row", this.box).content.firstElementChild.cloneNode(true));
    row.dataset.name = name;
    row.className = status;
    fill(row, texts);
    this.report.push(...line);
  }
  judge({ good, title, failure_reason: reason, failure_fields: names }) {
    this.end(good, title, reason ?? "");
    const marked = names.map((name) => markField(this.form, `field.${name}`, reason)).filter(Boolean);
    const first = marked.find((input) => input.matches("[data-secret]")) ?? marked[0];
    if (!first) return;
    find(".verdict-where", this.box).append(linkTo(first, spoken.goTo.replace("{}", titleOf(first))));
    first.focus(), first.select?.(); // what is wrong is typed over
  }
  end(good, title, reason = "") {
    clearInterval(this.clock);
    if (this.stopper.matches(":focus")) this.button.focus();
    this.box.dataset.state = good ? "good" : "bad";
    all("li.running", this.rows).forEach((row) => row.remove());
    fill(this.box, { ".verdict-title": title, ".verdict-reason": reason, ".verdict-where": "" });
    fill(this.box, { ".report": [...this.report, title, reason].join("\n").trim() });
  }
}

// --- A form is sent, and its answer shown in the page that is there.
async function* answersIn(response) {
  if (!response.headers.get("Content-Type").startsWith("text/event-stream")) return yield await response.json();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "", part; !(part = await reader.read()).done; ) {
    const blocks = (held + part.value).split("\n\n");
    held = blocks.pop();
    yield* blocks.map((block) => block.match(/^data: (.*)$/m)).filter(Boolean).map(([, data]) => JSON.parse(data));
  }
}
async function submit(form, button, panel) {
  const stop = new AbortController();
  const sending = send(form.action, bodyOf(form, button), stop.signal, panel ? "text/event-stream" : "application/json");
  const say = (told) => {
    panel?.end(false, told.summary);
    if (find(".problems", form) && (told.problems || !panel)) showProblems(form, told);
  };
  panel?.begin(stop, button), clearProblems(form);
  form.ariaBusy = "true";
  try {
    for await (const told of answersIn(await sending)) {
      if (told.location || told.compare) unsaved = false;
      if (told.location) return sessionStorage.removeItem(draftOf(form)), location.assign(told.location);
      if (told.compare) return keepDraft(form), form.submit(); // the page that shows both versions
      "summary" in told ? say(told) : panel.take(told);
    }
  } catch {
    say({ summary: stop.signal.reason ?? spoken.silent });
  } finally {
    form.ariaBusy = null;
  }
}
for (const form of all("form[data-live]")) {
  const box = find("[data-state]", form) ?? find("#test"), panel = box && new Panel(box, form);
  form.addEventListener("focusin", ({ target }) => { if (!isHinted(target)) target.was = target.value; });
  form.addEventListener("input", ({ target }) => {
    if (target.dataset.hints === "url") showHint(target);
    if (target.name === "name") look(form, target, 250); // the key follows
  });
  form.addEventListener("change", ({ target }) => {
    showHint(target);
    target.dataset.left = "";
    look(form, target);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    looks.giveUp();
    all("[name]", form).forEach((input) => { input.dataset.left = ""; });
    if (!form.ariaBusy) submit(form, event.submitter, event.submitter.closest("[data-watched], .test-now") && panel);
  });
}
const isDone = find("#notices p") && performance.getEntriesByType("navigation")[0].type === "navigate"; // what drafts here were for
const ofHere = Object.keys(sessionStorage).filter((key) => key.startsWith(`draft:${location.pathname}`));
if (isDone) ofHere.forEach((key) => sessionStorage.removeItem(key));
for (const form of all("form[data-draft]")) {
  restoreDraft(form);
  form.addEventListener("input", () => { unsaved = true; });
  form.addEventListener("submit", (event) => event.defaultPrevented || (keepDraft(form), (unsaved = false)));
  addEventListener("pagehide", () => unsaved && keepDraft(form)); // at each key it would hold up the next one
}
addEventListener("beforeunload", (event) => (unsaved ? event.preventDefault() : document.body.classList.add("leaving")));

// --- Where a stored secret must not follow: changing such a field asks for the secrets at once.
for (const form of all("form:has(fieldset.stored)")) {
  const changed = () => all("[data-repoints]", form).filter((input) => input.value !== valueBefore(input));
  form.addEventListener("input", ({ target }) => {
    if (!target.matches("[data-repoints]")) return;
    const moved = changed().map((input) => input.name), [from, to] = moved.length ? ["keep", "replace"] : ["replace", "keep"];
    all(`.stored [value=${from}]:checked`, form).forEach((radio) => { form.elements[radio.name].value = to; });
    all("[data-by]", form).forEach((text) => { text.hidden = !moved.includes(text.dataset.by); });
  });
  find("[data-undo]", form).onclick = () => changed().forEach((input) => { enter(input, valueBefore(input)), input.focus(); });
}

// --- The palette: what a few letters find stands below the search, and arrows choose from it.
const search = find("#find"), found = find("#found"), palette = new Asker();
let at = -1, cameFrom = null;
function choose(number) {
  at = number;
  [...found.children].forEach((option, index) => { option.ariaSelected = String(index === at); });
  search.setAttribute("aria-activedescendant", found.children[at]?.id ?? "");
}
function offer(items) {
  palette.giveUp();
  found.replaceChildren(...items.map(({ title, kind, address }, index) => {
    const option = make("a", { role: "option", id: `found-${index}`, href: address, tabIndex: -1 });
    option.append(make("span", { textContent: title }), make("span", { className: "quiet", textContent: kind }));
    return option;
  }));
  found.hidden = !items.length, search.ariaExpanded = String(!found.hidden);
  choose(-1);
}
function steer(event) {
  const last = found.children.length - 1;
  const next = { ArrowDown: at < last ? at + 1 : 0, ArrowUp: at > 0 ? at - 1 : last }[event.key];
  if (event.key === "Escape") offer([]), cameFrom?.focus();
  else if (event.key === "Enter" && at >= 0) found.children[at].click();
  else if (next >= 0) choose(next);
  else return;
  event.preventDefault();
}
if (search) {
  search.oninput = () => palette.ask(search.form.action, () => bodyOf(search.form), 150).then((told) => told && offer(told.found));
  search.onkeydown = steer;
  search.onblur = () => offer([]);
  found.onmousedown = (event) => event.preventDefault(); // the search keeps the focus until the click
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (document.activeElement !== search) cameFrom = document.activeElement;
    search.focus();
  });
}

// --- Small helps: show what is typed, copy, use a value elsewhere, insert a word, go to a line, tick a page, read a file into a field.
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-reveals], [data-copies], [data-inserts], [data-line], [data-uses], [data-ticks]");
  if (!button) return;
  const { dataset } = button, part = document.getElementById(dataset.reveals ?? dataset.copies ?? dataset.uses ?? "text");
  if (dataset.reveals) part.type = part.type === "text" ? "password" : "text";
  else if (dataset.copies) {
    fill(document, { "#notices": "" }), await navigator.clipboard.writeText(part.textContent);
    fill(document, { "#notices": spoken.copied });
  } else if (dataset.uses) {
    const entered = find("input", button.closest(".field"));
    find(`[data-option="${dataset.way}"]`).click();
    all("[value=replace]", part.closest(".field")).forEach((replace) => { replace.checked = true; });
    enter(part, entered.value.trim()), enter(entered, entered.was ?? ""), part.focus();
  } else if (dataset.inserts) {
    const column = part.value.slice(0, part.selectionStart).split("\n").at(-1).length, words = dataset.inserts;
    part.focus(), document.execCommand("insertText", false, words.replaceAll("\n", "\n" + " ".repeat(column))); // can be undone
  } else if (dataset.ticks) all(`[name=${dataset.ticks}]`, button.form).forEach((box) => { box.checked = button.checked; });
  else {
    const lines = part.value.split("\n"), start = [...lines.slice(0, dataset.line - 1), ""].join("\n").length;
    part.focus(), part.setSelectionRange(start, start + lines[dataset.line - 1].length);
    part.scrollTop = (dataset.line - 4) * parseFloat(getComputedStyle(part).lineHeight);
  }
});
const readInto = async (into, file) => enter(into, await file.text());
all("[data-into]").forEach((input) => { input.onchange = () => readInto(find(`[id="${input.dataset.into}"]`), input.files[0]); });
const drop = (event, [file] = event.dataTransfer.files) => file && (event.preventDefault(), readInto(event.currentTarget, file));
all("[data-drop]").forEach((area) => area.addEventListener("drop", drop));
const text = find("#text"), caret = sessionStorage.getItem(`caret:${location.href}`) ?? 0; // where a word is inserted after a search
if (text) text.setSelectionRange(caret, caret), addEventListener("pagehide", () => sessionStorage.setItem(`caret:${location.href}`, text.selectionStart));
if (find(".secret-once")) history.replaceState(null, "", location.href); // a reload asks for the page, and makes no second one

// --- Sign in with the code of a link: a fragment reaches no server by itself, and is taken out of the address at once.
const codeForm = find("#code-form"), code = new URLSearchParams(location.hash.slice(1)).get("code");
if (codeForm && code) {
  history.replaceState(null, "", location.pathname + location.search);
  document.body.dataset.code = "asked";
  fill(codeForm, { "[name=code]": code });
  const asked = await fetch(codeForm.dataset.look, { method: "POST", body: new URLSearchParams({ code }) });
  fill(codeForm, { ".code-text": (await asked.json()).text });
  document.body.dataset.code = asked.ok ? "good" : "bad";
}
