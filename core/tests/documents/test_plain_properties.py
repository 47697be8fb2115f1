"""Schemas whose properties stay as older consumers know them still tell the truth: what texts may hold stands beside them."""

import jsonschema_rs
import pytest
from pydantic import Field

from connectory import Host, Port, Secrets, SecretText
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.validation import SecretsInvalid, parse_secrets


class Plain(Secrets):
    connectory_plain_properties = True
    connectory_exactly_one = (("token", "key"),)

    host: Host = Field(default="ledger.example", title="Host")
    port: Port = Field(default=7000, title="Port")
    token: SecretText | None = Field(default=None, title="Token")
    key: SecretText | None = Field(default=None, title="Key")


SCHEMA = secret_json_schema(Plain, "ledger", "Ledger")


def test_properties_of_texts_are_plain():
    assert SCHEMA["properties"] == {
        "host": {
            "title": "Host",
            "description": "Must be a host name or an IP address, without scheme, port, path or credentials.",
            "type": "string",
            "default": "ledger.example",
        },
        "port": {"title": "Port", "type": "integer", "minimum": 1, "maximum": 65535, "default": 7000},
        "token": {"title": "Token", "type": "string", "sensitive": True},
        "key": {"title": "Key", "type": "string", "sensitive": True},
    }


@pytest.mark.parametrize(
    "payload",
    [
        {"token": "t"},
        {"token": "t", "host": "other.example"},
        {"token": ""},
        {"token": "t\n"},
        {"token": "t" * 5000},
        {"token": "t", "host": "a b"},
        {"token": "t", "host": ""},
        {"token": "t", "key": "k"},
        {},
    ],
)
def test_the_schema_accepts_what_is_accepted(payload):
    try:
        parse_secrets(Plain, payload)
        accepted = True
    except SecretsInvalid:
        accepted = False
    assert jsonschema_rs.is_valid(SCHEMA, payload) == accepted
