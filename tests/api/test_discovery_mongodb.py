"""`/connection/{key}/discovery` of a MongoDB: from documents to a dataset that is stored, and fits."""

from uuid import uuid4

import pytest
from bson import Decimal128, ObjectId

from servers.mongodb.server import MongoDBServer

WAIT = {"Prefer": "wait=30"}
DEEP = 70


def deep(levels):
    document = "bottom"
    for _ in range(levels):
        document = {"n": document}
    return document


@pytest.fixture(scope="module")
def mongodb():
    with MongoDBServer() as server:
        yield server


@pytest.fixture
def shop(mongodb):
    """The database of a shop, and the secrets of one who may read and write it."""
    name = f"shop_{uuid4().hex[:12]}"
    with mongodb.client() as client:
        database = client[name]
        database["customer"].insert_many(
            {
                "email": f"{number}@shop.example",
                "address": {"zip": "1234", "Street Name": "x", "geo.point": 1.5, "$kind": "home"},
                "orders": [{"number": number, "price": Decimal128("12.50")}],
                "loose": number if number % 2 else "one",
                "ünï": ObjectId(),
                "nothing": None,
            }
            for number in range(30)
        )
        database["customer"].create_index("email", unique=True)
        database["deep.ly"].insert_many([{"top": deep(DEEP)}, {}])
        database.create_collection("empty")
        database.command("create", "seen", viewOn="customer", pipeline=[])
        client["admin"].command("createUser", name, pwd="pw", roles=[{"role": "readWrite", "db": name}])
        yield (
            database,
            {
                "host": mongodb.host,
                "port": mongodb.port,
                "defaultauthdb": name,
                "auth_source": "admin",
                "username": name,
                "password": "pw",
                "ssl_mode": "disabled",
            },
        )
        client.drop_database(name)


@pytest.fixture
def discover(api, shop):
    _, secrets = shop
    api.create("shop_db", "mongodb")
    assert api.put("/connection/shop_db/secret", json=secrets).json()["test_status"] == "succeeded"

    def ask(body=None):
        found = api("POST", "/connection/shop_db/discovery", json=body, headers=WAIT).json()
        assert (found["status"], found["failure_code"]) == ("complete", None), found
        return found

    return ask


def check(api, key):
    return api("POST", f"/connection/shop_db/dataset/{key}/check").json()


def test_a_mongodb_is_discovered_and_its_dataset_can_be_stored_as_it_is(api, discover, shop):
    database, secrets = shop
    found = discover({"sample": 25})
    assert (found["inferred"], found["server"]) == (True, {"product": "MongoDB"})
    [dataset] = found["datasets"]
    key = dataset["fides_key"]
    assert key.startswith(f"{secrets['defaultauthdb']}_")
    assert dataset["fides_meta"] == {"namespace": {"database": secrets["defaultauthdb"]}}
    customer, deep_ly = dataset["collections"]
    assert customer == {
        "name": "customer",
        "fields": [
            {"name": "_id", "fides_meta": {"primary_key": True, "data_type": "object_id"}},
            {
                "name": "address",
                "fides_meta": {"data_type": "object"},
                "fields": [
                    {"name": "$kind", "data_categories": [], "fides_meta": {"data_type": "string"}},
                    {"name": "Street Name", "data_categories": [], "fides_meta": {"data_type": "string"}},
                    {"name": "geo.point", "data_categories": [], "fides_meta": {"data_type": "float"}},
                    {"name": "zip", "data_categories": [], "fides_meta": {"data_type": "string"}},
                ],
            },
            {"name": "email", "data_categories": [], "fides_meta": {"data_type": "string"}},
            {"name": "loose", "data_categories": []},
            {"name": "nothing", "data_categories": []},
            {
                "name": "orders",
                "fides_meta": {"data_type": "object[]"},
                "fields": [
                    {"name": "number", "data_categories": [], "fides_meta": {"data_type": "integer"}},
                    {"name": "price", "data_categories": [], "fides_meta": {"data_type": "float"}},
                ],
            },
            {"name": "ünï", "data_categories": [], "fides_meta": {"data_type": "object_id"}},
        ],
    }
    assert deep_ly["name"] == "deep.ly"
    assert found["left_out"] == [
        {
            "dataset": key,
            "collection": "deep.ly",
            "field": ".".join(["top", *["n"] * 59]),
            "reason": "its members nest over 60 levels deep",
        },
        {"dataset": key, "collection": "empty", "reason": "it has no documents to look at"},
        {"dataset": key, "collection": "seen", "reason": "view of customer"},
    ]
    of_customer, of_deep_ly = found["presence"]
    assert {"field": ["address", "geo.point"], "presence": 1} in of_customer["fields"]
    assert of_deep_ly["fields"][:2] == [{"field": "_id", "presence": 1}, {"field": "top", "presence": 0.5}]
    assert ("email", "user.contact.email") in [(one["field"], one["data_category"]) for one in found["suggestions"]]

    again = discover()
    assert (again["datasets"], again["left_out"]) == (found["datasets"], found["left_out"])

    answer = api.patch("/connection/shop_db/dataset", json=found["datasets"])
    assert answer.status_code == 200, answer.text
    stored = answer.json()
    assert (stored["failed"], [one["ignored"] for one in stored["succeeded"]]) == ([], [[]])
    assert check(api, key) | {"coverage": 100, "ok": True, "findings": []} == check(api, key)

    database["customer"].update_many({}, {"$set": {"phone": "1"}, "$unset": {"loose": 1}})
    changed = check(api, key)
    assert [(one["code"], one["severity"], one["field"]) for one in changed["findings"]] == [
        ("field_missing", "warning", "loose"),
        ("field_unknown", "warning", "phone"),
    ]


def test_an_account_that_may_write_is_told_so_until_its_right_is_taken_away(api, discover, shop):
    database, secrets = shop
    report = discover()["access_report"]
    assert (report["declared"], report["finding"]) == ("read", "can_write")
    assert report["account_can"] == ["select", "update", "delete"]
    name = secrets["defaultauthdb"]
    [remedy] = report["remedy"]
    assert remedy.startswith(
        f'db.getSiblingDB("admin").revokeRolesFromUser("{name}", [{{ role: "readWrite", db: "{name}" }}]);'
    )
    admin = database.client["admin"]
    admin.command("revokeRolesFromUser", name, roles=[{"role": "readWrite", "db": name}])
    admin.command("grantRolesToUser", name, roles=[{"role": "read", "db": name}])
    report = discover()["access_report"]
    assert (report["finding"], report["excess"], report["remedy"]) == ("as_declared", [], [])


def test_a_login_that_fails_says_why(api, discover, shop):
    _, secrets = shop
    api.put("/connection/shop_db/secret?verify=false", json=secrets | {"password": "marker-81"})
    answer = api("POST", "/connection/shop_db/discovery", headers=WAIT)
    assert (answer.json()["status"], answer.json()["failure_code"]) == ("failed", "auth_failed")
    assert "marker-81" not in answer.text
