"""Secrets that lead to a given host and port, made from what a schema says of each field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.contract.secrets import URL_FIELD, Secrets
from connectory.documents.sensitivity import is_endpoint
from connectory.documents.validation import SecretsInvalid, parse_secrets

Payload = dict[str, Any]

_TEXTS = ("text", "Text1", "1", "A1", "a@example.com", "a.example.com", "https://a.example.com", "a" * 16, "a" * 32)
"""What most grammars accept one of."""
_ADDRESS = re.compile(r"(?:https?://|/|\*\.)?[\w-]+(?:[./][\w-]+)+")
"""What looks like a host, a path or both in a sentence."""


def secrets_towards(connector: LoadedConnector, host: str, port: int, given: Mapping[str, Any]) -> Payload | None:
    """Secrets that the schema accepts, whose endpoints are `host` and `port`; `None` where none are found.

    Args:
        given: what to take the other fields from.
    """
    model = connector.secrets_model
    grammar = model.connectory_url
    parts = {name: value for name, value in given.items() if name != URL_FIELD}
    if grammar is not None and URL_FIELD in given:
        parts |= grammar.parse(given[URL_FIELD])
    for aim in _aims(connector, host, port):
        payload = _completed(connector, parts | aim)
        if not _refused(model, payload):
            return payload
    return None


def any_secrets(connector: LoadedConnector, given: Mapping[str, Any]) -> Payload | None:
    """Secrets that the schema accepts, wherever they lead; `None` where none are found.

    Args:
        given: what to take fields from.
    """
    payload = _completed(connector, dict(given))
    return None if _refused(connector.secrets_model, payload) else payload


def _aims(connector: LoadedConnector, host: str, port: int) -> Iterator[Payload]:
    """Values for the fields that decide where the secrets go, the likeliest first."""
    model, properties = connector.secrets_model, connector.schema["properties"]
    endpoints = [name for name in model.model_fields if is_endpoint(model, name) and "enum" not in properties[name]]
    texts = [name for name in endpoints if properties[name].get("type") == "string"]
    ports = [name for name in endpoints if properties[name].get("type") == "integer"]
    yield from ({text: host, number: port} for text in texts for number in ports)
    yield from ({text: address} for address in _addresses(host, port) for text in texts)


def _addresses(host: str, port: int) -> list[str]:
    return [f"http://{host}:{port}", f"https://{host}:{port}", f"{host}:{port}"]


def _completed(connector: LoadedConnector, payload: Payload) -> Payload:
    """`payload` with a value for each field that must be there."""
    model, properties = connector.secrets_model, connector.schema["properties"]
    for _ in model.model_fields:
        refused = _refused(model, payload)
        missing = next((name for name in model.model_fields if name in refused and name not in payload), None)
        if missing is None:
            break
        values = _values(properties[missing])
        fitting = (value for value in values if missing not in _refused(model, payload | {missing: value}))
        payload = payload | {missing: next(fitting, None)}
    return payload


def _values(field: Mapping[str, Any]) -> list[Any]:
    samples = [*field.get("examples", []), *field.get("enum", [])]
    by_type: dict[str, list[Any]] = {
        "string": [*_TEXTS, *_described(field.get("description", ""))],
        "integer": [field.get("minimum", 1)],
        "number": [field.get("minimum", 1)],
        "boolean": [False],
        "array": [[]],
        "object": [{}],
    }
    return samples + by_type.get(field.get("type", ""), [])


def _described(description: str) -> Iterator[str]:
    """The hosts, addresses and paths in a description: often it shows what is accepted."""
    for word in _ADDRESS.findall(description):
        yield word.replace("*", "example")
        if word.startswith("/"):
            yield f"https://a.example.com{word}"


def _refused(model: type[Secrets], payload: Payload) -> set[str]:
    """The fields, among all that `payload` has and lacks, that something is wrong with."""
    try:
        parse_secrets(model, payload)
    except SecretsInvalid as refused:
        return {str(problem["loc"][0]) if problem["loc"] else "" for problem in refused.problems}
    return set()
