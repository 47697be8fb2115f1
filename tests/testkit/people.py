"""People who use the console with a browser of their own, and the service that they use."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext, Page

from connectory.console_link import make_link
from connectory.store.audit import Actor
from connectory.store.clients import find_client
from connectory.store.engine import open_store
from testkit.service import RunningService, running_service, token_of_root

PATIENCE = 30_000
"""Milliseconds that a page may take to show something; a busy machine is no failure."""
SECRET = "marker"
"""What the secrets of these tests begin with. No browser keeps it, and no log tells it."""
# Violations of the policy, and what would run if a text became markup.
_WATCH = """
window.alert = (text) => console.error('ALERT ' + text);
document.addEventListener('securitypolicyviolation', (event) =>
  console.error(`VIOLATION ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass
class Console:
    """A running service with its console.

    Attributes:
        url: of the service.
        api: calls to the REST API as the root client.
    """

    service: RunningService
    home: Path
    api: httpx.Client

    @property
    def url(self) -> str:
        return self.service.url

    def page(self, path: str = "/") -> str:
        return f"{self.url}/console{path}"

    def link(self, client_id: str | None = None) -> str:
        """A link that signs a person in, by default as root; faster than `connectory console`, which has tests of its own."""
        root = json.loads((self.home / "root_client.json").read_text())["client_id"]
        with open_store(f"sqlite:///{self.home / 'connectory.db'}") as store:
            with store.read() as database:
                client = find_client(database, client_id or root)
            return make_link(store, Actor("test"), client_id=client.id, scopes=client.scopes, origin=self.url).url

    def make(self, key: str, secrets: dict | None = None, **members: object) -> None:
        """Store a connection."""
        item = {"name": key.replace("_", " ").title(), "key": key, "connection_type": "postgres", "access": "read"}
        answer = self.api.patch("/connection", json=[item | members | ({"secrets": secrets} if secrets else {})])
        assert answer.json().get("failed") == [], answer.text


@contextmanager
def running_console(home: Path, settings: Mapping[str, str] | None = None, *, port: int = 0) -> Iterator[Console]:
    """A service over `home`, with its console."""
    with running_service(home, settings, port=port) as service:
        headers = {"Authorization": f"Bearer {token_of_root(home, service.url)}"}
        with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=60) as api:
            yield Console(service, home, api)
        log = service.log.read_text()
    assert SECRET not in log


@dataclass
class Person:
    """Somebody with a browser of their own, and what the browser complained of."""

    console: Console
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    visited: set[str] = field(default_factory=set)
    tolerated: str = "(?!)"
    """Pattern of what the browser may say, where a test has it look at hostile pages."""
    addresses: list[str] = field(default_factory=list)
    elsewhere: set[str] = field(default_factory=set)
    """Origins beyond loopback that a page of somebody else's may ask, which answer nothing."""

    def go(self, path: str = "/") -> Page:
        """Open a page of the console."""
        self.page.goto(self.console.page(path))
        return self.page

    def sign_in(self, link: str | None = None) -> Page:
        """Sign in by a link."""
        self.page.goto(link or self.console.link())
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(self.console.page("/"))
        return self.page

    def left_behind(self) -> str:
        """The source of the page that is open and what is in the browser's storages, where it is a page of the console."""
        if not self.page.url.startswith(self.console.page()):
            return ""
        return self.page.content() + self.stored_in_browser()

    def stored_in_browser(self) -> str:
        """Everything that the page left in the browser's storages."""
        return self.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")


@contextmanager
def person_in(browser: Browser, console: Console, **options: object) -> Iterator[Person]:
    """A person, whose browser must have nothing to complain of at the end, and have asked nobody else for anything."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    context.add_init_script(_WATCH)
    page = context.new_page()
    person = Person(console, context, page)
    context.on("console", lambda said: _note(person, said.type, said.text))
    context.on("weberror", lambda error: person.complaints.append(str(error.error)))
    context.on("request", lambda request: person.visited.add("/".join(request.url.split("/")[:3])))
    context.on("request", lambda request: person.addresses.append(request.url))
    left = ""
    try:
        yield person
        left = person.left_behind()
    finally:
        context.close()
    assert person.complaints == []
    assert SECRET not in left, "a secret is in the page or in the browser's storages"
    assert not [address for address in person.addresses if SECRET in address], "a secret is in an address"
    assert {
        origin for origin in person.visited if not origin.startswith(("data:", "http://127.0.0.1:"))
    } <= person.elsewhere


def _note(person: Person, kind: str, text: str) -> None:
    # An answer that is an error is told there too; a form that is not accepted has one.
    expected = re.match(r"Failed to load resource: .* status of (4\d\d|502)", text) or re.search(person.tolerated, text)
    if kind == "error" and not expected:
        person.complaints.append(text)
