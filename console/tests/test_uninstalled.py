"""A connection whose connector is taken away: it is still there, and says what to install."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from testkit.distribution import install, plugin_source
from testkit.people import Console, Person, running_console

pytestmark = pytest.mark.usefixtures("by_keyboard")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A service that was started again without a connector that it had."""
    folder = tmp_path_factory.mktemp("uninstalled")
    modules = {"going_plugin": plugin_source("going")}
    install(folder / "site", "acme-suite", entry_points={"going": "going_plugin"}, modules=modules)
    with running_console(folder / "home", {"PYTHONPATH": str(folder / "site")}) as before:
        before.make("orphan", {"token": "marker-token"}, connection_type="going")
    with running_console(folder / "home") as console:
        yield console


def test_it_can_be_read_and_deleted_and_says_what_to_install(person: Person, console: Console) -> None:
    page = person.go("/")
    page.get_by_role("link", name="See which").click()
    expect(page.get_by_role("row", name=re.compile("Orphan"))).to_contain_text("Connector missing")
    page.get_by_role("link", name="Orphan").click()
    expect(page.locator(".notice.bad")).to_contain_text("The connector 'going' is not installed")
    expect(page.locator(".notice.bad")).to_contain_text("pip install acme-suite")
    page.get_by_role("button", name="Test now").click()
    expect(page.locator(".verdict-reason")).to_contain_text("pip install acme-suite")
    page.get_by_role("link", name="Secrets").click()
    expect(page.get_by_role("heading", name="The connector is not installed")).to_be_visible()
    expect(page.locator("main")).to_contain_text("pip install acme-suite")
    assert "marker-token" not in page.content()
    for part in ("Datasets", "Tests", "Overview"):
        page.get_by_role("link", name=part, exact=True).click()
        expect(page.get_by_role("heading", name="Orphan")).to_be_visible()
    page.get_by_text("Delete …").click()
    page.get_by_label("Type orphan").fill("orphan")
    page.get_by_role("button", name="Delete orphan").click()
    expect(page.get_by_text("The connection is deleted.")).to_be_visible()
    assert console.api.get("/connection/orphan").status_code == 404
