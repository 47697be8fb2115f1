"""Every page, in every state and both themes: no violation that axe finds, no request elsewhere, and a picture to look at.

The pictures are in `.cache/screenshots`.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, expect

from testkit.cache import REPOSITORY
from testkit.people import Console, Person, person_in

PICTURES = REPOSITORY / ".cache/screenshots"
DATASET = {
    "fides_key": "page_shop",
    "name": "Shop",
    "description": "Customers and their orders.",
    "collections": [{"name": "customer", "fields": [{"name": "email", "data_categories": ["user.contact.email"]}]}],
}
PAGES = {
    "home": "/",
    "find": "/find?search=page",
    "find-nothing": "/find?search=zzzz",
    "catalogue": "/catalogue",
    "catalogue-nothing": "/catalogue?search=zzzz",
    "new": "/connections/new?type=postgres",
    "new-snowflake": "/connections/new?type=snowflake",
    "new-consent": "/connections/new?type=salesforce",
    "new-unknown": "/connections/new?type=nothing",
    "connections": "/connections",
    "connections-none": "/connections?search=zzzz",
    "connection": "/connections/page_good",
    "connection-failed": "/connections/page_bad",
    "connection-empty": "/connections/page_empty",
    "connection-missing": "/connections/nothing",
    "secrets": "/connections/page_good/secrets",
    "history": "/connections/page_good/history",
    "history-none": "/connections/page_empty/history",
    "datasets": "/connections/page_good/datasets",
    "datasets-none": "/connections/page_empty/datasets",
    "dataset": "/connections/page_good/datasets/edit?dataset=page_shop",
    "consent": "/connections/page_crm/consent",
    "plugins": "/plugins",
    "keys": "/keys",
    "clients": "/clients",
    "audit": "/audit",
    "audit-none": "/audit?actor=nobody",
}


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
    return console


@pytest.fixture(scope="module")
def reader(browser, filled: Console) -> Iterator[Person]:
    """Somebody who is signed in."""
    with person_in(browser, filled, viewport={"width": 1280, "height": 900}) as person:
        person.sign_in()
        yield person


def look_at(page: Page, name: str) -> None:
    """In both themes, take a picture and have axe look."""
    for theme in ("light", "dark"):
        folder = PICTURES / theme
        folder.mkdir(parents=True, exist_ok=True)
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
        # What the second theme changes is colours.
        found = Axe().run(page, options=None if theme == "light" else {"runOnly": ["color-contrast"]})
        assert found.violations_count == 0, f"{name}, {theme}: {found.generate_report()}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page(reader: Person, name: str) -> None:
    """It is small besides: at most 60 kB and 8 requests for everything in it, as it travels."""
    sizes: list[int] = []
    note = partial(_note_size, sizes)
    reader.page.on("requestfinished", note)
    page = reader.go(PAGES[name])
    expect(page.locator("main h1")).to_have_count(1)
    look_at(page, name)
    reader.page.remove_listener("requestfinished", note)
    assert 1 <= len(sizes) <= 8
    assert sum(sizes) <= 60_000, sizes


def _note_size(sizes: list[int], request: Request) -> None:
    found = request.sizes()
    sizes.append(found["responseBodySize"] + found["responseHeadersSize"])


def test_a_form_with_problems_and_a_test(reader: Person, good_secrets: dict) -> None:
    page = reader.go("/connections/new?type=postgres")
    page.get_by_label("Port").fill("high")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#f-port-problem")).to_be_visible()
    look_at(page, "new-problems")
    page.get_by_label("Port").fill(str(good_secrets["port"]))
    page.get_by_label("Host").fill(str(good_secrets["host"]))
    page.get_by_label("Username").fill("nobody")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".verdict.bad")).to_be_visible()
    look_at(page, "new-failed")


def test_the_sign_in_page(somebody: Person, filled: Console) -> None:
    page = somebody.go("/sign-in")
    look_at(page, "sign-in")
    page.goto(filled.link())
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    look_at(page, "sign-in-code")


def test_pages_without_the_scope_say_which(browser, filled: Console) -> None:
    made = filled.api.post("/client", json={"name": "few scopes", "scopes": ["dataset:read"]}).json()
    with person_in(browser, filled) as person:
        person.sign_in(filled.link(made["client_id"]))
        for name, path, scope in (
            ("home-no-scope", "/", "connection:read"),
            ("connections-no-scope", "/connections", "connection:read"),
            ("plugins-no-scope", "/plugins", "connection_type:read"),
        ):
            page = person.go(path)
            expect(page.locator("main")).to_contain_text(scope)
            look_at(page, name)


@pytest.mark.parametrize("width", [320, 768])
def test_pages_fit_small_screens(browser, filled: Console, width: int) -> None:
    """Without scrolling sideways, as WCAG 2.2 has it for 320 CSS pixels (1.4.10)."""
    with person_in(browser, filled, viewport={"width": width, "height": 700}) as person:
        person.sign_in()
        for name in ("home", "catalogue", "new", "connections", "connection", "secrets", "keys", "audit", "dataset"):
            page = person.go(PAGES[name])
            page.screenshot(path=PICTURES / f"{name}-{width}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{name} at {width}"


def test_the_documentation_of_the_api_asks_nobody_else_either(person: Person, console: Console) -> None:
    person.page.goto(f"{console.url}/docs")
    expect(person.page.get_by_role("heading", name="Connectory").first).to_be_visible()
    assert {origin for origin in person.visited if not origin.startswith("data:")} == {console.url}


def test_the_theme_is_kept(person: Person) -> None:
    page = person.go("/plugins")
    page.locator(".account summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url.endswith("/console/plugins")
    expect(person.go("/keys").locator("html")).to_have_attribute("data-theme", "dark")


def test_there_is_one_script_and_it_keeps_the_rules() -> None:
    folder = Path(__file__).parents[1] / "connectory_console"
    [script] = folder.glob("static/*.js")
    text = script.read_text()
    assert len(text.splitlines()) <= 300
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "localStorage",
        "DOMParser",
    ):
        assert word not in text
    for template in folder.glob("templates/*.html"):
        markup = template.read_text()
        for word in ("<style", " style=", " onclick", "javascript:", "|safe", "http://", "https://"):
            assert word not in markup, template.name
