"""What definitions say of what a service holds: mistakes are found, and it is what the vendor's own document says."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import connectory_saas
from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind
from connectory.sources import ConnectorUnusable
from connectory.testing import LoadedConnector
from connectory_saas.contents import FieldShape
from connectory_saas.definition import load_definition
from connectory_saas.plugin import plugin_of
from servers.saas.openapi import Described

Define = Callable[..., LoadedConnector]
FOLDER = Path(connectory_saas.__file__).with_name("definitions")
LEDGER = """\
name: Ledger
secrets: {domain: {title: Domain, hosts: [ledger.example]}, key: {title: Key, sensitive: true}}
auth: {strategy: bearer, token: <key>}
test: [{url: "https://<domain>/books", expect: {type: object}}]
"""
BOOKS = """\
collections:
  owner:
    key: [id]
    fields: {id: integer, "e.mail": string}
  book:
    fields:
      title: string
      owner: {type: integer, refers_to: owner.id}
      tags: string[]
      pages: {type: "object[]", fields: {number: integer, text: {type: object, fields: {raw: any}}}}
"""


def test_collections_are_what_the_definition_says(define: Define) -> None:
    connector = define(LEDGER + BOOKS)
    assert connector.supported_actions == ("discovery",)
    owner, book = connector.collections()
    assert owner == CollectionInfo(
        CollectionRef("owner"),
        (FieldInfo(("id",), Kind.INTEGER, "integer"), FieldInfo(("e.mail",), Kind.STRING, "string")),
        primary_key=(("id",),),
        kind="collection",
    )
    assert [(field.path, field.kind, field.array) for field in book.fields] == [
        (("title",), Kind.STRING, False),
        (("owner",), Kind.INTEGER, False),
        (("tags",), Kind.STRING, True),
        (("pages",), Kind.OBJECT, True),
        (("pages", "number"), Kind.INTEGER, False),
        (("pages", "text"), Kind.OBJECT, False),
        (("pages", "text", "raw"), Kind.ANY, False),
    ]
    assert book.foreign_keys == (ForeignKey((("owner",),), CollectionRef("owner"), (("id",),)),)


def test_a_definition_without_collections_cannot_be_discovered_and_does_not_say_so(define: Define) -> None:
    connector = define(LEDGER)
    assert not connector.knows_collections
    assert connector.supported_actions == ()


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("[id]", "[number]", "collections.owner.key: Names a field that the collection does not have."),
        ("owner.id}", "owner.number}", "collections.book.fields.owner.refers_to: Names no collection and field"),
        ("title: string", "title: text", "collections.book.fields.title.type: String should match"),
        ("raw: any", "raw: {type: any, fields: {x: any}}", "raw.fields: Only an object has members."),
        ("title: string", "title: {type: string, length: 5}", "collections.book.fields.title.length: Extra inputs"),
        ("title: string", '"": string', "collections.book.fields"),
        ("tags: string[]", "tags: [string]", "collections.book.fields.tags"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    file = tmp_path / "ledger.yaml"
    file.write_text(LEDGER + BOOKS.replace(wrong, right, 1))
    with pytest.raises(ConnectorUnusable, match=rf"^ledger\.yaml, line \d+, .*{re.escape(message)}"):
        plugin_of(file)


@pytest.mark.parametrize(
    ("vendor", "collection", "schema"),
    [
        ("stripe", "customer", "components.schemas.customer"),
        ("stripe", "payment_method", "components.schemas.payment_method"),
        ("stripe", "charge", "components.schemas.charge"),
        ("stripe", "invoice", "components.schemas.invoice"),
        ("sendgrid", "contact", "components.schemas.contact-details2"),
        (
            "mailchimp",
            "member",
            "paths./lists/{list_id}/members/{subscriber_hash}.get.responses.200.content.application/json.schema",
        ),
    ],
)
def test_the_vendors_document_says_the_same(vendor: str, collection: str, schema: str) -> None:
    shape = load_definition(FOLDER / f"{vendor}.yaml").collections[collection]
    assert list(departures(shape.fields, Described(vendor, schema))) == []


def departures(fields: Mapping[str, FieldShape], described: Described) -> Iterator[str]:
    """How fields depart from a vendor's document."""
    for name, field in fields.items():
        member = described.member(name)
        if member is None:
            yield f"{name} is not there"
        elif not {field.type, "any"} & member.types:
            yield f"{name} is {field.type}, and there {member.types}"
        else:
            yield from (f"{name}.{departure}" for departure in departures(field.fields, member))


def test_a_departure_from_it_is_noticed() -> None:
    fields: dict[str, Any] = {
        "email": FieldShape(type="integer"),
        "nickname": FieldShape(type="string"),
        "address": FieldShape(type="object", fields={"planet": FieldShape(type="string")}),
    }
    told = " ".join(departures(fields, Described("stripe", "components.schemas.customer")))
    assert all(word in told for word in ("email is integer", "nickname is not there", "address.planet is not there"))
