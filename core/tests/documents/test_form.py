"""How a form shows the fields of a schema."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, WithJsonSchema

from connectory import (
    Endpoint,
    Host,
    Name,
    Port,
    SecretGroup,
    Secrets,
    SecretText,
    SslCaField,
    SslMode,
    SslModeField,
    UrlGrammar,
)
from connectory.documents.form import form_description
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.masking import mask_document, merge_documents
from connectory.documents.roles import field_facts
from connectory.documents.validation import SecretsInvalid
from connectory.toolkit import PemPrivateKey
from testkit.certificates import SOME_CERTIFICATE


class KeyFile(SecretGroup):
    content: Name


class Ledger(Secrets):
    connectory_url = UrlGrammar(schemes={"ledger": {}}, path=("book",), query={"sslmode": "ssl_mode"})
    connectory_exactly_one = (("password", "key"),)

    host: Host
    port: Port = 7000
    username: Name | None = None
    password: SecretText | None = Field(default=None, title="Password")
    key: PemPrivateKey | None = Field(default=None, title="Private key")
    key_passphrase: SecretText | None = None
    key_file: KeyFile | None = None
    book: Name | None = None
    region: Annotated[Name | None, Endpoint()] = None
    purpose: Name
    pages: int | None = None
    anything: Annotated[Any, WithJsonSchema({})] = None
    strict: bool = False
    color: Literal["red"] = "red"
    ssl_mode: SslModeField = SslMode.PREFERRED
    ssl_ca: SslCaField = None


FORM = form_description(field_facts(Ledger), secret_json_schema(Ledger, "ledger", "Ledger"))
FIELDS = {field["name"]: field for field in FORM["fields"]}


def test_the_fields_are_those_of_the_schema_in_its_order():
    assert list(FIELDS) == ["url", *Ledger.model_fields]
    assert all(field.keys() == {"name", "role", "repoints", "widget", "group"} for field in FORM["fields"])


def test_what_a_field_is_entered_with_follows_from_its_schema():
    assert {name: field["widget"] for name, field in FIELDS.items()} == {
        "url": "secret",
        "host": "text",
        "port": "number",
        "username": "text",
        "password": "secret",
        "key": "secret_textarea",
        "key_passphrase": "secret",
        "key_file": "json",
        "book": "text",
        "region": "text",
        "purpose": "text",
        "pages": "number",
        "anything": "json",
        "strict": "checkbox",
        "color": "select",
        "ssl_mode": "select",
        "ssl_ca": "textarea",
    }


def test_what_is_optional_and_neither_leads_there_nor_lets_in_is_advanced():
    advanced = [name for name, field in FIELDS.items() if field["group"] == "advanced"]
    assert advanced == ["pages", "anything", "strict", "color", "ssl_mode", "ssl_ca"]


def test_choices_are_between_a_url_and_its_parts_and_between_credentials():
    address, credentials = FORM["choices"]
    assert address == {
        "title": "Address",
        "options": [
            {"title": "One field each", "fields": ["host", "port", "username", "password", "book"]},
            {"title": "One URL", "fields": ["url"]},
        ],
    }
    assert credentials == {
        "title": "Password or Private key",
        "options": [
            {"title": "Password", "fields": ["password"]},
            {"title": "Private key", "fields": ["key", "key_passphrase"]},
        ],
    }


STORED = {"host": "h", "port": 7000, "username": "u", "password": "p", "book": "b", "purpose": "why", "region": "r"}
CHANGED = {"host": "g", "port": 7001, "username": "v", "book": "c", "purpose": "because", "region": "s", "pages": 2}
CHANGED |= {"strict": True, "ssl_mode": "required", "ssl_ca": SOME_CERTIFICATE}


@pytest.mark.parametrize("name", CHANGED)
def test_a_field_repoints_if_its_change_makes_the_service_refuse_a_masked_value(name):
    submitted = mask_document(Ledger, STORED) | {name: CHANGED[name]}
    try:
        merge_documents(Ledger, submitted, STORED, replace=True)
        refused = False
    except SecretsInvalid as error:
        refused = [problem["type"] for problem in error.problems] == ["secrets_required"]
    assert FIELDS[name]["repoints"] is refused
