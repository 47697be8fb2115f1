"""What a person sees when the service ends under their hands, and when a far end never answers."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from testkit import hostile
from testkit.loopback import LoopbackServer
from testkit.people import Console, Person, person_in, running_console

DEADLINE = 3.0
SETTINGS = {"CONNECTORY_PROBE_DEADLINE": str(DEADLINE)}


@pytest.fixture
def far_end() -> Iterator[LoopbackServer]:
    """It takes a connection, and never says a word."""
    with hostile.silent() as server:
        yield server


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("restarts") / "home", SETTINGS) as console:
        yield console


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def fill(page: Page, far_end: LoopbackServer) -> None:
    page.get_by_label("Name", exact=True).fill("Never answers")
    for name, value in {"host": far_end.host, "port": far_end.port, "username": "a", "password": "marker"}.items():
        page.locator(f"[name='field.{name}']").fill(str(value))


def connected(console: Console, far_end: LoopbackServer) -> list[psutil.Process]:
    """The processes of the service that are connected to the far end."""
    family = psutil.Process(console.service.process.pid).children(recursive=True)
    return [one for one in family if far_end.port in {end.raddr.port for end in one.net_connections() if end.raddr}]


def test_cancelling_ends_the_child_that_tests(person: Person, console: Console, far_end: LoopbackServer) -> None:
    page = person.go("/connections/new?type=postgres")
    fill(page, far_end)
    test = page.get_by_role("button", name="Test", exact=True)
    test.click()
    far_end.wait_for_connections()
    [child] = connected(console, far_end)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".verdict-title")).to_have_text("Cancelled.")
    expect(test).to_be_focused()
    child.wait(DEADLINE / 2)
    assert connected(console, far_end) == []


def test_the_verdict_comes_by_the_deadline(person: Person, console: Console, far_end: LoopbackServer) -> None:
    page = person.go("/connections/new?type=postgres")
    fill(page, far_end)
    page.get_by_role("button", name="Test and save").click()
    far_end.wait_for_connections()
    expect(page.locator(".deadline")).to_have_text(re.compile(r"^It ends within [1-3] s\.$"))
    started = time.monotonic()
    expect(page.locator(".verdict-title")).to_have_text(re.compile("^Failed: .*[Tt]imeout"))
    assert time.monotonic() - started < DEADLINE + 1
    expect(page.locator("li .step-name").first).to_have_text(re.compile("resolve|connect"))
    assert console.api.get("/connection", params={"search": "Never answers"}).json()["total"] == 0


def test_a_service_that_ends_in_the_middle_of_a_test_loses_nothing_that_was_typed(
    browser: Browser, tmp_path: Path, far_end: LoopbackServer, good_secrets: dict, opened: ExitStack
) -> None:
    """It is killed while it tests, started again where it was, and goes on in the same page with the same session."""
    home = tmp_path / "home"
    with running_console(home, SETTINGS) as console:
        port = int(console.url.rpartition(":")[2])
        person = opened.enter_context(person_in(browser, console))
        person.tolerated = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY"
        person.sign_in()
        page = person.go("/connections/new?type=postgres")
        fill(page, far_end)
        page.get_by_role("button", name="Test", exact=True).click()
        far_end.wait_for_connections()
        console.service.end(signal.SIGKILL)
    expect(page.locator(".verdict-title")).to_have_text(
        re.compile("^The service does not answer. What you typed stays")
    )
    page.get_by_role("button", name="Test and save").click()  # nobody is there
    expect(page.locator(".verdict-title")).to_have_text(re.compile("^The service does not answer"))
    expect(page.locator("[name='field.password']")).to_have_value("marker")
    with running_console(home, SETTINGS, port=port) as console:
        for name, value in good_secrets.items():
            page.locator(f"[name='field.{name}']").fill(str(value))
        page.get_by_role("button", name="Test and save").click()
        page.wait_for_url(re.compile("/connections/never_answers.done=created"))
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_role("heading", name="Audit")).to_be_visible()
