"""Every page, in every state and both themes: no violation that axe finds, no request elsewhere, and a picture to look at.

The pictures are in `.cache/screenshots`.
"""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, expect
from starlette.routing import Route

from connectory.testing import free_port, running_server
from connectory_console.api import Api, ApiFailed
from connectory_console.app import create_console
from connectory_console.languages import read_languages
from connectory_console.sessions import Sessions
from connectory_console.settings import ConsoleSettings
from connectory_console.wording import SCOPES
from testkit.cache import REPOSITORY
from testkit.failing_api import REQUEST_ID, failing_api
from testkit.listening import listening
from testkit.madeup import TAG as MADE_UP
from testkit.madeup import made_up, names_in, unmarked
from testkit.people import Console, Person, person_in

PICTURES = REPOSITORY / ".cache/screenshots"
AXE = Axe()
VIOLATIONS = """options => axe.run(options).then(
  (found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]))"""
# A page stays to be seen until the next one is there. No browser lets itself be asked meanwhile, so the page keeps what it was.
_AS_IT_LEAVES = """addEventListener('pagehide', () => {
  const bar = getComputedStyle(document.querySelector('.leaving .progress'));
  sessionStorage.left = `${bar.animationName} after ${bar.animationDelay}`;
})"""
LEAVE = """() => {
  dispatchEvent(new Event('beforeunload', {cancelable: true}));
  for (const one of document.querySelector('.progress').getAnimations()) { one.pause(); one.currentTime = 1500; }
}"""
# A language does not change them, and they take axe the longest.
WITHOUT_COLOURS = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}}}
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll, .side'))
  .map((one) => one.outerHTML.slice(0, 120))"""
DATASET = {
    "fides_key": "page_shop",
    "name": "Shop",
    "description": "Customers and their orders.",
    "collections": [{"name": "customer", "fields": [{"name": "email", "data_categories": ["user.contact.email"]}]}],
}


@dataclass(frozen=True)
class Shown:
    """The states of a page: names of pictures, and addresses.

    Attributes:
        full: with something to see.
        empty: with nothing, or why there always is something.
        scope: what it needs; who lacks it is told.
    """

    full: dict[str, str]
    empty: dict[str, str] | str
    scope: str


ONE = "/connections/{key}"
STATES = {
    "/": Shown({"home": "/"}, {"home-first": "/"}, "connection:read"),
    "/find": Shown({"find": "/find?search=page"}, {"find-nothing": "/find?search=zzzz"}, "connection:read"),
    "/catalogue": Shown(
        {"catalogue": "/catalogue"},
        {"catalogue-nothing": "/catalogue?search=zzzz"},
        "connection_type:read",
    ),
    "/connections/new": Shown(
        {
            "new": "/connections/new?type=postgres",
            "new-snowflake": "/connections/new?type=snowflake",
            "new-consent": "/connections/new?type=salesforce",
        },
        {"new-unknown": "/connections/new?type=nothing"},
        "connection_type:read",
    ),
    "/connections": Shown(
        {"connections": "/connections"},
        {"connections-first": "/connections", "connections-none": "/connections?search=zzzz"},
        "connection:read",
    ),
    ONE: Shown(
        {"connection": "/connections/page_good", "connection-failed": "/connections/page_bad"},
        {"connection-empty": "/connections/page_empty", "connection-missing": "/connections/nothing"},
        "connection:read",
    ),
    f"{ONE}/secrets": Shown(
        {"secrets": "/connections/page_good/secrets"},
        {"secrets-none": "/connections/page_empty/secrets"},
        "connection:read",
    ),
    f"{ONE}/history": Shown(
        {"history": "/connections/page_good/history"},
        {"history-none": "/connections/page_empty/history"},
        "connection:read",
    ),
    f"{ONE}/health": Shown(
        {"health": "/connections/page_good/health"},
        {"health-none": "/connections/page_empty/health"},
        "connection:read",
    ),
    f"{ONE}/health/watch": Shown(
        {"watch": "/connections/page_good/health/watch"},
        {"watch-none": "/connections/page_empty/health/watch"},
        "connection:read",
    ),
    f"{ONE}/datasets": Shown(
        {"datasets": "/connections/page_good/datasets"},
        {"datasets-none": "/connections/page_empty/datasets"},
        "connection:read",
    ),
    f"{ONE}/datasets/edit": Shown(
        {"dataset": "/connections/page_good/datasets/edit?dataset=page_shop"},
        {"dataset-new": "/connections/page_empty/datasets/edit"},
        "dataset:read",
    ),
    f"{ONE}/consent": Shown(
        {"consent": "/connections/page_crm/consent"},
        {"consent-none": "/connections/page_empty/consent"},
        "connection:read",
    ),
    "/plugins": Shown({"plugins": "/plugins"}, "one plugin is built in", "connection_type:read"),
    "/keys": Shown({"keys": "/keys"}, "the service starts with a key", "key:read"),
    "/clients": Shown({"clients": "/clients"}, "whoever looks is one", "client:manage"),
    "/clients/{client_id}": Shown(
        {"client": "/clients/{client_id}"}, {"client-missing": "/clients/nobody"}, "client:manage"
    ),
    "/audit": Shown({"audit": "/audit"}, {"audit-none": "/audit?actor=nobody"}, "audit:read"),
}
NO_PAGES = {"/sign-in", "/audit.csv", "/static/{version}/{name}"}
BEFORE_ANYTHING = ("home-first", "connections-first")
FULL = {name: path for page in STATES.values() for name, path in page.full.items()}
EMPTY = {name: path for page in STATES.values() if isinstance(page.empty, dict) for name, path in page.empty.items()}


def test_every_page_has_its_states(tmp_path: Path) -> None:
    app = create_console(api_url="http://127.0.0.1", settings=ConsoleSettings(home=tmp_path))
    routes = {route.path for route in app.routes if isinstance(route, Route) and "GET" in (route.methods or ())}
    assert routes == STATES.keys() | NO_PAGES


@pytest.fixture(scope="module")
def reader(browser, console: Console) -> Iterator[Person]:
    """Somebody who is signed in."""
    with person_in(browser, console, viewport={"width": 1280, "height": 900}) as person:
        person.sign_in()
        yield person


@pytest.mark.parametrize("name", BEFORE_ANYTHING)
def test_a_page_before_there_is_anything(reader: Person, name: str) -> None:
    page = reader.go(EMPTY[name])
    expect(page.locator("main")).to_contain_text(re.compile("Choose a system"))
    look_at(page, name)


@pytest.fixture(scope="module")
def filled(console: Console, good_secrets: dict) -> Console:
    """A console with something on every page."""
    console.make("page_good", good_secrets, description="The shop's database.")
    console.make("page_bad", good_secrets | {"password": "wrong"})
    console.make("page_empty")
    console.make("page_off", good_secrets, disabled=True)
    crm = {"domain": "crm.my.salesforce.com", "client_id": "id", "client_secret": "secret"}
    console.make(
        "page_crm", crm | {"redirect_uri": "https://c.example/api/v1/oauth/callback"}, connection_type="salesforce"
    )
    for key in ("page_good", "page_bad", "page_good"):
        console.api.post(f"/connection/{key}/test")
    console.api.patch("/connection/page_good/dataset", json=[DATASET])
    console.api.post("/connection/page_good/dataset/page_shop/check")
    console.api.put("/connection/page_good/schedule", json={"test_every": "15m", "check_every": "1d"})
    to = {"url": "http://127.0.0.1:9/connectory", "secret": "marker-of-sixteen"}
    assert console.api.put("/connection/page_good/webhook", json=to).is_success
    return console


def look_at(page: Page, name: str) -> None:
    """In both themes, take a picture and have axe look."""
    page.evaluate("scrollTo(0, 0)")
    page.evaluate(AXE.axe_script)
    for theme in ("light", "dark"):
        take_picture(page, name, theme)
        # What the second theme changes is colours.
        found = page.evaluate(
            VIOLATIONS,
            {"resultTypes": ["violations"]} if theme == "light" else {"runOnly": ["color-contrast"]},
        )
        assert found == [], f"{name}, {theme}"


def take_picture(page: Page, name: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    folder = PICTURES / theme
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.mark.parametrize("name", [*FULL, *(name for name in EMPTY if name not in BEFORE_ANYTHING)])
def test_a_page(reader: Person, filled: Console, name: str) -> None:
    """It is small besides: at most 60 kB and 8 requests for everything in it, as it travels, and 3 calls of the API behind it."""
    sizes: list[int] = []
    address = _path({**FULL, **EMPTY}[name], filled)
    called = _calls(filled)
    note = partial(_note_size, sizes)
    reader.page.on("requestfinished", note)
    page = reader.go(address)
    expect(page.locator("main h1")).to_have_count(1)
    assert 1 <= _calls(filled) - called <= 3
    look_at(page, name)
    if name in FULL:
        page.evaluate(LEAVE)
        for theme in ("light", "dark"):
            take_picture(page, f"{name}-loading", theme)
    reader.page.remove_listener("requestfinished", note)
    assert 1 <= len(sizes) <= 8
    assert sum(sizes) <= 60_000, sizes


def _path(path: str, console: Console) -> str:
    if "{client_id}" in path:
        [root] = [client for client in console.api.get("/client").json()["items"] if client["name"] == "root"]
        return path.format(client_id=root["client_id"])
    return path


def _calls(console: Console) -> int:
    """How many calls of the API the service's log tells of."""
    return console.service.log.read_text().count('"route":"/api/v1/')


