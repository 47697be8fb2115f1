"""The console in a real browser, over the DevTools protocol: how soon pages show, how still they stand, how soon they answer.

Figures of the browser are medians with the processor four times slower (`Emulation.setCPUThrottlingRate`). Those of the list
are of 100,000 connections, at full speed.
"""

import json
import statistics
from pathlib import Path

from playwright.sync_api import BrowserContext, Page

from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.engine import open_store
from connectory.store.timestamps import utc_now
from connectory.testing import free_port, running_server
from installation import BIN, Installation, Server
from relay import relay
from testkit import hostile
from testkit.chromium import chromium

CONNECTIONS = 100_000
_ROUNDS = 5
_SLOWER = 4
_PAGES = {
    "home": "/",
    "catalogue": "/catalogue",
    "connections": "/connections",
    "a connection": "/connections/database_00007",
    "a new connection": "/connections/new?type=postgres",
}
_LISTS = (
    "/connections",
    "/connections?page=1000",
    "/connections?sort=-last_test_timestamp",
    "/connections?sort=-created_at&page=500",
    "/connections?test_status=untested&connection_type=mysql",
    "/connections?search=database_04",
    "/connections?search=warehouse&sort=-updated_at",
)
_OBSERVE = """
window.seen = {lcp: 0, cls: 0, inp: 0};
new PerformanceObserver((list) => { for (const entry of list.getEntries()) seen.lcp = entry.startTime; })
  .observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.cls += entry.value; })
  .observe({type: "layout-shift", buffered: true});
new PerformanceObserver((list) => { for (const entry of list.getEntries()) seen.inp = Math.max(seen.inp, entry.duration); })
  .observe({type: "event", durationThreshold: 16, buffered: true});
"""
# The frame that shows the step is painted in the turn of the event loop in which its callback runs: a message sent from there is
# taken in the next one. Another frame's callback would come up to two intervals of the screen later.
_FIRST_STEP = """() => {
  const steps = document.querySelector(".steps.live");
  window.firstStep = new Promise((done) => new MutationObserver((_, watching) => {
    if (!steps.querySelector("li:not([data-name=waiting])")) return;
    watching.disconnect();
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = () => done(performance.timeOrigin + performance.now());
      painted.port2.postMessage(null);
    });
  }).observe(steps, {childList: true}));
}"""


def measure_console(folder: Path) -> list[str]:
    """Rows of the table for tests, start and memory."""
    installation = Installation(folder)
    _fill(folder / "home")
    with installation.start_service() as service, chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_init_script(_OBSERVE)
        page = context.new_page()
        _sign_in(page, _address(service), installation, service)
        lists = {path: _median([_rendered(page, service, path) for _ in range(_ROUNDS)]) for path in _LISTS}
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": _SLOWER})
        shown = {name: [_shown(page, service, path) for _ in range(_ROUNDS)] for name, path in _PAGES.items()}
        inp = _median([_answered(page, service) for _ in range(_ROUNDS)])
        step = _median(_first_steps(context, installation, service, folder))
    slowest, taken = max(lists.items(), key=lambda item: item[1])
    lcp = {name: _median([one["lcp"] for one in found]) for name, found in shown.items()}
    worst = max(lcp, key=lambda name: lcp[name])
    cls = max(one["cls"] for found in shown.values() for one in found)
    return [
        _row(f"console: largest paint (LCP), slowest of {len(lcp)} pages: {worst}", "ms", lcp[worst], 800),
        _row("console: layout shift (CLS), any page", "", cls, 0.02),
        _row("console: a key or a click (INP), in the form", "ms", inp, 100),
        _row("console: the first step of a test on screen, after the API wrote it", "ms", step, 100),
        _row(
            f"console, {CONNECTIONS:,} connections: rows rendered, slowest of {len(lists)}: `{slowest}`",
            "ms",
            taken,
            300,
        ),
    ]


