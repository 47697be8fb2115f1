"""The editor of datasets: what is wrong is shown at its line, what would change before it is saved."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml
from playwright.sync_api import Page, expect

from servers.postgres.server import PostgresServer
from testkit.people import Console, Person, running_console

pytestmark = pytest.mark.usefixtures("by_keyboard")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("datasets") / "home") as console:
        yield console


def dataset(key: str) -> dict:
    return {"fides_key": key, "name": "Shop", "collections": [{"name": "customer", "fields": [{"name": "id"}]}]}


def lines_of_a_dataset(key: str, fields: int = 28) -> list[str]:
    """Five lines, and two for each field."""
    lines = [f"fides_key: {key}", "name: Shop", "collections:", "- name: customer", "  fields:"]
    for number in range(fields):
        lines += [f"  - name: field_{number:05}", "    data_categories: [user.contact.email]"]
    return lines


def editor(person: Person, console: Console, key: str, query: str = "") -> Page:
    console.make(key)
    return person.go(f"/connections/{key}/datasets/edit{query}")


def paste(page: Page, text: str) -> None:
    page.get_by_label("Dataset, as YAML or JSON").fill(text)


def check(page: Page) -> None:
    page.get_by_role("button", name="Check and compare").click()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The dataset is saved.")).to_be_visible()


def selected(page: Page) -> str:
    return page.evaluate("(text => text.value.slice(text.selectionStart, text.selectionEnd))(document.activeElement)")


def line_40_is_shown(page: Page) -> None:
    """The line is marked, and a click leads to it, where it is seen."""
    expect(page.get_by_role("alert")).to_contain_text("Nothing is saved.")
    marked = page.locator(".marked-line").first
    expect(marked.locator(".line-number")).to_have_text("40")
    wrong = page.locator("#text").input_value().split("\n")[39]
    assert marked.locator("mark").inner_text().strip() == wrong.strip()
    page.get_by_role("link", name="Line 40").first.click()
    expect(page.locator("#text")).to_be_focused()
    assert selected(page) == wrong
    top, height = page.evaluate(
        "(text => [39 * parseFloat(getComputedStyle(text).lineHeight) - text.scrollTop, text.clientHeight])"
        "(document.activeElement)"
    )
    assert 0 <= top < height


@pytest.mark.parametrize(
    ("key", "wrong", "told"),
    [
        ("no_yaml", ["  - name: 'field' 17"], "This is not YAML"),
        ("repeated", ["  - name: field", "    name: again"], "'name' is here a second time"),
        ("no_name", ["  - nam: field"], "name: "),
    ],
)
def test_what_is_wrong_in_line_40_is_led_to(
    person: Person, console: Console, key: str, wrong: list[str], told: str
) -> None:
    page = editor(person, console, key)
    good = lines_of_a_dataset(key)
    first = 40 - len(wrong)
    paste(page, "\n".join([*good[:first], *wrong, *good[40:]]))
    check(page)
    expect(page.locator(".line-problems")).to_contain_text(told)
    line_40_is_shown(page)
    paste(page, "\n".join(good))
    check(page)
    expect(page.get_by_role("heading", name=f"New: {key}")).to_be_visible()
    save(page)
    stored = console.api.get(f"/connection/{key}/dataset/{key}").json()
    assert without_nothing(stored) == yaml.safe_load("\n".join(good)) | {
        "organization_fides_key": "default_organization"
    }


def without_nothing(value):
    """A dataset without the members that hold nothing."""
    if isinstance(value, dict):
        return {name: without_nothing(part) for name, part in value.items() if part not in (None, [], {})}
    return [without_nothing(part) for part in value] if isinstance(value, list) else value


def test_what_would_change_is_compared_before_it_is_saved(person: Person, console: Console) -> None:
    console.make("compared")
    console.api.patch("/connection/compared/dataset", json=[dataset("compared")])
    page = person.go("/connections/compared/datasets")
    page.get_by_role("link", name="Shop").click()
    check(page)
    expect(page.get_by_text("Nothing changes.")).to_be_visible()
    text = page.locator("#text").input_value().replace("name: Shop", "name: The shop")
    paste(page, text + "  - name: email\n")
    check(page)
    expect(page.locator(".diff .taken")).to_have_text(["-name: Shop"])
    expect(page.locator(".diff .added")).to_have_text(["+name: The shop", "+  - name: email"])
    assert console.api.get("/connection/compared/dataset/compared").json()["name"] == "Shop"
    save(page)
    expect(page.get_by_role("link", name="The shop")).to_be_visible()
    stored = console.api.get("/connection/compared/dataset/compared").json()
    assert [field["name"] for field in stored["collections"][0]["fields"]] == ["id", "email"]


def test_members_that_would_not_be_stored_are_told(person: Person, console: Console) -> None:
    page = editor(person, console, "ignoring")
    paste(
        page, yaml.safe_dump(dataset("ignoring") | {"fidesctl_meta": {"after": []}, "third_country_transfers": ["GBR"]})
    )
    check(page)
    notice = page.locator(".notice").filter(has_text="would not be stored")
    expect(notice).to_contain_text("third_country_transfers")


def test_a_key_that_another_connection_has_is_told_at_its_line(person: Person, console: Console) -> None:
    console.make("owner")
    console.api.patch("/connection/owner/dataset", json=[dataset("owned")])
    page = editor(person, console, "latecomer")
    paste(page, yaml.safe_dump(dataset("owned"), sort_keys=False))
    check(page)
    expect(page.locator(".line-problems li")).to_have_text(
        re.compile("^Line 1: .* belongs to another connection", re.DOTALL)
    )


def test_what_the_connection_holds_is_proposed_and_later_what_is_new(
    person: Person, console: Console, postgres: PostgresServer, good_secrets: dict
) -> None:
    postgres.create_database("held")
    postgres.execute("CREATE TABLE customer (id integer PRIMARY KEY, email text)", database="held")
    console.make("held", good_secrets | {"dbname": "held"})
    page = person.go("/connections/held/datasets")
    page.get_by_role("button", name="See what it holds").click()
    expect(page.locator(".notice").filter(has_text="1 collection")).to_contain_text(
        "customer.email: user.contact.email"
    )
    check(page)
    expect(page.get_by_role("heading", name=re.compile("^New: public"))).to_be_visible()
    save(page)
    postgres.execute("ALTER TABLE customer ADD COLUMN phone text", database="held")
    page.get_by_role("button", name="See what is new").click()
    check(page)
    expect(page.locator(".diff .added").first).to_have_text("+  - name: phone")
    assert page.locator(".diff .taken").count() == 0


def test_what_cannot_be_looked_at_says_why(person: Person, console: Console, good_secrets: dict) -> None:
    console.make("closed", good_secrets | {"password": "marker-wrong"})
    page = person.go("/connections/closed/datasets")
    page.get_by_role("button", name="See what it holds").click()
    expect(page.get_by_role("alert")).to_contain_text("rejected the credentials")


def test_yaml_becomes_json_and_yaml_again(person: Person, console: Console) -> None:
    page = editor(person, console, "both")
    before = page.locator("#text").input_value()
    page.get_by_role("button", name="As JSON").click()
    expect(page.locator("#text")).to_have_value(re.compile(r"^\{"))
    assert json.loads(page.locator("#text").input_value()) == yaml.safe_load(before)
    page.get_by_role("button", name="As YAML").click()
    expect(page.locator("#text")).to_have_value(re.compile("^fides_key"))
    assert yaml.safe_load(page.locator("#text").input_value()) == yaml.safe_load(before)


def test_what_may_stand_there_is_searched_and_inserted(person: Person, console: Console) -> None:
    page = editor(person, console, "worded")
    typed = "fides_key: worded\ncollections:\n- name: customer\n  fields:\n  - name: email\n"
    paste(page, typed)
    page.locator("#text").press_sequentially("    data_categories: []\n    ")
    for _step in "\n    ]":
        page.keyboard.press("ArrowLeft")
    page.get_by_label("Search the data categories").fill("contact.email")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Insert user.contact.email", exact=True).click()
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#text")).to_have_value(f"{typed}    data_categories: [user.contact.email]\n    ")
    page.keyboard.press("Control+End")
    page.get_by_text("Field", exact=True).click()
    page.get_by_role("button", name="Insert fides_meta.identity").click()
    page.reload()
    expect(page.locator("#text")).to_have_value(re.compile("fides_meta:\n      identity"))
    check(page)
    save(page)
    [field] = console.api.get("/connection/worded/dataset/worded").json()["collections"][0]["fields"]
    assert (field["data_categories"], field["fides_meta"]["identity"]) == (["user.contact.email"], "email")
    assert "draft:" not in person.stored_in_browser()


def test_a_dataset_of_a_megabyte_stays_usable(person: Person, console: Console) -> None:
    lines = lines_of_a_dataset("large", 4_000)
    lines[6::2] = [f"    description: {'What it holds. ' * 14}{number}" for number in range(4_000)]
    page = editor(person, console, "large")
    choose(page, [*lines[:7_001], "  - name: 'a' b", *lines[7_002:]])
    check(page)
    page.get_by_role("link", name="Line 7002").click()
    assert selected(page) == "  - name: 'a' b"
    choose(page, lines)
    check(page)
    expect(page.get_by_role("heading", name="New: large")).to_be_visible()
    save(page)
    page.get_by_role("link", name="Shop").click()
    expect(page.locator("#text")).to_have_value(re.compile("field_03999"))


def choose(page: Page, lines: list[str]) -> None:
    """From a file, which is how so much comes into a page."""
    content = "\n".join(lines).encode()
    assert len(content) > 900_000
    page.get_by_label("Choose a file").set_input_files({"name": "shop.yml", "mimeType": "text/yaml", "buffer": content})
    expect(page.locator("#text")).to_have_value(re.compile("^fides_key: large"))


def test_deleting_takes_the_key(person: Person, console: Console) -> None:
    console.make("forgetting")
    console.api.patch("/connection/forgetting/dataset", json=[dataset("forgotten")])
    page = person.go("/connections/forgetting/datasets")
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete forgotten").click()
    expect(page.locator(".problems")).to_contain_text("Type the key, forgotten, to delete the dataset.")
    expect(page.get_by_label("Type forgotten")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Type forgotten").fill("forgotten")
    page.get_by_role("button", name="Delete forgotten").click()
    expect(page.get_by_text("The dataset is deleted.")).to_be_visible()
    assert console.api.get("/connection/forgetting/dataset").json()["total"] == 0
