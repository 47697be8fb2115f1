"""The list of connections: what is filtered stays in the address, and one action reaches many connections."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Locator, Page, expect

from testkit import hostile
from testkit.people import Console, Person, running_console

pytestmark = pytest.mark.usefixtures("by_keyboard")

DATASET = {"fides_key": "kept_shop", "name": "Shop", "collections": [{"name": "customer", "fields": [{"name": "id"}]}]}
ROWS = 150


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("lists") / "home") as console:
        for first in range(0, ROWS, 50):
            console.api.patch("/connection", json=[row(number) for number in range(first, first + 50)])
        yield console


def row(number: int) -> dict:
    name = f"Row {number:03}"
    return {"key": f"row_{number:03}", "name": name, "connection_type": "manual", "access": "read"}


def names(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def chip(page: Page, title: str) -> Locator:
    return page.get_by_role("list", name="Filters").get_by_role("link", name=re.compile(f"^{title}"))


def tick(page: Page, *keys: str) -> None:
    for key in keys:
        page.locator(f"input[name=key][value={key}]").check()


def test_filter_order_and_page_live_in_the_address(person: Person, colleague: Person) -> None:
    page = person.go("/connections")
    page.get_by_label("Search", exact=True).fill("row")
    page.get_by_label("Order").select_option("-name")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".found")).to_contain_text(f"{ROWS} connections found")
    assert names(page)[0] == "Row 149"
    page.get_by_role("link", name="Next").click()
    expect(page.locator("tbody tr")).to_have_count(ROWS - 100)
    shown = names(page)
    assert shown[-1] == "Row 000"
    page.reload()
    assert names(page) == shown
    colleague.page.goto(page.url)
    assert names(colleague.page) == shown
    expect(colleague.page.get_by_label("Search", exact=True)).to_have_value("row")
    page.go_back()
    expect(page.locator("tbody th a").first).to_have_text("Row 149")
    page.go_back()
    expect(page.get_by_label("Search", exact=True)).to_have_value("")
    page.go_forward()
    page.get_by_role("link", name="Clear filters").click()
    expect(page).to_have_url(re.compile("/connections$"))


def test_chips_count_what_they_lead_to(person: Person, console: Console, good_secrets: dict) -> None:
    console.make("chip_good", good_secrets)
    console.make("chip_bad", good_secrets | {"password": "wrong"})
    for key in ("chip_good", "chip_bad"):
        console.api.post(f"/connection/{key}/test")
    page = person.go("/connections")
    for title, shown in (("Passed", "Chip Good"), ("Failed", "Chip Bad")):
        count = chip(page, title).locator(".count").inner_text()
        chip(page, title).click()
        expect(chip(page, title)).to_have_attribute("aria-current", "true")
        expect(page.locator(".found")).to_contain_text(f"{count} connection")
        assert shown in names(page)
        if title == "Failed":
            chip(page, "Auth failed").click()
            assert names(page) == ["Chip Bad"]
            chip(page, "Auth failed").click()
        chip(page, title).click()
        expect(chip(page, title)).not_to_have_attribute("aria-current", "true")


def test_disabling_and_enabling_leave_everything_else_as_it_was(
    person: Person, console: Console, good_secrets: dict
) -> None:
    console.make("toggled_one", good_secrets)
    console.make("toggled_two", good_secrets | {"password": "wrong"})
    console.api.patch("/connection/toggled_one/dataset", json=[DATASET])
    for key in ("toggled_one", "toggled_two"):
        console.api.post(f"/connection/{key}/test")
    before = {key: state_of(console, key) for key in ("toggled_one", "toggled_two")}
    page = person.go("/connections?search=toggled")
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("They are disabled.")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Toggled One"))).to_contain_text("Disabled")
    assert {console.api.get(f"/connection/{key}").json()["disabled"] for key in before} == {True}
    tick(page, *before)
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("They are enabled.")).to_be_visible()
    assert page.url.endswith("/connections?search=toggled&done=many-enabled")
    assert {key: state_of(console, key) for key in before} == before
    assert console.api.post("/connection/toggled_one/test").json()["test_status"] == "succeeded"


def state_of(console: Console, key: str) -> dict:
    """All that a connection is, but when it changed."""
    shown = console.api.get(f"/connection/{key}").json()
    datasets = console.api.get(f"/connection/{key}/dataset").json()["items"]
    return {name: value for name, value in shown.items() if name != "updated_at"} | {"datasets": datasets}


def test_testing_many_shows_what_failed_and_tries_that_again(
    person: Person, console: Console, good_secrets: dict
) -> None:
    for number in range(3):
        console.make(f"many_{number}", good_secrets)
    console.make("many_wrong", good_secrets | {"password": "wrong"})
    page = person.go("/connections?search=many_")
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".bulk-text")).to_have_text("4 of 4 done, 1 failed.")
    expect(page.locator(".bulk-failures li")).to_have_text(re.compile("^many_wrong: .*password"))
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    tested = count_of_tests(console, "many_0")
    page.get_by_role("button", name="Retry these").click()
    expect(page.locator(".bulk-text")).to_have_text("1 of 1 done, 1 failed.")
    console.api.put("/connection/many_wrong/secret?verify=false", json=good_secrets)
    page.get_by_role("button", name="Retry these").click()
    expect(page.get_by_text("All of them passed.")).to_be_visible()
    assert (count_of_tests(console, "many_0"), count_of_tests(console, "many_wrong")) == (tested, 3)


def count_of_tests(console: Console, key: str) -> int:
    return console.api.get(f"/connection/{key}/test_history").json()["total"]


def test_all_that_are_found_on_every_page_and_only_those(person: Person, console: Console) -> None:
    console.make("aside", connection_type="manual")
    page = person.go("/connections?search=Row&page=2")
    page.get_by_label(f"All {ROWS} found").check()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("They are disabled.")).to_be_visible()
    assert console.api.get("/connection/summary").json()["disabled"] == ROWS
    page.get_by_label(f"All {ROWS} found").check()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("They are enabled.")).to_be_visible()
    assert console.api.get("/connection/summary").json()["disabled"] == 0


def test_deleting_many_asks_for_their_number(person: Person, console: Console) -> None:
    for number in range(3):
        console.make(f"gone_{number}", connection_type="manual")
    page = person.go("/connections?search=gone_")
    tick(page, "gone_0", "gone_2")
    page.get_by_text("Delete …").click()
    delete = page.locator(".bulk-bar").get_by_role("button", name="Delete")
    for wrong in ("", "3"):
        page.get_by_label("Type how many are selected").fill(wrong)
        delete.click()
        expect(page.locator(".bulk-text")).to_have_text("To delete 2 connections, type this number.")
        expect(page.locator(".bulk-text")).to_be_in_viewport()
    assert console.api.get("/connection", params={"search": "gone_"}).json()["total"] == 3
    page.get_by_label("Type how many are selected").fill("2")
    delete.click()
    expect(page.get_by_text("They are deleted.")).to_be_visible()
    assert names(page) == ["Gone 1"]


def test_an_action_that_nothing_is_selected_for_says_so(person: Person) -> None:
    page = person.go("/connections")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator(".bulk-text")).to_have_text("Choose an action, and at least one connection.")
    expect(page.locator(".bulk-text")).to_be_in_viewport()


def test_stopping_leaves_out_those_that_have_not_begun(person: Person, console: Console, good_secrets: dict) -> None:
    with hostile.silent() as server:
        for number in range(6):
            console.make(f"silent_{number}", good_secrets | {"host": server.host, "port": server.port})
        page = person.go("/connections?search=silent_")
        page.get_by_label("Select this page").check()
        page.get_by_role("button", name="Test", exact=True).click()
        server.wait_for_connections(4)
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".bulk-text")).to_have_text(re.compile("^Stopped"))
        expect(page.get_by_role("button", name="Test", exact=True)).to_be_focused()
        server.wait_until_left()
        assert server.connections == 4


def test_who_is_signed_out_meanwhile_is_told(another: Callable[..., Person], console: Console) -> None:
    scopes = ["connection:read", "connection_type:read", "connection:create_or_update"]
    made = console.api.post("/client", json={"name": "short", "scopes": scopes}).json()
    person = another()
    person.sign_in(console.link(made["client_id"]))
    page = person.go("/connections?search=row_00")
    console.api.delete(f"/client/{made['client_id']}")
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator(".bulk-text")).to_have_text(re.compile("signed out|[Tt]oken", re.IGNORECASE))
    assert console.api.get("/connection/summary").json()["disabled"] == 0


STOCK = 100_000
_STOCK = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO connections (id, key, name, connection_type, system_type, distribution, access, disabled, created_at, updated_at,
  version, secrets_version, search_text)
SELECT printf('stock-%06d', n), printf('stock_%06d', n), printf('Stock %06d', n), connection_type, system_type, distribution,
  access, n % 20 = 0, created_at, updated_at, version, secrets_version,
  replace(replace(search_text, key, printf('stock_%06d', n)), 'row 000', printf('stock %06d', n))
FROM numbers, connections WHERE key = 'row_000'"""
_FOUND = """
INSERT INTO connections_search (rowid, search_text)
SELECT number, search_text FROM connections WHERE key LIKE 'stock_%' ORDER BY number"""