def _sign_in(page: Page, address: str, installation: Installation, service: Server) -> None:
    page.goto(f"{address}/console/#code={_code(installation, service)}")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Home").wait_for()


def _first_steps(context: BrowserContext, installation: Installation, service: Server, folder: Path) -> list[float]:
    """Milliseconds from the service's writing of a test's first step to the frame that shows it, through a console of its own.

    The console reaches the service by a relay, which notes when the step passes. What is tested says nothing, so that this is of
    the way to the screen, and not of what else a test does at its end, on the same cores and in the same frame.
    """
    page, taken, port = context.new_page(), [], free_port()
    with relay(service.port, b"event: step") as between, hostile.silent() as silent:
        command = [BIN / "connectory-console", "--api", f"http://127.0.0.1:{between.port}", "--port", str(port)]
        with running_server(command, port, environment={"CONNECTORY_CONSOLE_HOME": str(folder / "console")}):
            _sign_in(page, f"http://127.0.0.1:{port}", installation, service)
            context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": _SLOWER})
            for _ in range(_ROUNDS):
                page.goto(f"http://127.0.0.1:{port}/console/connections/new?type=postgres", wait_until="networkidle")
                page.get_by_label("Host").fill("127.0.0.1")
                page.get_by_label("Port").fill(str(silent.port))
                page.evaluate(_FIRST_STEP)
                page.get_by_role("button", name="Test", exact=True).click()
                shown = float(page.evaluate("window.firstStep"))
                page.get_by_role("button", name="Cancel").click()
                page.locator(".test[data-state=bad]").wait_for()
                taken.append(shown - between.seen[-1] * 1000)
    page.close()
    return taken


def _row(name: str, unit: str, figure: float, bound: float) -> str:
    return f"| {name} | {unit} | {figure:.3g} |  | {bound:g} {unit} | | {'yes' if figure <= bound else '**no**'} |"


def _median(figures: list[float]) -> float:
    return statistics.median(figures)


def _address(service: Server) -> str:
    return f"http://127.0.0.1:{service.port}"


def _code(installation: Installation, service: Server) -> str:
    link = json.loads(installation.run("console", "--json", "--port", str(service.port)))["url"]
    return link.partition("#code=")[2]


def _fill(home: Path) -> None:
    kinds = ("postgres", "mysql", "mongodb", "snowflake", "redshift")
    words = ("warehouse", "orders", "billing", "support", "legacy")
    with open_store(f"sqlite:///{home / 'connectory.db'}") as store:
        for first in range(0, CONNECTIONS, 1000):
            items = [
                SaveItem(
                    f"database_{number:05}",
                    kinds[number % 5],
                    "database",
                    f"connectory-{kinds[number % 5]}",
                    {
                        "name": f"Database {number:05}",
                        "access": "read",
                        "disabled": number % 20 == 0,
                        "description": f"The {words[number // 5 % 5]} of unit {number * 7919 % 100_003}",
                    },
                )
                for number in range(first, first + 1000)
            ]
            with store.write() as database:
                save_connections(database, items, now=utc_now())


def _rendered(page: Page, service: Server, path: str) -> float:
    """Milliseconds from the request to the rows."""
    page.goto(f"{_address(service)}/console{path}", wait_until="domcontentloaded")
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))


def _shown(page: Page, service: Server, path: str) -> dict[str, float]:
    page.goto(f"{_address(service)}/console{path}", wait_until="networkidle")
    found: dict[str, float] = page.evaluate("window.seen")
    return found


def _answered(page: Page, service: Server) -> float:
    """The longest that a key or a click took to show, of some in the largest form."""
    page.goto(f"{_address(service)}/console/connections/new?type=postgres", wait_until="networkidle")
    page.get_by_label("Name", exact=True).press_sequentially("Some words here")
    page.get_by_role("radio", name="One URL").check(force=True)
    page.get_by_role("radio", name="One field each").check(force=True)
    page.get_by_label("Host").press_sequentially("db.example")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return float(page.evaluate("window.seen.inp"))
