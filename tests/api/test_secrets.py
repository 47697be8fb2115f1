"""`PUT` and `PATCH /connection/{key}/secret`."""

import pytest
from sqlalchemy import update

from connectory.store.connections import get_by_key
from connectory.store.envelopes import Sealed, load_envelopes
from connectory.store.tables import connection_secrets
from testkit.certificates import SOME_CERTIFICATE

PARTS = {"host": "db.example", "port": 5433, "dbname": "app", "username": "reader", "password": "tiger-lily"}
UNTESTED = {
    "test_status": None,
    "failure_reason": None,
    "failure_code": None,
    "failure_fields": [],
    "encrypted": None,
    "verified": None,
    "retry_after": None,
    "steps": [],
}


@pytest.fixture
def postgres_connection(api):
    """A PostgreSQL connection with secrets, never tested."""
    api.create("db", "postgres")
    assert api.put("/connection/db/secret?verify=false", json=PARTS).status_code == 200
    return api


def secrets_of(api, key="db"):
    return api.get(f"/connection/{key}").json()["secrets"]


def test_verify_false_stores_without_a_test(api):
    api.create("db", "postgres")
    answer = api.put("/connection/db/secret?verify=false", json=PARTS)
    assert answer.status_code == 200
    assert answer.json() == {"msg": "Secrets updated for ConnectionConfig with key: db."} | UNTESTED
    assert secrets_of(api) == PARTS | {"password": "**********"}