def test_among_a_hundred_thousand(person: Person, console: Console) -> None:
    """They come last: whoever runs after them has a long list."""
    with closing(sqlite3.connect(console.home / "connectory.db", timeout=60)) as database, database:
        database.execute(_STOCK, [STOCK])
        database.execute(_FOUND)
    page = person.go("/connections")
    expect(page.locator(".found")).to_contain_text(re.compile(r"^100,\d{3} connections"))
    chip(page, "Disabled").click()
    expect(page.locator(".found")).to_contain_text(f"{STOCK // 20:,} connections found")
    page.get_by_label("Order").select_option("-name")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody th a").first).to_have_text("Stock 100000")
    page.get_by_role("link", name="Last", exact=True).click()
    expect(page).to_have_url(re.compile(f"page={STOCK // 20 // 100}$"))
    expect(page.locator("tbody th a").last).to_have_text("Stock 000020")
    page.get_by_role("link", name="Clear filters").click()
    search(page, "stock_09999")
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text("All of them passed.")).to_be_visible()
    search(page, "0999")  # 0999xx, 00999x, 0x0999
    expect(page.locator(".found")).to_contain_text("120 connections found")
    page.get_by_label("All 120 found").check()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("They are disabled.")).to_be_visible()
    assert console.api.get("/connection", params={"search": "0999", "disabled": True}).json()["total"] == 120


def search(page: Page, text: str) -> None:
    page.get_by_label("Search", exact=True).fill(text)
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(f"search={text}"))
