"""`/connection/{key}/test`."""

import threading
import time
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy import update

from connectory.api.app import create_app, open_service
from connectory.checks.runner import QueueFull
from connectory.store.tables import connections
from testkit import hostile
from testkit.in_process import LocalClient


def secrets_for(server, database="postgres", **changed):
    known = {"host": server.host, "port": server.port, "dbname": database, "username": server.superuser}
    return known | {"password": server.password} | changed


def test_the_whole_path_against_a_real_postgresql(api, postgres):
    api.create("app_postgres_db", "postgres")
    stored = api.put("/connection/app_postgres_db/secret", json=secrets_for(postgres)).json()
    assert stored["msg"] == "Secrets updated for ConnectionConfig with key: app_postgres_db."
    answer = api.get("/connection/app_postgres_db/test")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["msg"] == "Test completed for ConnectionConfig with key: app_postgres_db."
    assert (body["test_status"], body["failure_reason"], body["failure_code"]) == ("succeeded", None, None)
    assert all(set(step) == {"name", "status", "elapsed_ms", "reason"} for step in body["steps"])
    assert [(step["status"], step["reason"]) for step in body["steps"] if step["name"] == "tls"] == [
        ("skipped", "not_offered")
    ]
    assert (body["encrypted"], body["verified"]) == (False, False)
    assert body["steps"][-1]["name"] == "query"
    shown = api.get("/connection/app_postgres_db").json()
    assert shown["last_test_succeeded"] is True
    assert shown["last_test_timestamp"] is not None
    assert shown["last_test"].pop("elapsed_ms") > 0
    assert shown["last_test"] == {
        "at": shown["last_test_timestamp"],
        "test_status": "succeeded",
        "failure_code": None,
        "failure_reason": None,
        "failure_fields": [],
        "retry_after": None,
        "encrypted": False,
        "verified": False,
        "steps": body["steps"],
    }
    wrong = api.put("/connection/app_postgres_db/secret", json=secrets_for(postgres, password="wrong")).json()
    last = api.get("/connection/app_postgres_db").json()["last_test"]
    assert last.pop("at") > shown["last_test_timestamp"]
    assert last.pop("elapsed_ms") > 0
    assert last == {
        "test_status": "failed",
        "failure_code": "auth_failed",
        "failure_reason": wrong["failure_reason"],
        "failure_fields": ["username", "password"],
        "retry_after": None,
        "encrypted": False,
        "verified": False,
        "steps": wrong["steps"],
    }


def test_a_connection_through_tls_is_told_and_kept_as_such(api, postgres_tls, postgres, certificates):
    api.create("db", "postgres")
    there = secrets_for(postgres) | {"host": "localhost", "port": postgres_tls.port, "ssl_ca": certificates.ca_pem}
    for mode, verified in (("required", False), ("verify-full", True)):
        told = api.put("/connection/db/secret", json=there | {"ssl_mode": mode}).json()
        assert (told["test_status"], told["encrypted"], told["verified"]) == ("succeeded", True, verified)
        last = api.get("/connection/db").json()["last_test"]
        assert (last["encrypted"], last["verified"], last["steps"]) == (True, verified, told["steps"])


def test_without_a_connection_nothing_is_said_of_its_encryption(api):
    api.create("db", "postgres")
    for answer in (
        api.get("/connection/db/test").json(),
        api.put("/connection/db/secret?verify=false", json={"host": "h"}).json(),
    ):
        assert (answer["encrypted"], answer["verified"]) == (None, None)


def test_a_password_in_clear_needs_a_verified_certificate(api, certificates):
    api.create("db", "postgres")
    with hostile.postgres_reflects_the_password(certificates.untrusted) as server:
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "tiger-lily"}
        body = api.put("/connection/db/secret", json=secrets).json()
        assert b"tiger-lily" not in server.received
    assert (body["failure_code"], body["encrypted"], body["verified"]) == ("insecure_auth_refused", True, False)
    assert "CONNECTORY_ALLOW_CLEARTEXT_IN_UNVERIFIED_TLS" in body["failure_reason"]


