"""Signing in to the console: a one-time code is exchanged for a token, and anyone may ask what the one he has is good for."""

import dataclasses
import json
import re

import pytest

from connectory import console_link
from connectory.api import serving
from connectory.api.node.limits import TokenBuckets
from connectory.console_link import make_link
from connectory.store import console_codes
from connectory.store.audit import Actor
from connectory.store.audit_search import Wanted, list_entries
from connectory.store.clients import create_client, delete_client
from connectory.store.timestamps import utc_now

GRANT = "urn:connectory:grant-type:console-code"
SPENT = "The code is not known, used or expired; run `connectory console` again for a new one."


@pytest.fixture
def client(service):
    with service.store.write() as database:
        return create_client(database, name="root", scopes=["connection:read", "dataset:read"], now=utc_now())[0]


@pytest.fixture
def code(service, client):
    link = make_link(
        service.store, Actor("console"), client_id=client.id, scopes=client.scopes, origin="http://127.0.0.1"
    )
    return re.fullmatch(r"http://127\.0\.0\.1/console/#code=([A-Za-z0-9_-]{43})", link.url)[1]


@pytest.fixture
def few_failures(service):
    before = service.login_limit
    object.__setattr__(service, "login_limit", TokenBuckets(rate=0.1, burst=3))
    yield
    object.__setattr__(service, "login_limit", before)


def exchange(anonymous, **form):
    return anonymous.post("/api/v1/oauth/token", data={"grant_type": GRANT} | form)


def introspect(anonymous, **form):
    return anonymous.post("/api/v1/oauth/introspect", data=form)


def test_a_code_is_exchanged_once_for_a_token_of_its_client(anonymous, service, client, code):
    answer = exchange(anonymous, code=code)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    token = answer.json().pop("access_token")
    assert answer.json() == {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": 43200,
        "scope": "connection:read dataset:read",
        "client_id": client.id,
        "client_name": "root",
    }
    headers = {"Authorization": f"Bearer {token}"}
    assert anonymous.get("/api/v1/connection", headers=headers).status_code == 200
    again = exchange(anonymous, code=code)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant", "error_description": SPENT})
    with service.store.read() as database:
        told = {
            entry.action: (entry.actor, entry.result_code, entry.details)
            for entry in list_entries(database, Wanted(object=client.id))[0]
        }
    scopes = {"scopes": "connection:read dataset:read"}
    assert told == {
        "console_code_issued": ("console", "succeeded", scopes),
        "console_code_exchanged": (client.id, "200", scopes | {"address": "testclient"}),
    }
    assert code not in repr(told)


def test_a_code_that_expired_or_that_nobody_was_given_is_refused(anonymous, service, client, code, monkeypatch):
    later = utc_now() + console_codes.LIFETIME
    monkeypatch.setattr("connectory.api.access.console_codes.utc_now", lambda: later)
    for given in (code, "S3cret-marker", "\x00"):
        answer = exchange(anonymous, code=given)
        assert (answer.status_code, answer.json()["error_description"]) == (400, SPENT)
        assert "marker" not in answer.text
    missing = exchange(anonymous, code="")
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")


def test_guessing_codes_is_limited_and_locks_nobody_out(anonymous, code, few_failures):
    statuses = [exchange(anonymous, code=f"guess-{number}").status_code for number in range(5)]
    assert statuses == [400, 400, 400, 429, 429]
    answer = introspect(anonymous, token="guess")  # from the same bucket
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert introspect(anonymous, token=code).json()["active"] is True
    assert exchange(anonymous, code=code).status_code == 200


def test_what_is_held_can_be_asked_after_and_nothing_is_used_up(anonymous, client, code):
    asked = [introspect(anonymous, token=code, token_type_hint="access_token") for _ in range(2)]
    assert [answer.status_code for answer in asked] == [200, 200]
    assert asked[0].headers["cache-control"] == "no-store"
    shown = asked[1].json()
    assert shown["exp"] - shown["iat"] == 600
    del shown["exp"], shown["iat"]
    named = {"client_id": client.id, "client_name": "root", "scope": "connection:read dataset:read"}
    assert shown == {"active": True, "token_type": "console_code"} | named
    token = exchange(anonymous, code=code).json()["access_token"]
    shown = introspect(anonymous, token=token).json()
    assert shown.pop("exp") - shown.pop("iat") == 43200
    assert shown == {"active": True, "token_type": "bearer"} | named
    assert introspect(anonymous, token=code).json() == {"active": False}
    assert introspect(anonymous).json()["error"] == "invalid_request"


def test_nothing_is_known_of_the_tokens_and_codes_of_a_client_that_is_gone(anonymous, service, client, code):
    token = exchange(anonymous, code=code).json()["access_token"]
    with service.store.write() as database:
        code, _ = console_codes.issue_code(database, client.id, scopes=client.scopes, now=utc_now())
        delete_client(database, client.id)
    assert [introspect(anonymous, token=held).json() for held in (token, code)] == [{"active": False}] * 2
    assert exchange(anonymous, code=code).status_code == 400


@pytest.fixture
def as_root(service, client, tmp_path):
    """The service as one that finds `client` as the root client in its home folder."""
    (tmp_path / "root_client.json").write_text(json.dumps({"client_id": client.id}))
    return dataclasses.replace(service, settings=service.settings.model_copy(update={"home": tmp_path}))


@pytest.mark.parametrize(
    ("terminal", "console", "root"), [(True, True, True), (False, True, True), (True, False, True), (True, True, False)]
)
def test_the_ready_line_has_a_link_at_a_terminal_with_a_console_and_a_root_client_only(
    anonymous, as_root, client, monkeypatch, terminal, console, root
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(console_link, "entry_points", lambda group: [group] if console else [])
    if not root:
        as_root.settings.root_client_path.unlink()
    link = serving.console_link(as_root, "0.0.0.0", 8123)
    if not (terminal and console and root):
        assert link is None
        return
    origin, _, code = link.partition("/console/#code=")
    assert origin == "http://127.0.0.1:8123"
    assert exchange(anonymous, code=code).json()["client_id"] == client.id
