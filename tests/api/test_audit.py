"""`GET /audit`: what was done, by whom, in which request; logins that failed among it, and nothing that was sent with them."""

import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from connectory.api.app import create_app, open_service
from connectory.api.node import failed_logins, heartbeat
from connectory.api.node.failed_logins import FailedLogins
from connectory.scopes import SCOPES
from connectory.settings import SettingsInvalid, read_settings
from connectory.store.audit import ACTIONS, Actor, append
from connectory.store.audit_search import Wanted, list_entries
from connectory.store.clients import create_client
from connectory.store.errors import StoreUnavailable
from connectory.store.timestamps import utc_now
from testkit.in_process import LocalClient


@pytest.fixture
def began():
    return utc_now()


@pytest.fixture
def credentials(service):
    with service.store.write() as database:
        client, secret = create_client(database, name="reader", scopes=["connection:read"], now=utc_now())
    return client.id, secret


def trail(service, **wanted):
    with service.store.read() as database:
        return list_entries(database, Wanted(**wanted))[0]


def listed(api, **query):
    answer = api.get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_trail_is_read_newest_first_in_pages(api):
    api.create("books", secrets={"token": "tiger-lily"})
    answer = api.delete("/connection/books", headers={"X-Request-ID": "clean-up"})
    page = listed(api, connection_key="books", size=1)
    assert (page["page"], page["size"], page["pages"]) == (1, 1, page["total"])
    [deleted] = page["items"]
    [created] = listed(api, connection_key="books", size=1, page=2)["items"]
    assert deleted == {
        "at": deleted["at"],
        "actor": created["actor"],
        "action": "deleted",
        "connection_id": created["connection_id"],
        "connection_key": "books",
        "changed_fields": [],
        "kid": None,
        "result_code": "204",
        "request_id": answer.headers["x-request-id"],
        "client_request_id": "clean-up",
        "object": None,
        "details": {},
        "id": deleted["id"],
    }
    assert created["changed_fields"] == ["access", "name", "secrets"]
    assert created["id"] < deleted["id"]
    assert created["at"].endswith("+00:00")


def test_filters_are_those_of_the_members(api, service, began):
    with service.store.write() as database:
        append(
            database,
            Actor("keys add").did("key_added", object=f"kid {began}"),
            Actor("keys promote").did("key_promoted", object=f"kid {began}", at=began + timedelta(hours=1)),
        )
    recent = {"since": began.isoformat(), "object": f"kid {began}"}

    def found(**query):
        return [item["action"] for item in listed(api, **recent | query)["items"]]

    assert found() == found(action="key*") == found(action="*") == ["key_promoted", "key_added"]
    assert found(actor="keys add") == found(action="key_added") == ["key_added"]
    assert found(result_code="succeeded", until=(began + timedelta(minutes=5)).isoformat()) == ["key_added"]
    assert found(since=(began + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")) == ["key_promoted"]
    assert found(connection_key="books") == found(result_code="204") == found(action="nothing*") == []
    assert found(actor="\x00") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"action": "S3cretPw"}, "Must be one of: authorized, client_created,"),
        ({"since": "S3cretPw"}, "Must be a time with its zone, like 2026-11-23T12:30:00Z;"),
        ({"until": "2026-11-23T12:30:00"}, "Must be a time with its zone"),
        ({"until": "2026-13-23T12:30:00Z"}, "Must be a time with its zone"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "Must be a time with its zone"),
        ({"actor": ""}, "Must have at least 1 characters."),
        ({"object": "x" * 201}, "Must have at most 200 characters."),
        ({"size": "101"}, "Must be at most 100."),
        ({"page": "0"}, "Must be at least 1."),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(api, query, message):
    answer = api.get("/audit", params=query)
    [problem] = answer.json()["detail"]
    assert (answer.status_code, problem["loc"]) == (422, ["query", *query])
    assert problem["msg"].startswith(message)
    assert "S3cretPw" not in answer.text


def test_the_trail_needs_a_scope_of_its_own(anonymous, token_for):
    others = token_for(*(SCOPES.keys() - {"audit:read"}))
    assert anonymous.get("/api/v1/audit", headers={"Authorization": f"Bearer {others}"}).status_code == 403
    alone = token_for("audit:read")
    assert anonymous.get("/api/v1/audit", headers={"Authorization": f"Bearer {alone}"}).status_code == 200


def log_in(anonymous, client_id, secret, **form):
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret} | form
    return anonymous.post("/api/v1/oauth/token", data=form)


def test_a_token_that_is_issued_is_told_and_not_shown(anonymous, service, credentials):
    answer = log_in(anonymous, *credentials, scope="connection:read")
    [entry] = trail(service, actor=credentials[0])
    assert (entry.action, entry.object, entry.result_code) == ("token_issued", credentials[0], "200")
    assert entry.details == {"scopes": "connection:read", "address": "testclient"}
    assert entry.request_id == answer.headers["x-request-id"]
    assert answer.json()["access_token"] not in repr(entry)