def test_the_deployer_may_allow_it(api, settings, catalog, token, certificates):
    lenient = settings.model_copy(update={"allow_cleartext_in_unverified_tls": True})
    with (
        hostile.postgres_reflects_the_password(certificates.untrusted) as server,
        LocalClient(create_app(open_service(lenient, catalog))) as client,
    ):
        there = type(api)(client, token)
        there.create("db", "postgres")
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "tiger-lily"}
        body = there.put("/connection/db/secret", json=secrets).json()
        assert b"tiger-lily" in server.received
    assert (body["failure_code"], body["encrypted"], body["verified"]) == ("auth_failed", True, False)


def test_a_wait_that_the_far_end_asks_for_is_told_and_kept(api):
    api.create("books")
    told = api.put("/connection/books/secret", json={"token": "limited"}).json()
    assert (told["failure_code"], told["retry_after"]) == ("rate_limited", 90)
    assert told["failure_reason"] == "The service refuses further requests for now; try again in 90 seconds."
    last = api.get("/connection/books").json()["last_test"]
    assert (last["failure_code"], last["retry_after"]) == ("rate_limited", 90)


def test_a_last_test_of_an_older_version_is_shown(api, service):
    api.create("books")
    api.put("/connection/books/secret", json={"token": "right"})
    report = (
        '{"status": "failed", "code": "rate_limited", '
        '"steps": [{"name": "tls", "status": "passed", "elapsed_ms": 1.5}]}'
    )
    with service.store.write() as database:
        database.execute(update(connections).values(last_test_report=report))
    shown = api.get("/connection/books").json()
    assert shown["last_test"] == {
        "at": shown["last_test_timestamp"],
        "test_status": "failed",
        "failure_code": "rate_limited",
        "failure_reason": "The service refuses further requests for now; try again later.",
        "failure_fields": [],
        "retry_after": None,
        "encrypted": None,
        "verified": None,
        "steps": [{"name": "tls", "status": "passed", "elapsed_ms": 1.5, "reason": None}],
        "elapsed_ms": None,
    }


def test_post_does_the_same_as_get(api):
    api.create("books", secrets={"token": "tiger-lily"})
    answer = api("POST", "/connection/books/test")
    assert answer.json()["test_status"] == "succeeded"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("changed", "code", "fields"),
    [
        ({"password": "wrong"}, "auth_failed", ["username", "password"]),
        ({"dbname": "no_such_database"}, "database_not_found", ["dbname"]),
        ({"db_schema": "no_such_schema"}, "schema_not_found", ["db_schema"]),
        ({"ssl_mode": "required"}, "tls_failed", ["ssl_mode"]),
        ({"host": "no-such-host.invalid"}, "dns_failed", ["host", "port"]),
    ],
)
def test_a_wrong_postgresql_connection_is_told_by_its_code(api, postgres, changed, code, fields):
    """And by the sentence of the code, and by the fields that it is about."""
    api.create("db", "postgres")
    body = api.put("/connection/db/secret", json=secrets_for(postgres, **changed)).json()
    assert (body["test_status"], body["failure_code"], body["failure_fields"]) == ("failed", code, fields)
    assert body["failure_reason"].endswith(".")
    assert body["steps"][-1]["status"] == "failed"
    assert api.get("/connection?test_status=failed").json()["total"] == 1


def test_a_password_of_every_printable_character_works_in_parts_and_in_a_url(api, postgres):
    password = "".join(map(chr, range(33, 127))) + " é日"
    role = f"r{uuid4().hex[:8]}"
    postgres.create_role(role, password)
    api.create("db", "postgres")
    parts = secrets_for(postgres, username=role, password=password)
    assert api.put("/connection/db/secret", json=parts).json()["test_status"] == "succeeded"
    url = f"postgresql://{role}:{quote(password, safe='')}@{postgres.host}:{postgres.port}/postgres"
    assert api.put("/connection/db/secret", json={"url": url}).json()["test_status"] == "succeeded"


