"""Every installed connection type: its form has an input for each property, and what is entered is what is stored."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from connectory.api.stored.sealing import open_document
from connectory.catalog.catalog import build_catalog
from connectory.store.connections import get_by_key
from connectory.store.engine import open_store
from connectory.store.envelopes import load_envelopes
from connectory.testing.ports import IPV4_LOOPBACK
from connectory.vault import Vault
from connectory.vault.keyfile import load_keyring
from testkit.cache import REPOSITORY
from testkit.every_connector import secrets_of_every_connector
from testkit.people import Console, Person

SECRETS = secrets_of_every_connector(IPV4_LOOPBACK, 5432)
each = pytest.mark.parametrize("kind", sorted(SECRETS))


@pytest.fixture(scope="module")
def stored(console: Console) -> Iterator[Callable[[str], dict[str, Any]]]:
    """What is stored of a connection's secrets, in clear."""
    vault = Vault(load_keyring(console.home / "keys.json"))
    with open_store(f"sqlite:///{console.home / 'connectory.db'}") as store:

        def read(key: str) -> dict[str, Any]:
            with store.read() as database:
                connection = get_by_key(database, key)
                envelope = load_envelopes(database, connection.id)[0]
            return open_document(vault, connection, envelope) if envelope else {}

        yield read


def enter(page: Page, secrets: dict[str, Any]) -> None:
    if (advanced := page.locator("details.advanced")).count():
        advanced.evaluate("one => { one.open = true; }")
    for name, value in secrets.items():
        control = page.locator(f"[name='field.{name}']")
        if control.evaluate("one => one.tagName") == "SELECT":
            control.select_option(json.dumps(value))
        else:
            control.fill(value if isinstance(value, str) else json.dumps(value))


def test_made_up_secrets_are_there_for_every_type() -> None:
    ours = {"connectory", *(f"connectory-{project.name}" for project in (REPOSITORY / "plugins").iterdir())}
    connectors = build_catalog(
        environment={}
    ).connectors.values()  # other tests of this process may have installed some
    assert SECRETS.keys() == {found.identifier for found in connectors if found.record.distribution in ours}


@each
def test_a_form_has_every_property_and_stores_what_is_entered(
    person: Person, console: Console, stored: Callable[[str], dict[str, Any]], kind: str
) -> None:
    schema = console.api.get(f"/connection_type/{kind}/secret").json()
    page = person.go(f"/connections/new?type={kind}")
    save = page.get_by_role("button", name=re.compile("^Save (without testing|and ask)"))
    shown = page.locator("[name^='field.']").evaluate_all("all => all.map((one) => one.name.slice(6))")
    assert sorted(shown) == sorted(schema["properties"])
    save.click()
    expect(page.locator("#f-name-problem")).to_have_text("Give the connection a name.")
    page.get_by_label("Name", exact=True).fill(f"Entered {kind}")
    if schema["properties"]:
        save.click()
        expect(page.locator("#f-name-problem")).to_have_count(0)
        expect(page.locator(".form > .problems")).to_be_visible()
        invalid = page.locator("[aria-invalid=true]").evaluate_all("all => all.map((one) => one.name.slice(6))")
        known = page.locator("[name='field.redirect_uri']").evaluate_all("all => all.map((one) => one.name.slice(6))")
        assert set(invalid) >= set(schema["required"]) - set(known)
        enter(page, SECRETS[kind])
    save.click()
    page.wait_for_url(re.compile(f"/connections/entered_{kind}(/consent)?.done=created"))
    console.make(f"sent_{kind}", SECRETS[kind], connection_type=kind)
    assert stored(f"entered_{kind}") == stored(f"sent_{kind}")
    assert SECRETS[kind].keys() <= stored(f"sent_{kind}").keys()