def test_a_failed_login_is_told_with_a_client_that_is_known_and_with_nothing_else(anonymous, service, credentials):
    client_id, secret = credentials
    service.failed_logins.end()  # tells of those that other tests have left
    began = utc_now()
    answer = log_in(anonymous, client_id, "S3cretPw")
    assert answer.status_code == 401
    assert log_in(anonymous, "S3cretPw-as-the-id", secret).status_code == 401
    unknown, known = trail(service, actions=["login_failed"], since=began)
    assert (known.actor, known.result_code, known.request_id) == (client_id, "401", answer.headers["x-request-id"])
    assert (unknown.actor, unknown.object) == ("unknown", None)
    assert known.details == unknown.details == {"address": "testclient", "times": 1}
    assert "S3cret" not in repr((known, unknown))
    assert secret not in repr((known, unknown))


def logins(service, began):
    found = trail(service, actions=["login_failed"], since=began)
    return [(entry.actor, entry.details.get("address"), entry.details["times"]) for entry in reversed(found)]


def test_many_failed_logins_are_a_few_entries(service, began, monkeypatch):
    """One at once for each client and address; the rest are counted, and told when the window is over."""
    logins_of_node = FailedLogins(service.store)
    for _ in range(500):
        logins_of_node.note(Actor("client-1"), "192.0.2.1")
    for number in range(failed_logins.MOST + 30):
        logins_of_node.note(Actor("unknown"), f"198.51.100.{number}")
    told = logins(service, began)
    assert told[0] == ("client-1", "192.0.2.1", 1)
    assert len(told) == failed_logins.MOST
    logins_of_node.flush()
    assert len(logins(service, began)) == failed_logins.MOST
    clock = failed_logins.time.monotonic
    monkeypatch.setattr(failed_logins.time, "monotonic", lambda: clock() + failed_logins.WINDOW)
    logins_of_node.flush()
    assert logins(service, began)[failed_logins.MOST :] == [
        ("client-1", "192.0.2.1", 499),
        ("unknown", None, 31),
    ]
    logins_of_node.note(Actor("client-1"), "192.0.2.1")
    assert logins(service, began)[-1] == ("client-1", "192.0.2.1", 1)
    assert sum(times for _, _, times in logins(service, began)) == 500 + failed_logins.MOST + 30 + 1


def test_failed_logins_are_not_lost_while_the_store_does_not_answer(service, began, monkeypatch):
    logins_of_node = FailedLogins(service.store)

    def refuse(*_):
        raise StoreUnavailable("gone")

    with monkeypatch.context() as broken:
        broken.setattr(failed_logins, "append", refuse)
        for _ in range(3):
            logins_of_node.note(Actor("client-1"), "192.0.2.1")
        logins_of_node.end()
    assert logins(service, began) == []
    logins_of_node.end()
    assert logins(service, began) == [("client-1", "192.0.2.1", 3)]


def test_the_start_of_the_service_is_told_with_what_is_set(service, settings):
    entry = trail(service, actions=["service_started"])[-1]
    assert (entry.actor, entry.result_code) == ("serve", "succeeded")
    assert entry.details["CONNECTORY_PROBE_DEADLINE"] == "5.0"
    assert entry.details["CONNECTORY_DATABASE_URL"] == settings.store_shown
    others = {name for name in os.environ if name.startswith("CONNECTORY_")}  # that other tests of this process set
    assert entry.details.keys() - others == {
        "node",
        *(f"CONNECTORY_{name}" for name in ("HOME", "DATABASE_URL", "KEYS_FILE", "PROBE_DEADLINE")),
        "CONNECTORY_EGRESS_ALLOW_LOOPBACK",
        "CONNECTORY_ALLOWED_HOSTS",
    }


def test_the_document_names_every_action(anonymous):
    parameters = anonymous.app.openapi()["paths"]["/api/v1/audit"]["get"]["parameters"]
    [action] = [parameter for parameter in parameters if parameter["name"] == "action"]
    for name in (*ACTIONS, "key*", "*"):
        assert re.fullmatch(action["schema"]["pattern"], name)


def test_the_deployers_page_names_every_action():
    page = (Path(__file__).resolve().parents[2] / "docs/deployers.md").read_text()
    section = page.partition("## The audit trail")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == list(ACTIONS)


def test_the_heartbeat_deletes_what_is_older_than_is_kept(service, settings, catalog, monkeypatch):
    """And goes on with its other work where one part of it fails."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT", 0.01)
    with service.store.write() as database:
        append(
            database, *(Actor("ancient").did("tested", at=utc_now() - timedelta(days=days)) for days in (40, 50, 20))
        )

    def refuse() -> None:
        raise StoreUnavailable("gone")

    running = open_service(settings.model_copy(update={"audit_retention": 31}), catalog)
    monkeypatch.setattr(running.failed_logins, "flush", refuse)
    with LocalClient(create_app(running)):
        deadline = time.monotonic() + 20
        while len(trail(service, actor="ancient")) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    [left] = trail(service, actor="ancient")
    assert utc_now() - left.at < timedelta(days=21)


def test_entries_of_less_than_a_month_are_kept_by_every_retention():
    assert read_settings().audit_retention == 365
    assert read_settings(audit_retention=0).audit_retention == 0
    for days in (1, 30, -1):
        with pytest.raises(SettingsInvalid, match="CONNECTORY_AUDIT_RETENTION"):
            read_settings(audit_retention=days)
