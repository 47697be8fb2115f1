"""`/connection/{key}/discovery`."""

import json
import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from connectory.api.datasets import discovery as routes
from connectory.api.datasets import discovery_runs
from connectory.api.node import memory
from connectory.api.node.running_discoveries import MOST_AT_ONCE
from connectory.store.connections import get_by_key
from connectory.store.discoveries import begin_discovery
from connectory.store.timestamps import utc_now

WAIT = {"Prefer": "wait=30"}
SHOP = """
CREATE SCHEMA "My Shop";
CREATE TABLE "My Shop".address (id bigint PRIMARY KEY, street varchar(80), zip char(5));
CREATE TABLE "My Shop"."Customer ~é~" (
    id integer PRIMARY KEY, email varchar(100) NOT NULL UNIQUE, address_id bigint REFERENCES "My Shop".address,
    manager integer REFERENCES "My Shop"."Customer ~é~", balance numeric(10, 2), tags text[], born date
);
CREATE TABLE "My Shop".line (shop integer, number text, PRIMARY KEY (shop, number));
CREATE TABLE "My Shop".part (shop integer, number text, FOREIGN KEY (shop, number) REFERENCES "My Shop".line);
CREATE VIEW "My Shop".seen AS SELECT 1 AS one;
""".replace("~", '""')


@pytest.fixture(scope="module")
def shop(postgres):
    """The secrets of a shop's database."""
    name = f"shop_{uuid4().hex}"
    postgres.create_database(name)
    postgres.execute(SHOP, database=name)
    where = {"host": postgres.host, "port": postgres.port, "dbname": name, "db_schema": "My Shop"}
    return where | {"username": postgres.superuser, "password": postgres.password}


