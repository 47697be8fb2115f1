"""How a request is authorized: one function for each strategy that needs nothing but the secrets."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectory_saas.definition import ApiKeyHeader, ApiKeyQuery, Basic, Bearer, Headers
from connectory_saas.templates import fill

Values = Mapping[str, str]
"""The secrets of a connection in plain text, by name."""


@dataclass(frozen=True)
class Credentials:
    """What authorizes a request: headers and members of the query to add to it."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


def bearer(auth: Bearer, values: Values) -> Credentials:
    """A token that its owner made by hand."""
    return bearer_token(fill(auth.token, values))


def bearer_token(token: str) -> Credentials:
    """`Authorization: Bearer <token>`."""
    return Credentials(headers={"Authorization": f"Bearer {token}"})


def basic(auth: Basic, values: Values) -> Credentials:
    """User name and password."""
    pair = f"{fill(auth.username, values)}:{fill(auth.password, values)}"
    return Credentials(headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})


def api_key_header(auth: ApiKeyHeader, values: Values) -> Credentials:
    """An API key in a header."""
    return Credentials(headers={auth.name: fill(auth.value, values)})


def api_key_query(auth: ApiKeyQuery, values: Values) -> Credentials:
    """An API key in the query."""
    return Credentials(query={auth.name: fill(auth.value, values)})


def several_headers(auth: Headers, values: Values) -> Credentials:
    """Several keys, each in a header."""
    return Credentials(headers={name: fill(text, values) for name, text in auth.headers.items()})


FROM_SECRETS: dict[str, Callable[[Any, Values], Credentials]] = {
    "bearer": bearer,
    "basic": basic,
    "header": api_key_header,
    "query": api_key_query,
    "headers": several_headers,
}
"""The function of each strategy, by the name that definitions give it."""
