"""Each way to authorize a request, on its own: a definition that uses it, and a server that looks at what arrives."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import LoadedConnector, Workbench
from servers.saas.web import Answer, Asked, WebServer, as_json

Define = Callable[..., LoadedConnector]

SECRETS = {"user": "someone", "key": "right-4711", "other": "right-0815"}

LEDGER = """
identifier: ledger
name: Ledger
secrets:
  user: {{title: User}}
  key: {{title: Key, sensitive: true}}
  other: {{title: Other, sensitive: true}}
auth: {auth}
test:
  - url: https://api.ledger.example/books/<user>
    query: {{kept: "yes"}}
    expect: {{type: object}}
"""

STRATEGIES: dict[str, tuple[str, Callable[[Asked], bool]]] = {
    "bearer": (
        "{strategy: bearer, token: <key>}",
        lambda asked: asked.headers.get("authorization") == "Bearer right-4711",
    ),
    "basic": (
        "{strategy: basic, username: <user>, password: <key>}",
        lambda asked: asked.basic == ("someone", "right-4711"),
    ),
    "basic with a constant": (
        "{strategy: basic, username: <user>/token, password: <key>}",
        lambda asked: asked.basic == ("someone/token", "right-4711"),
    ),
    "API key in a header": (
        "{strategy: header, name: X-Api-Key, value: Key <key>}",
        lambda asked: asked.headers.get("x-api-key") == "Key right-4711" and "authorization" not in asked.headers,
    ),
    "API key in the query": (
        "{strategy: query, name: api_key, value: <key>}",
        lambda asked: asked.query.get("api_key") == ["right-4711"],
    ),
    "several headers": (
        "{strategy: headers, headers: {X-Key: <key>, X-Other: <other>}}",
        lambda asked: (asked.headers.get("x-key"), asked.headers.get("x-other")) == ("right-4711", "right-0815"),
    ),
}


@pytest.fixture
def ledger() -> Iterator[WebServer]:
    """A service that takes what `accepted` accepts."""

    def answer(asked: Asked) -> Answer:
        if asked.path != "/books/someone" or asked.query.get("kept") != ["yes"]:
            return as_json(404, {})
        return as_json(200 if server.accepted(asked) else 401, {})  # type: ignore[attr-defined]

    with WebServer(answer) as server:
        yield server


def at(server: WebServer) -> dict[str, str]:
    return {"CONNECTORY_SAAS_ENDPOINTS": json.dumps({"api.ledger.example": server.url})}


@pytest.mark.parametrize(("auth", "accepted"), STRATEGIES.values(), ids=STRATEGIES)
def test_a_strategy_sends_what_it_says(
    define: Define, workbench: Workbench, ledger: Any, auth: str, accepted: Callable[[Asked], bool]
) -> None:
    ledger.accepted = accepted
    connector = define(LEDGER.format(auth=auth), **at(ledger))
    assert workbench.test_loaded(connector, SECRETS).report.status == "succeeded"
    report = workbench.test_loaded(connector, SECRETS | {"key": "wrong-4711"}).report
    assert report.code == FailureCode.AUTH_FAILED
    assert "wrong-4711" not in repr(report)


@pytest.mark.parametrize("key", ["a b:c", "ö", "a\r\nX-Injected: 1", "a\0b", " a", "a\x7f"])
def test_a_key_that_could_not_be_sent_as_it_is_is_refused(
    define: Define, workbench: Workbench, ledger: Any, key: str
) -> None:
    """Before anything is connected to."""
    connector = define(LEDGER.format(auth="{strategy: header, name: X-Api-Key, value: <key>}"), **at(ledger))
    with pytest.raises(ValueError, match="key: Must be printable ASCII characters without spaces"):
        workbench.test_loaded(connector, SECRETS | {"key": key})
    assert ledger.connections == 0


TOKENS = """
  strategy: client_credentials
  token_url: https://login.ledger.example/token
  client_id: <user>
  client_secret: <key>
  client_auth: {client_auth}
  scope: books:read books:list
  parameters: {{audience: books}}
"""


@pytest.mark.parametrize("client_auth", ["client_secret_post", "client_secret_basic"])
def test_client_credentials_are_exchanged_for_a_token(define: Define, workbench: Workbench, client_auth: str) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path != "/token":
            return as_json(200 if asked.bearer == "token-1" else 401, {})
        form = asked.form
        identity = asked.basic or (form.get("client_id"), form.get("client_secret"))
        rest = {name: text for name, text in form.items() if not name.startswith("client_")}
        assert rest == {"grant_type": "client_credentials", "scope": "books:read books:list", "audience": "books"}
        assert (asked.basic is not None) == (client_auth == "client_secret_basic")
        if identity != ("someone", "right-4711"):
            return as_json(401, {"error": "invalid_client"})
        return as_json(200, {"access_token": "token-1", "token_type": "Bearer", "expires_in": 1800})

    with WebServer(answer) as server:
        hosts = ("api.ledger.example", "login.ledger.example")
        settings = {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(dict.fromkeys(hosts, server.url))}
        connector = define(LEDGER.format(auth=TOKENS.format(client_auth=client_auth)), **settings)
        report = workbench.test_loaded(connector, SECRETS).report
        assert report.status == "succeeded"
        assert report.tokens is not None
        assert report.tokens["access_token"] == "token-1"
        assert workbench.test_loaded(connector, SECRETS | {"key": "wrong-4711"}).report.code == FailureCode.AUTH_FAILED


def test_basic_credentials_are_utf8_free_of_surprises() -> None:
    from connectory_saas.auth import basic
    from connectory_saas.definition import Basic

    sent = basic(Basic(strategy="basic", username="<user>", password="<key>"), {"user": "a", "key": "b:c"}).headers
    assert base64.b64decode(sent["Authorization"].removeprefix("Basic ")) == b"a:b:c"