def _note_size(sizes: list[int], request: Request) -> None:
    found = request.sizes()
    sizes.append(found["responseBodySize"] + found["responseHeadersSize"])


@pytest.fixture(scope="module")
def outsider(browser, filled: Console) -> Iterator[Person]:
    """Somebody whose client may do next to nothing."""
    made = filled.api.post("/client", json={"name": "few scopes", "scopes": ["dataset:delete"]}).json()
    with person_in(browser, filled) as person:
        person.sign_in(filled.link(made["client_id"]))
        yield person


@pytest.mark.parametrize("path", STATES)
def test_a_page_without_its_scope_says_which(outsider: Person, filled: Console, path: str) -> None:
    [name, address], *_ = STATES[path].full.items()
    page = outsider.go(_path(address, filled))
    expect(page.locator("main")).to_contain_text(f"lacks the scope {STATES[path].scope}")
    expect(page.locator("main")).to_contain_text(re.compile("You may not see this"))
    look_at(page, f"{name}-no-scope")


@pytest.fixture(scope="module")
def unlucky(browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody who is signed in to a console whose service fails."""
    key, port = bytes(32), free_port()
    settings = {"CONNECTORY_CONSOLE_KEY": base64.b64encode(key).decode()}
    command = [Path(sys.executable).with_name("connectory-console"), "--port", str(port), "--api"]
    with failing_api() as api, running_server([*command, api], port, environment=settings):
        console = Console(SimpleNamespace(url=f"http://127.0.0.1:{port}"), tmp_path_factory.getbasetemp(), None)
        sessions, cookie = Sessions(key, idle=3600, longest=3600), f"connectory_{port}"
        session = sessions.start("token", "root", "id-of-root", tuple(SCOPES))
        with person_in(browser, console) as person:
            person.tolerated = "status of 500"
            person.context.add_cookies([{"name": cookie, "value": sessions.seal(session, cookie), "url": console.url}])
            person.context.add_init_script(_AS_IT_LEAVES)
            person.go()
            yield person


@pytest.mark.parametrize("path", STATES)
def test_a_page_is_waited_for_and_when_the_service_fails_says_so(unlucky: Person, path: str) -> None:
    [name, address], *_ = STATES[path].full.items()
    page = unlucky.go(address.format(client_id="somebody"))
    assert page.evaluate("sessionStorage.left") == "progress after 0.2s"
    page.evaluate("sessionStorage.clear()")
    expect(page.locator("main")).to_contain_text(f"Request {REQUEST_ID}")
    expect(page.get_by_role("link", name="Retry").first).to_be_visible()
    look_at(page, f"{name}-error")


def test_a_form_with_problems_and_a_test(reader: Person, filled: Console, good_secrets: dict) -> None:
    page = reader.go("/connections/new?type=postgres")
    page.get_by_label("Port").fill("high")
    page.get_by_label("Host").fill("postgresql://db.example/shop")
    page.locator("#f-password").fill("ends with a blank ")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#f-port-problem")).to_be_visible()
    expect(page.locator(".hint:visible")).to_have_count(2)
    look_at(page, "new-problems")
    page.get_by_label("Port").fill(str(good_secrets["port"]))
    page.get_by_label("Host").fill(str(good_secrets["host"]))
    page.get_by_label("Username").fill("nobody")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".test[data-state=bad]")).to_be_visible()
    look_at(page, "new-failed")
    page.get_by_role("combobox").fill("page")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    look_at(page, "palette")


def test_the_sign_in_page(somebody: Person, console: Console) -> None:
    page = somebody.go("/sign-in")
    look_at(page, "sign-in")
    page.goto(console.link())
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    look_at(page, "sign-in-code")


@dataclass
class Abroad:
    """A console beside the service, in a language that nobody speaks.

    Attributes:
        told: the names and texts that the API told it.
        instead: what the API answers, by path, where it is not the service's own answer.
        failure: how the API fails, if it does.
    """

    console: Console
    told: set[str] = field(default_factory=set)
    instead: dict[str, object] = field(default_factory=dict)
    failure: ApiFailed | None = None

    async def send(self, ask: Callable, api: Api, method: str, path: str, **more: object) -> httpx.Response:
        if self.failure is not None:
            raise self.failure
        answer = httpx.Response(200, json=self.instead[path]) if path in self.instead else None
        try:
            answer = answer or await ask(api, method, path, **more)
        except ApiFailed as failed:
            self.told |= {failed.message, *(text for found in failed.problems for text in (found.message, found.field))}
            raise
        self.told.update(names_in(answer.json() if answer.content else None))
        return answer


@pytest.fixture(scope="module")
def abroad(filled: Console, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abroad]:
    home, languages = tmp_path_factory.mktemp("abroad"), read_languages() | {MADE_UP: made_up()}
    console = create_console(api_url=filled.url, home=home, languages=languages)
    ask = Api.send
    with pytest.MonkeyPatch.context() as patch, listening(console) as address:
        abroad = Abroad(Console(SimpleNamespace(url=address), filled.home, filled.api))
        patch.setattr(Api, "send", lambda api, method, path, **more: abroad.send(ask, api, method, path, **more))
        yield abroad


@pytest.fixture(scope="module")
def foreigner(browser, filled: Console, abroad: Abroad) -> Iterator[Person]:
    """Somebody who is signed in there."""
    with person_in(browser, abroad.console) as person:
        person.sign_in(filled.link().replace(filled.url, abroad.console.url))
        yield person


def speak(person: Person, tag: str) -> None:
    person.context.add_cookies([{"name": "connectory_language", "value": tag, "url": person.console.url}])


@pytest.mark.parametrize("name", FULL)
def test_a_page_in_longer_words_and_in_german(foreigner: Person, filled: Console, abroad: Abroad, name: str) -> None:
    """It fits small screens without scrolling sideways, as WCAG 2.2 has it for 320 CSS pixels (1.4.10)."""
    for tag in (MADE_UP, "de"):
        speak(foreigner, tag)
        page = foreigner.go(_path(FULL[name], filled))
        expect(page.locator("html")).to_have_attribute("lang", tag)
        for width in (768, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate(TOO_WIDE) == [], f"{tag} at {width}"
        page.evaluate(AXE.axe_script)
        assert page.evaluate(VIOLATIONS, WITHOUT_COLOURS) == [], tag
        if tag == MADE_UP:
            assert unmarked(page.content(), abroad.told) == []
    page.screenshot(path=PICTURES / f"{name}-320.png", full_page=True)


NOTHING = {"by_test_status": {"passed": 0, "failed": 0, "untested": 0}, "by_type": {}, "by_failure_code": {}}
NO_SUMMARY = NOTHING | {"total": 0, "disabled": 0, "connector_missing": 0, "secrets_unreadable": 0}
SUMMARY = "/connection/summary"
PLUGIN = {
    "identifier": "ledger",
    "distribution": "acme-ledger",
    "version": "1.0",
    "target": "acme:ledger",
    "remark": None,
}
FAILURES = (
    ApiFailed(500, "It broke.", request_id=REQUEST_ID, language="en"),
    ApiFailed(503, "It is full.", retry_after=3, language="en"),
    ApiFailed(403, "It is forbidden.", missing_scope="key:read", language="en"),
    ApiFailed(0, "⟦The API does not answer.⟧"),
    ApiFailed(404, "There is none.", language="en"),
)
SENT = (
    ("/sign-in", {"client_id": "nobody", "client_secret": "none"}),
    ("/clients", {"name": ""}),
    ("/clients", {"name": "bill", "scope": "key:read"}),
    ("/connections/bulk", {"do": "test", "key": ["page_good", "page_bad"]}),
    ("/connections/bulk", {"do": "delete", "key": ["page_good", "page_bad"], "count": "1"}),
    ("/connections/new?type=postgres", {"do": "test", "field.port": "high"}),
    ("/connections/new?type=postgres", {"do": "save"}),
    ("/connections/page_bad/test", {}),
    ("/connections/page_bad/delete", {"typed": "no"}),
    ("/connections/page_good", {"do": "save", "name": "Page Good", "access": "read", "version": '"0"'}),
    ("/connections/page_good/health/schedule", {"do": "save", "test_every": "often"}),
    ("/connections/page_good/health/webhook", {"do": "save", "url": "nowhere", "secret": "short"}),
    ("/connections/page_good/secrets", {"do": "test", "state.password": "keep"}),
    ("/connections/page_good/datasets/edit", {"do": "check", "text": "fides_key: ["}),
    ("/connections/page_good/datasets/edit", {"do": "check", "text": json.dumps(DATASET | {"name": "Store"})}),
    ("/connections/page_good/datasets/discover", {}),
)


def test_what_happens_while_one_looks_says_only_what_is_marked(
    foreigner: Person, filled: Console, abroad: Abroad
) -> None:
    speak(foreigner, MADE_UP)
    page = foreigner.go("/connections/page_bad")
    page.locator(".test-now button").click()
    expect(page.locator(".steps.live li.failed")).to_be_visible()
    expect(page.locator("#test")).to_have_attribute("data-state", "bad")
    assert unmarked(page.content(), abroad.told) == []
    page = foreigner.go("/connections/new?type=postgres")
    page.locator("[name='field.port']").fill("high")
    page.locator("[name=do][value=store]").click()
    expect(page.locator("#f-name-problem")).to_be_visible()
    assert unmarked(page.content(), abroad.told) == []


def test_no_state_of_a_page_says_what_is_not_marked(foreigner: Person, filled: Console, abroad: Abroad) -> None:
    found = {}
    cookies = {one["name"]: one["value"] for one in foreigner.context.cookies()} | {"connectory_language": MADE_UP}
    headers = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html", "Accept-Language": MADE_UP}
    with httpx.Client(base_url=abroad.console.page(), cookies=cookies, headers=headers, timeout=60) as browser:

        def look(name: str, answer: httpx.Response) -> None:
            assert "⟦" in answer.text, name
            found[name] = unmarked(answer.text, abroad.told)

        for name, path in EMPTY.items():
            look(name, browser.get(path))
        for path, sent in SENT:
            look(f"{path} {sent}", browser.post(path, data=sent))
        some = NO_SUMMARY | {"total": 3, "connector_missing": 1, "secrets_unreadable": 2, "disabled": 1}
        broken = [
            PLUGIN | {"status": status, "reason": "Run: pip check"} for status in ("failed", "conflict", "blocked")
        ]
        key = {"kid": "k1", "primary": False, "held": False, "rows": 2, "fingerprint": None, "first_used_at": None}
        one = filled.api.get("/connection/page_good").json()
        for path, at, instead in (
            ("/", SUMMARY, NO_SUMMARY),
            ("/", SUMMARY, some),
            ("/connections", SUMMARY, NO_SUMMARY),
            ("/connections?connector=missing", SUMMARY, some),
            ("/plugins", "/plugins", {"items": broken, "total": 3, "pages": 1}),
            ("/plugins", "/plugins", {"items": [], "total": 0, "pages": 0}),
            ("/keys", "/keys", {"keys": [key], "nodes": [], "primary": "k2"}),
            (f"{ONE}/secrets", "/connection/page_good", one | {"secrets_state": "unreadable"}),
            (ONE, "/connection/page_good", one | {"secrets_state": "absent", "disabled": True, "access": "write"}),
        ):
            abroad.instead = {at: instead}
            look(f"{path} {instead}", browser.get(path.format(key="page_good")))
        abroad.instead = {}
        for abroad.failure in FAILURES:
            parts_fail = abroad.failure.status in {403, 500}  # else the answer is one page for all of them
            for path in FULL.values() if parts_fail else ["/keys"]:
                look(f"{path} {abroad.failure.status}", browser.get(path))
        abroad.failure = None
    assert {name: texts for name, texts in found.items() if texts} == {}
