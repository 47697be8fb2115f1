"""`/connection/{key}/dataset/{fides_key}/check`."""

from uuid import uuid4

import pytest

from connectory.api.datasets.dataset_checks import DatasetCheck
from connectory.api.datasets.discovery_shapes import Discovery
from connectory.drift.codes import Code

SHOP = """
CREATE TABLE customer (id integer PRIMARY KEY, email varchar(100), name text, age text, seller integer);
CREATE TABLE bought (id integer PRIMARY KEY, buyer integer REFERENCES customer, code text NOT NULL);
CREATE TABLE gone (id integer PRIMARY KEY);
"""
CHANGES = """
ALTER TABLE customer ADD phone text, ALTER email TYPE varchar(40), DROP name, ALTER age TYPE integer USING NULL;
ALTER TABLE customer ALTER email SET NOT NULL, ADD FOREIGN KEY (seller) REFERENCES customer;
ALTER TABLE bought ALTER buyer TYPE bigint, DROP CONSTRAINT bought_pkey;
CREATE TABLE seen (at date);
DROP TABLE gone;
"""


@pytest.fixture
def dataset(api):
    """A connection with secrets and a dataset: the token says what its session does."""

    def store(token="t", *fields):
        api.create("books")
        assert api.put("/connection/books/secret?verify=false", json={"token": token}).status_code == 200
        collections = [{"name": name, "fields": [{"name": "email"}, *fields]} for name in ("2025", "2026")]
        key = f"books_{uuid4().hex}"
        saved = api.patch("/connection/books/dataset", json=[{"fides_key": key, "collections": collections}])
        assert saved.json()["failed"] == []
        return f"/connection/books/dataset/{key}/check"

    return store


def test_a_dataset_that_was_just_generated_fits_until_the_database_changes(api, postgres):
    name = f"drift_{uuid4().hex}"
    postgres.create_database(name)
    postgres.execute(SHOP, database=name)
    where = {"host": postgres.host, "port": postgres.port, "dbname": name, "db_schema": "public"}
    api.create("shop_db", "postgres")
    secrets = where | {"username": postgres.superuser, "password": postgres.password}
    assert api.put("/connection/shop_db/secret?verify=false", json=secrets).status_code == 200
    found = discovered(api)
    api.patch("/connection/shop_db/dataset", json=found["datasets"])
    path = f"/connection/shop_db/dataset/{found['datasets'][0]['fides_key']}/check"

    answer = api("POST", path)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "status": "complete",
        "coverage": 100,
        "ok": True,
        "counts": {},
        "findings": [],
        "findings_left_out": 0,
        "failure_code": None,
        "failure_reason": None,
        "failure_fields": [],
        "retry_after": None,
    }

    postgres.execute(CHANGES, database=name)
    changed = api("POST", path).json()
    assert (changed["status"], changed["ok"], changed["coverage"]) == ("complete", False, 77)
    assert {(one["code"], one["collection"], one.get("field")) for one in changed["findings"]} == {
        ("collection_missing", "gone", None),
        ("collection_unknown", "seen", None),
        ("field_missing", "customer", "name"),
        ("field_unknown", "customer", "phone"),
        ("fk_unannotated", "customer", "seller"),
        ("key_changed", "bought", None),
        ("length_shorter", "customer", "email"),
        ("not_nullable", "customer", "email"),
        ("type_changed", "customer", "age"),
    }
    assert changed["counts"] == dict.fromkeys(Code, 1)
    DatasetCheck.model_validate(changed)

    # Who looked again knows that the field cannot be empty.
    again = discovered(api)
    Discovery.model_validate(again)
    assert {"collection": "customer", "namespace": {"schema": "public"}, "fields": ["age", "seller", "phone"]} in again[
        "nullable"
    ]
    assert "not_nullable" not in api("POST", path).json()["counts"]


def discovered(api):
    return api("POST", "/connection/shop_db/discovery", headers={"Prefer": "wait=30"}).json()


def test_what_is_found_is_told_with_its_remedy_and_noted_in_the_audit_trail(api, dataset):
    path = dataset("t", {"name": "title"})

    found = api("POST", path).json()

    assert found["findings"][0] == {
        "code": "field_missing",
        "severity": "error",
        "collection": "2025",
        "field": "title",
        "message": "The book has no field 'title'.",
        "remedy": "Remove it from the dataset, or restore the field.",
    }
    [entry] = api.get("/audit?action=discovered&size=1").json()["items"]
    assert (entry["connection_key"], entry["result_code"]) == ("books", "succeeded")


@pytest.mark.parametrize(("given", "code"), [("wrong-4711", "auth_failed"), ("raise-4711", "internal_driver_error")])
def test_a_check_that_fails_says_why_and_has_no_coverage(api, dataset, given, code):
    answer = api("POST", dataset(given))

    found = answer.json()
    assert (answer.status_code, found["status"], found["failure_code"]) == (200, "failed", code)
    assert (found["coverage"], found["ok"], found["findings"]) == (None, False, [])
    assert found["failure_reason"]
    assert given not in answer.text


def test_a_dataset_that_is_not_there_and_a_connection_that_is_not(api, dataset):
    dataset()

    assert api("POST", "/connection/books/dataset/none/check").status_code == 404
    assert api("POST", "/connection/none/dataset/none/check").status_code == 404


def test_a_discovery_can_be_merged_into_a_stored_dataset(api, dataset):
    path = dataset("t", {"name": "title", "description": "kept"})
    key = path.split("/")[-2]
    stored = api.get(path.removesuffix("/check")).json()

    found = api("POST", f"/connection/books/discovery?merge={key}", headers={"Prefer": "wait=30"}).json()

    assert (found["status"], found["datasets"]) == ("complete", [stored])
    assert api.patch("/connection/books/dataset", json=found["datasets"]).json()["failed"] == []
    for missing in ("none", "%00"):
        assert api("POST", f"/connection/books/discovery?merge={missing}").status_code == 404