@pytest.fixture
def discover(api):
    def ask(key="books", body=None, headers=WAIT, status=200):
        answer = api("POST", f"/connection/{key}/discovery", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    return ask


def books(api, token="t", **members):
    api.create("books", **members)
    assert api.put("/connection/books/secret?verify=false", json={"token": token}).status_code == 200


def test_a_postgresql_is_discovered_and_its_dataset_can_be_stored_as_it_is(api, discover, shop):
    api.create("shop_db", "postgres")
    assert api.put("/connection/shop_db/secret", json=shop).json()["test_status"] == "succeeded"
    answer = discover("shop_db", {"sample": 10.0})
    found = answer.json()
    assert answer.headers["preference-applied"] == "wait"
    assert (found["status"], found["inferred"], found["failure_code"]) == ("complete", False, None), found
    assert found["server"] == {"product": "PostgreSQL"}
    assert found["elapsed_ms"] > 0
    assert {step["status"] for step in found["steps"]} <= {"passed", "skipped"}
    [dataset] = found["datasets"]
    key = dataset["fides_key"]
    assert key.startswith("My_Shop_")
    collections = {one["name"]: {field["name"]: field for field in one["fields"]} for one in dataset["collections"]}
    customer = collections['Customer "é"']
    assert customer["id"]["fides_meta"] == {"primary_key": True, "data_type": "integer"}
    assert customer["email"]["fides_meta"] == {"data_type": "string", "length": 100}
    assert customer["address_id"]["fides_meta"]["references"] == [{"dataset": key, "field": "address.id"}]
    assert customer["manager"]["fides_meta"]["references"] == [{"dataset": key, "field": 'Customer "é".id'}]
    assert customer["tags"]["fides_meta"] == {"data_type": "string[]"}
    assert [field["fides_meta"]["references"][0]["field"] for field in collections["part"].values()] == [
        "line.shop",
        "line.number",
    ]
    assert ("seen", None) in [(one["collection"], one.get("field")) for one in found["left_out"]]
    assert ('Customer "é"', "email", "user.contact.email") in [
        (one["collection"], one["field"], one["data_category"]) for one in found["suggestions"]
    ]
    assert (found["access_report"]["declared"], found["access_report"]["finding"]) == ("read", "can_write")
    again = discover("shop_db").json()
    assert (again["datasets"], again["left_out"]) == (found["datasets"], found["left_out"])
    assert again["id"] != found["id"]
    stored = api.patch("/connection/shop_db/dataset", json=found["datasets"])
    assert [one["fides_key"] for one in stored.json()["succeeded"]] == [key], stored.text
    assert api.get(f"/connection/shop_db/discovery/{found['id']}").json() == found


def test_what_an_account_may_write_to_and_not_read_is_told(api, discover, shop, postgres):
    name, database = f"writer_{uuid4().hex[:8]}", shop["dbname"]
    postgres.create_role(name, "pw")
    postgres.execute(
        f'GRANT USAGE ON SCHEMA "My Shop" TO {name}; GRANT INSERT ON "My Shop".line TO {name}', database=database
    )
    api.create("shop_db", "postgres")
    api.put("/connection/shop_db/secret?verify=false", json=shop | {"username": name, "password": "pw"})
    found = discover("shop_db", {"scope": {"schemas": ["My Shop"]}}).json()
    report = found["access_report"]
    assert (found["datasets"], report["finding"]) == ([], "can_write")
    assert [(one["collection"], one["privileges"]) for one in report["excess"]] == [("line", ["UPDATE"])]
    assert report["remedy"] == [f'REVOKE INSERT ON "My Shop"."line" FROM "{name}";']


def test_a_test_tells_what_the_account_may_do_where_it_is_asked(api, shop):
    api.create("shop_db", "postgres")
    api.put("/connection/shop_db/secret?verify=false", json=shop)
    plain = api.get("/connection/shop_db/test").json()
    assert "access_report" not in plain
    found = api.get("/connection/shop_db/test?privileges=true").json()
    assert [step["name"] for step in found["steps"]] == [*(step["name"] for step in plain["steps"]), "privileges"]
    assert (found["test_status"], found["steps"][-1]["status"]) == ("succeeded", "passed")
    report = found["access_report"]
    assert (report["declared"], report["finding"], bool(report["remedy"])) == ("read", "can_write", True)
    api.patch("/connection", json=[{"key": "shop_db", "access": "write"}])
    writes = api.get("/connection/shop_db/test?privileges=true").json()["access_report"]
    assert (writes["declared"], writes["finding"]) == ("write", "as_declared")  # its view takes no rows, and need not
    api.put("/connection/shop_db/secret?verify=false", json=shop | {"password": "wrong"})
    failed = api.get("/connection/shop_db/test?privileges=true").json()
    assert (failed["test_status"], "access_report" in failed) == ("failed", False)


def test_what_a_connector_cannot_tell_fails_no_test(api):
    books(api)
    events = api.get("/connection/books/test?privileges=true", headers={"Accept": "text/event-stream"}).text
    assert '{"name":"privileges","status":"running"}' in events
    verdict = json.loads(events.partition("event: verdict\ndata: ")[2])
    step = verdict["steps"][-1]
    assert (step["name"], step["status"], step["reason"]) == ("privileges", "skipped", "not_offered")
    assert (verdict["test_status"], verdict["access_report"]["finding"]) == ("succeeded", "unknown")


def test_who_does_not_wait_is_told_where_the_answer_will_be(api, discover):
    books(api)
    answer = discover(headers={}, status=202)
    begun = answer.json()
    assert (begun["status"], begun["elapsed_ms"], begun["datasets"]) == ("running", None, [])
    assert answer.headers["location"] == f"/api/v1/connection/books/discovery/{begun['id']}"
    assert answer.headers["cache-control"] == "no-store"
    found = ended(api, begun["id"])
    assert (found["status"], found["id"], found["started_at"]) == ("complete", begun["id"], begun["started_at"])
    assert [one["name"] for one in found["datasets"][0]["collections"]] == ["2025", "2026"]
    assert found["access_report"]["finding"] == "unknown"  # the connector cannot tell
    [entry] = api.get("/audit?action=discovered&size=1").json()["items"]
    assert (entry["connection_key"], entry["result_code"]) == ("books", "succeeded")


def ended(api, discovery_id, key="books"):
    give_up = time.monotonic() + 20
    while (found := api.get(f"/connection/{key}/discovery/{discovery_id}").json())["status"] == "running":
        assert time.monotonic() < give_up
    return found


def test_only_the_schemas_that_are_asked_for_are_looked_at(api, discover):
    books(api)
    found = discover(body={"scope": {"schemas": ["a", "b", "a"]}}).json()
    assert [one["name"] for one in found["datasets"]] == ["a", "b"]
    assert len({one["fides_key"] for one in found["datasets"]}) == 2


@pytest.mark.parametrize(
    ("given", "code", "reason"),
    [
        ("wrong-4711", "auth_failed", "The server rejected the credentials"),
        ("raise-4711", "internal_driver_error", "unexpected way"),
        ("locked-4711", "lock_timeout", "try again later"),
    ],
)
def test_a_discovery_that_fails_says_why(api, discover, given, code, reason):
    books(api, given)
    answer = discover()
    found = answer.json()
    assert (found["status"], found["failure_code"], found["datasets"]) == ("failed", code, [])
    assert reason in found["failure_reason"]
    assert given not in answer.text
    assert api.get(f"/connection/books/discovery/{found['id']}").json() == found
    assert found["failure_fields"] == (["token"] if code == "auth_failed" else [])
    assert api.get("/audit?action=discovered&size=1").json()["items"][0]["result_code"] == code


def test_an_answer_has_a_bound(api, discover, monkeypatch):
    books(api)
    size = len(discover().content)
    monkeypatch.setattr(discovery_runs, "LARGEST_ANSWER", size // 2)
    found = discover().json()
    assert (found["status"], found["failure_code"], found["datasets"]) == ("failed", "resource_limit", [])
    assert "ask for fewer schemas" in found["failure_reason"]
    assert api.get(f"/connection/books/discovery/{found['id']}").json() == found
    assert api.get("/audit?action=discovered&size=1").json()["items"][0]["result_code"] == "resource_limit"


def test_the_memory_of_a_large_answer_goes_back(api, discover, monkeypatch):
    given_back = threading.Event()
    monkeypatch.setattr(discovery_runs, "LARGE", 0)
    monkeypatch.setattr(memory, "_LATER", 0.0)
    monkeypatch.setattr(memory, "give_back_memory", given_back.set)
    books(api)
    discover()
    assert given_back.wait(30)


def test_a_connection_without_secrets_is_told_so(api, discover):
    api.create()
    found = discover().json()
    assert (found["status"], found["failure_code"]) == ("failed", "secrets_missing")
    assert "/connection/books/secret" in found["failure_reason"]


def test_a_discovery_is_ended_at_its_deadline(api, discover, service, monkeypatch):
    monkeypatch.setitem(service.settings.__dict__, "discovery_deadline", 1.0)
    books(api, "hang")
    began = time.monotonic()
    found = discover(headers={"Prefer": "respond-async, wait"}).json()
    assert (found["status"], found["failure_code"]) == ("failed", "timeout")
    assert "CONNECTORY_DISCOVERY_DEADLINE" in found["failure_reason"]
    assert time.monotonic() - began < 5


def test_one_that_was_lost_with_its_node_is_told_to_have_failed(api, service):
    books(api)
    began = utc_now() - timedelta(hours=1)
    with service.store.write() as database:
        connection = get_by_key(database, "books")
        begin_discovery(database, connection.id, "d_00000000000000aa", secrets_version=1, actor="a", at=began)
        assert not begin_discovery(database, "gone", "d_00000000000000ab", secrets_version=1, actor="a", at=began)
    found = api.get("/connection/books/discovery/d_00000000000000aa").json()
    assert (found["status"], found["failure_code"]) == ("failed", "crashed")
    assert "ask again" in found["failure_reason"]


def test_the_last_five_of_a_connection_are_kept(api, discover):
    books(api)
    ids = [discover().json()["id"] for _ in range(6)]
    kept = [api.get(f"/connection/books/discovery/{found}").status_code for found in ids]
    assert kept == [404, *[200] * 5]


def test_a_discovery_belongs_to_its_connection(api, discover):
    books(api)
    found = discover().json()["id"]
    api.create("other")
    for path in (f"other/discovery/{found}", "books/discovery/d_0123456789abcdef", "books/discovery/%00"):
        answer = api.get(f"/connection/{path}")
        assert answer.status_code == 404, path
        assert "%00" not in answer.text


def test_what_cannot_be_discovered_is_refused(api, discover):
    api.create("by_hand", "manual")
    answer = discover("by_hand", status=409)
    assert "supported_actions" in answer.json()["detail"]
    discover("nowhere", status=404)
    books(api)
    for body in ({"scope": {"schemas": []}}, {"sample": 0}, {"sample": "many"}, {"scope": {"tables": ["x"]}}, [], 5):
        discover(body=body, status=422)


def test_too_many_at_once_are_refused(api, discover, service, monkeypatch):
    books(api)
    monkeypatch.setattr(type(service.discoveries), "full", True)
    assert int(discover(status=429).headers["retry-after"]) > 0
    assert MOST_AT_ONCE == 20


def test_it_needs_the_scope_of_a_test(api, anonymous, token_for):
    books(api)
    for scope, status in (("dataset:read", 403), ("connection:read", 202)):
        headers = {"Authorization": f"Bearer {token_for(scope)}"}
        assert anonymous.post("/api/v1/connection/books/discovery", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 0),
        ("wait=10", 10),
        ("respond-async, wait=7", 7),
        ('WAIT = "5"', 5),
        ("wait", 60),
        ("wait=9999", 60),
        ("wait=soon", 0),
        ("waiting", 0),
        ("handling=lenient; wait=3", 3),
    ],
)
def test_how_long_somebody_wants_to_wait(prefer, seconds):
    assert routes._wait(prefer, 60.0) == seconds


def test_a_connector_that_can_be_discovered_says_so(api):
    types = {one["identifier"]: one for one in api.get("/connection_type?size=100").json()["items"]}
    assert types["api_ledger"]["supported_actions"] == ["discovery"]
    assert types["postgres"]["supported_actions"] == ["discovery"]
    assert types["manual"]["supported_actions"] == []
