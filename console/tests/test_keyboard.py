"""Without a mouse: where focus goes with every key. Whole journeys by keyboard are in the files of the journeys."""

import re

from playwright.sync_api import expect

from testkit.keyboard import focus_is_seen, tab_to
from testkit.people import Console, Person


def test_from_the_catalogue_to_a_stored_connection(person: Person, console: Console, good_secrets: dict) -> None:
    page = person.go("/catalogue")
    tab_to(page, page.get_by_label("Search the catalogue"))
    page.keyboard.type("postgresql")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("search=postgresql"))
    tab_to(page, page.get_by_role("link", name="PostgreSQL"))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("type=postgres$"))
    tab_to(page, page.get_by_label("Name", exact=True))
    page.keyboard.type("By keyboard")
    for name, value in {**good_secrets, "password": "wrong"}.items():
        tab_to(page, page.locator(f"[name='field.{name}']"))
        page.keyboard.type(str(value))
    test = page.get_by_role("button", name="Test", exact=True)
    tab_to(page, test)
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_attribute("aria-invalid", "true")
    focus_is_seen(page)
    password = page.locator("[name='field.password']")
    expect(password).to_have_attribute("aria-invalid", "true")
    expect(password).to_be_focused()
    page.keyboard.type(str(good_secrets["password"]))  # over what is there
    tab_to(page, test)
    page.keyboard.press("Enter")
    expect(page.locator(".verdict-title")).to_have_text("Passed")
    expect(test).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Test and save"))
    page.keyboard.press("Space")
    page.wait_for_url(re.compile("done=created"))
    assert console.api.get("/connection/by_keyboard").json()["last_test_succeeded"]


def test_what_is_refused_leads_to_its_field(person: Person) -> None:
    page = person.go("/connections/new?type=postgres")
    tab_to(page, page.get_by_role("button", name="Save without testing"))
    page.keyboard.press("Enter")
    expect(page.locator(".form > .problems")).to_be_focused()
    tab_to(page, page.locator(".form > .problems").get_by_role("link").first)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    focus_is_seen(page)


def test_the_ways_to_fill_in_are_chosen_with_arrows(person: Person) -> None:
    page = person.go("/connections/new?type=postgres")
    tab_to(page, page.get_by_role("radio", name="One field each"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="One URL")).to_be_checked()
    focus_is_seen(page)
    tab_to(page, page.locator("[name='field.url']"))


def test_stored_secrets_are_replaced_and_undone(person: Person, console: Console, good_secrets: dict) -> None:
    console.make("keyed", good_secrets)
    page = person.go("/connections/keyed/secrets")
    host = page.locator("[name='field.host']")
    tab_to(page, host)
    page.keyboard.type("other.example")
    tab_to(page, page.locator("[name='field.password']"))
    tab_to(page, page.get_by_role("button", name=re.compile("^Undo")))
    page.keyboard.press("Enter")
    expect(host).to_have_value(str(good_secrets["host"]))
    focus_is_seen(page)


def test_the_first_tab_skips_to_the_content(person: Person) -> None:
    page = person.go("/connections")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    focus_is_seen(page)
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_control_k_goes_anywhere(person: Person, console: Console) -> None:
    console.make("far_away")
    page = person.go("/keys")
    start, search = page.get_by_role("link", name="Plugins"), page.get_by_role("combobox")
    tab_to(page, start)
    page.keyboard.press("Control+K")
    expect(search).to_be_focused()
    focus_is_seen(page)
    page.keyboard.type("far_away")
    options = page.get_by_role("option")
    expect(options.first).to_have_text(re.compile("^Far Away"))
    expect(search).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(search).to_have_attribute("aria-activedescendant", options.first.get_attribute("id"))
    page.keyboard.press("Escape")
    expect(options).to_have_count(0)
    expect(start).to_be_focused()
    page.keyboard.press("Control+K")
    page.keyboard.type("y")
    expect(options.first).to_have_text(re.compile("^Nothing has this in its name"))
    page.keyboard.press("Backspace")
    expect(options.first).to_have_text(re.compile("^Far Away"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(console.page("/connections/far_away"))
    person.go("/keys")
    page.keyboard.press("Control+K")
    page.keyboard.type("far_away")
    page.keyboard.press("Enter")  # without a choice it searches
    page.wait_for_url(console.page("/connections/far_away"))


def test_the_menu_of_the_person_opens_and_the_theme_and_the_language_are_kept(person: Person, console: Console) -> None:
    page = person.go("/plugins")
    tab_to(page, page.locator(".account summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Dark"))
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url == console.page("/plugins")
    expect(person.go("/keys").locator("html")).to_have_attribute("data-theme", "dark")
    tab_to(page, page.locator(".account summary"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Deutsch"))
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert page.url == console.page("/keys")
    expect(person.go("/plugins").get_by_role("link", name="Verbindungen", exact=True)).to_be_visible()