def test_where_a_url_was_given_the_url_is_the_field_that_failed(api, postgres):
    api.create("db", "postgres")
    url = f"postgresql://{postgres.superuser}:wrong@{postgres.host}:{postgres.port}/postgres"
    body = api.put("/connection/db/secret", json={"url": url}).json()
    assert (body["failure_code"], body["failure_fields"]) == ("auth_failed", ["url"])
    assert api.get("/connection/db").json()["last_test"]["failure_fields"] == ["url"]


def test_without_secrets_the_test_fails_with_what_to_do(api):
    api.create("books")
    body = api.get("/connection/books/test").json()
    assert (body["test_status"], body["failure_code"]) == ("failed", "secrets_missing")
    assert "PUT /connection/books/secret" in body["failure_reason"]


def test_manual_is_skipped_and_nothing_is_recorded(api):
    api.create("hands", "manual")
    body = api.get("/connection/hands/test").json()
    assert (body["test_status"], body["failure_reason"], body["failure_code"]) == ("skipped", None, None)
    shown = api.get("/connection/hands").json()
    assert (shown["last_test_timestamp"], shown["last_test_succeeded"]) == (None, None)


@pytest.mark.parametrize(("text", "code"), [("crash", "crashed"), ("raise-S3cretPw", "internal_driver_error")])
def test_whatever_a_plugin_does_is_a_failed_test(api, text, code):
    api.create("books")
    answer = api.put("/connection/books/secret", json={"token": text})
    assert answer.status_code == 200
    assert answer.json()["failure_code"] == code
    assert "S3cretPw" not in answer.text


def test_a_silent_server_is_given_up_at_the_deadline(api, service):
    with hostile.silent() as server:
        api.create("db", "postgres")
        started = time.monotonic()
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "tiger-lily"}
        body = api.put("/connection/db/secret", json=secrets).json()
        assert time.monotonic() - started < service.settings.probe_deadline + 2
        assert (body["test_status"], body["failure_code"]) == ("failed", "timeout")
        assert b"tiger-lily" not in server.received


def test_a_verdict_on_old_secrets_is_not_recorded_on_new_ones(api):
    """The secrets are replaced while the server still keeps the test waiting."""
    api.create("db", "postgres")
    with hostile.silent() as server:
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "tiger-lily"}
        api.put("/connection/db/secret?verify=false", json=secrets)
        answers = []
        test = threading.Thread(target=lambda: answers.append(api.get("/connection/db/test")))
        test.start()
        while server.connections == 0:
            time.sleep(0.01)
        api.put("/connection/db/secret?verify=false", json=secrets | {"password": "tiger-lily-2"})
        test.join()
    assert answers[0].json()["failure_code"] == "timeout"
    shown = api.get("/connection/db").json()
    assert (shown["last_test_timestamp"], shown["last_test_succeeded"]) == (None, None)


def test_two_callers_join_one_test(api):
    api.create("db", "postgres")
    with hostile.silent() as server:
        secrets = {"host": server.host, "port": server.port, "username": "u", "password": "p"}
        api.put("/connection/db/secret?verify=false", json=secrets)
        tests = [threading.Thread(target=api.get, args=("/connection/db/test",)) for _ in range(3)]
        for test in tests:
            test.start()
        for test in tests:
            test.join()
        assert server.connections == 1


def test_a_full_queue_is_a_429_that_says_when_to_come_back(api, service, monkeypatch):
    async def full(*_):
        raise QueueFull(7)

    monkeypatch.setattr(service.runner, "run", full)
    api.create("books", secrets={"token": "tiger-lily"})
    answer = api.get("/connection/books/test")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert api.get("/connection/books").json()["last_test_timestamp"] is None


def test_a_test_takes_no_host_of_the_callers(api, postgres):
    api.create("db", "postgres", secrets=secrets_for(postgres))
    with hostile.silent() as canary:
        query = f"?host={canary.host}&port={canary.port}"
        body = {"host": canary.host, "port": canary.port}
        assert api("POST", f"/connection/db/test{query}", json=body).json()["test_status"] == "succeeded"
        assert canary.connections == 0


def test_an_unknown_connection_is_a_404(api):
    assert api.get("/connection/nobody/test").json() == {
        "detail": "No connection configuration found with key 'nobody'."
    }