def test_verify_is_the_default_and_a_failed_test_still_stores(api):
    api.create("books")
    answer = api.put("/connection/books/secret", json={"token": "wrong-one"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["msg"] == "Secrets updated for ConnectionConfig with key: books."
    assert (body["test_status"], body["failure_code"]) == ("failed", "auth_failed")
    assert secrets_of(api, "books") == {"token": "**********"}
    assert api.get("/connection/books").json()["last_test_succeeded"] is False


def test_put_replaces_what_was_stored(postgres_connection):
    api = postgres_connection
    api.put("/connection/db/secret?verify=false", json={"host": "other.example", "password": "p", "username": "u"})
    assert secrets_of(api) == {"host": "other.example", "username": "u", "password": "**********"}


def test_a_url_is_stored_as_a_url_and_shown_without_its_password(api):
    api.create("db", "postgres")
    url = "postgresql://reader:tiger-lily@db.example:5433/app"
    assert api.put("/connection/db/secret?verify=false", json={"url": url}).status_code == 200
    assert secrets_of(api) == {"url": "postgresql://reader:**********@db.example:5433/app"}
    again = api.put("/connection/db/secret?verify=false", json=secrets_of(api))
    assert again.status_code == 200
    moved = api.put(
        "/connection/db/secret?verify=false", json={"url": "postgresql://reader:**********@evil.example/app"}
    )
    assert moved.status_code == 422


def test_new_secrets_forget_the_verdict_on_the_old_ones(api):
    api.create("books")
    api.put("/connection/books/secret", json={"token": "tiger-lily"})
    assert api.get("/connection/books").json()["last_test_succeeded"] is True
    api.put("/connection/books/secret?verify=false", json={"token": "tiger-lily-2"})
    shown = api.get("/connection/books").json()
    assert (shown["last_test_succeeded"], shown["last_test_timestamp"]) == (None, None)


def test_the_mask_means_unchanged(postgres_connection):
    api = postgres_connection
    shown = secrets_of(api)
    assert api.put("/connection/db/secret?verify=false", json=shown).status_code == 200
    assert api.put("/connection/db/secret?verify=false", json=shown | {"dbname": "app2"}).status_code == 200
    assert secrets_of(api) == shown | {"dbname": "app2"}


def test_a_mask_without_a_stored_value_is_a_422(api):
    api.create("books")
    answer = api.put("/connection/books/secret", json={"token": "**********"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["token"]


def test_patch_merges_and_null_removes(postgres_connection):
    api = postgres_connection
    assert api.patch("/connection/db/secret?verify=false", json={"dbname": None, "db_schema": "s"}).status_code == 200
    expected = {name: value for name, value in PARTS.items() if name != "dbname"}
    assert secrets_of(api) == expected | {"password": "**********", "db_schema": "s"}


def test_patch_without_stored_secrets_is_like_put(api):
    api.create("books")
    assert api.patch("/connection/books/secret?verify=false", json={}).status_code == 422
    assert api.patch("/connection/books/secret?verify=false", json={"token": "t-1"}).status_code == 200


@pytest.mark.parametrize("change", [{"host": "evil.example"}, {"port": 6666}, {"ssl_mode": "disable"}])
def test_stored_secrets_do_not_follow_to_another_endpoint(postgres_connection, change):
    api = postgres_connection
    before = secrets_of(api)
    answer = api.patch("/connection/db/secret", json=change)
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["password"]]
    assert secrets_of(api) == before
    assert api.put("/connection/db/secret", json=before | change).status_code == 422
    assert api.patch("/connection", json=[{"key": "db", "secrets": before | change}]).status_code == 422
    assert api.patch("/connection/db/secret?verify=false", json=change | {"password": "again"}).status_code == 200


def test_the_connection_is_looked_for_before_the_body(api):
    for body in (b"{}", b"nonsense", b"[1]"):
        assert api.raw("PUT", "/connection/nobody/secret", body).status_code == 404
        assert api.raw("PATCH", "/connection/nobody/secret", body).status_code == 404


def test_problems_are_relative_to_the_secrets(api):
    api.create("db", "postgres")
    answer = api.put("/connection/db/secret", json=PARTS | {"port": 70000, "ssl_mode": "sometimes"})
    assert answer.status_code == 422
    problems = answer.json()["detail"]
    assert sorted(problem["loc"][0] for problem in problems) == ["port", "ssl_mode"]
    assert all(set(problem) == {"loc", "msg", "type"} for problem in problems)


def test_url_and_parts_together_or_neither_is_told_at_a_field_in_the_words_of_the_form(api):
    """No schema is named: whoever fills in the form has never heard of one."""
    api.create("db", "postgres")
    [problem] = api.put("/connection/db/secret", json={}).json()["detail"]
    assert (problem["loc"], problem["msg"]) == (["host"], "Must be supplied a 'url' or all of: [host].")
    both = api.put("/connection/db/secret", json={"url": "postgresql://u:p@h/d", "host": "h"})
    [problem] = both.json()["detail"]
    assert (problem["loc"], problem["msg"]) == (["url"], "Must be supplied a 'url' or the parts, not both: host")


def test_a_misspelt_field_is_told_at_the_one_that_was_meant(api):
    api.create("db", "postgres")
    for sent, meant in (
        ({"hostname": "db.example"}, "host"),
        ({"host": "db.example", "passwrd": "tiger-lily"}, "password"),
    ):
        problems = api.put("/connection/db/secret", json=sent).json()["detail"]
        assert {tuple(problem["loc"]) for problem in problems} == {(meant,)}
        assert any(f"Did you mean '{meant}'?" in problem["msg"] for problem in problems)


@pytest.mark.parametrize("body", [b"[]", b'"tiger-lily"', b"null", b"7"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_problem_with_the_whole_is_told_at_the_body(api, method, body):
    api.create("db", "postgres")
    [problem] = api.raw(method, "/connection/db/secret", body).json()["detail"]
    assert problem == {"loc": ["body"], "msg": "The secrets must be a JSON object.", "type": "dict_type"}


def test_the_parts_become_a_url_and_the_url_parts_in_one_call_each(postgres_connection):
    api = postgres_connection
    url = "postgresql://writer:lily-tiger@other.example/d"
    assert api.patch("/connection/db/secret?verify=false", json={"url": url}).status_code == 200
    assert secrets_of(api) == {"url": url.replace("lily-tiger", "*" * 10)}
    parts = PARTS | {"password": "new"}
    assert api.patch("/connection/db/secret?verify=false", json=parts).status_code == 200
    assert secrets_of(api) == PARTS | {"password": "*" * 10}


def test_a_change_to_a_url_or_back_does_not_carry_the_password_along(postgres_connection):
    api = postgres_connection
    without = {"url": "postgresql://reader@evil.example/app"}
    assert [problem["loc"] for problem in api.patch("/connection/db/secret", json=without).json()["detail"]] == [
        ["password"]
    ]
    assert secrets_of(api)["host"] == PARTS["host"]
    assert api.patch("/connection/db/secret?verify=false", json=without | {"password": None}).status_code == 200
    assert secrets_of(api) == without


def test_a_certificate_that_cannot_be_read_is_refused_when_it_is_stored(api):
    api.create("db", "postgres")
    certificate = SOME_CERTIFICATE.replace("MIIB", "MIIC")
    answer = api.put("/connection/db/secret", json=PARTS | {"ssl_ca": certificate})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["ssl_ca"])
    assert certificate.splitlines()[1] not in answer.text
    stored = api.put("/connection/db/secret?verify=false", json=PARTS | {"ssl_ca": SOME_CERTIFICATE})
    assert stored.status_code == 200


def test_manual_takes_no_secrets_but_the_empty_object(api):
    api.create("hands", "manual")
    answer = api.put("/connection/hands/secret", json={})
    assert answer.status_code == 200
    assert answer.json()["test_status"] == "skipped"
    assert api.put("/connection/hands/secret", json={"a": "b"}).status_code == 422


def test_nothing_but_the_known_fields_reaches_a_driver(api):
    api.create("db", "postgres")
    for hostile in (
        {"host": "/var/run/postgresql", "dbname": "d"},
        {"host": "@x"},
        {"host": "127.0.0.1/d?host=/var/run/postgresql&passfile=/etc/passwd&x="},
        {"host": "h", "hostaddr": "127.0.0.1"},
        {"url": "postgresql://u:p@h/d?hostaddr=127.0.0.1"},
        {"url": "postgresql:///?service=internal"},
        {"host": "h", "sslkeylogfile": "/srv/app/main.py"},
        {"host": "h", "options": "-c search_path=evil"},
        {"host": "h", "ssl_mode": "prefer\u0000"},
        {"host": "h", "ssl_mode": "disable&host=127.0.0.1"},
    ):
        answer = api.put("/connection/db/secret", json={"username": "u", "password": "p"} | hostile)
        assert answer.status_code == 422, hostile
        assert "/var" not in answer.text
    assert api.get("/connection/db").json()["secrets_state"] == "absent"


def test_an_envelope_moved_to_another_row_does_not_open(api, service):
    api.create("a", secrets={"token": "tiger-lily"})
    api.create("b", secrets={"token": "other"})
    with service.store.write() as database:
        a, b = get_by_key(database, "a"), get_by_key(database, "b")
        secrets, masked, _ = load_envelopes(database, a.id)
        moved = {"secrets_sealed": secrets, "masked_sealed": masked}
        database.execute(update(connection_secrets).where(connection_secrets.c.connection_id == b.id).values(**moved))
    assert api.get("/connection/b").json()["secrets_state"] == "unreadable"
    assert api.get("/connection/b/test").json()["failure_code"] == "secrets_unreadable"
    merge = api.patch("/connection/b/secret", json={})
    assert merge.status_code == 409
    assert "PUT /connection/b/secret" in merge.json()["detail"]
    assert api.put("/connection/b/secret", json={"token": "fresh"}).json()["test_status"] == "succeeded"
    assert api.get("/connection/a").json()["secrets_state"] == "stored"


def test_an_envelope_of_another_connection_type_does_not_open(api, service):
    from connectory.api.stored.sealing import seal_document

    api.create("hands", "manual")
    with service.store.write() as database:
        row = get_by_key(database, "hands")
        api_ledger = service.catalog.get("api_ledger")
        sealed: Sealed = seal_document(service.vault, api_ledger, row.id, {"token": "tiger-lily"})
        from connectory.store.connections import store_secrets
        from connectory.store.timestamps import utc_now

        store_secrets(database, row.id, sealed, now=utc_now())
    assert api.get("/connection/hands").json()["secrets_state"] == "unreadable"
    assert api.get("/connection/hands/test").json()["failure_code"] == "secrets_unreadable"
