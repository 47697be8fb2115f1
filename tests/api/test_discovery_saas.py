"""`/connection/{key}/discovery` of web services: from their definitions, without a secret and without a network."""

import socket

import pytest

from connectory.catalog.loaded import LoadedConnector
from connectory.data import CollectionInfo, CollectionRef, FieldInfo, Kind

SERVICES = (
    "adobe_campaign",
    "auth0",
    "datadog",
    "hubspot",
    "mailchimp",
    "outreach",
    "salesforce",
    "segment",
    "sendgrid",
    "sentry",
    "stripe",
    "zendesk",
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, service):
    """Whoever connects, looks up a name or opens a session fails the test."""

    def refuse(*_args, **_options):
        raise AssertionError("a discovery of a web service must not connect")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(service.runner.sessions, "open_session", refuse)


@pytest.fixture
def discover(api):
    def ask(key):
        found = api("POST", f"/connection/{key}/discovery", headers={"Prefer": "wait=30"}).json()
        assert (found["status"], found["failure_code"]) == ("complete", None), found
        return found

    return ask


def test_what_every_service_holds_is_a_dataset_that_can_be_stored_as_it_is(api, discover):
    for service in SERVICES:
        api.create(service, service)
        found = discover(service)
        [dataset] = found["datasets"]
        assert dataset["name"] == service
        assert dataset["fides_key"].startswith(f"{service}_")
        assert (found["inferred"], found["access_report"], found["steps"], found["left_out"]) == (False, None, [], [])
        again = discover(service)
        assert (again["datasets"], again["suggestions"]) == (found["datasets"], found["suggestions"])
        saved = api.patch(f"/connection/{service}/dataset", json=found["datasets"]).json()
        assert (saved["failed"], [one["ignored"] for one in saved["succeeded"]]) == ([], [[]]), service
        checked = api("POST", f"/connection/{service}/dataset/{dataset['fides_key']}/check").json()
        assert (checked["status"], checked["coverage"], checked["findings"]) == ("complete", 100, []), service


def test_fields_have_types_keys_and_references(api, discover):
    api.create("pay", "stripe")
    [dataset] = discover("pay")["datasets"]
    collections = {one["name"]: {field["name"]: field for field in one["fields"]} for one in dataset["collections"]}
    assert collections["customer"]["id"] == {
        "name": "id",
        "fides_meta": {"primary_key": True, "data_type": "string"},
    }
    assert collections["customer"]["email"] == {
        "name": "email",
        "data_categories": [],
        "fides_meta": {"data_type": "string"},
    }
    assert collections["customer"]["address"]["fides_meta"] == {"data_type": "object"}
    assert [field["name"] for field in collections["customer"]["address"]["fields"]] == [
        "line1",
        "line2",
        "city",
        "state",
        "postal_code",
        "country",
    ]
    assert collections["charge"]["customer"]["fides_meta"]["references"] == [
        {"dataset": dataset["fides_key"], "field": "customer.id"}
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("stripe", ("customer", "email", "user.contact.email", "email")),
        ("auth0", ("user", "phone_number", "user.contact.phone_number", "phone_number")),
        ("zendesk", ("user", "email", "user.contact.email", "email")),
        ("salesforce", ("Contact", "MobilePhone", "user.contact.phone_number", "phone_number")),
    ],
)
def test_categories_are_suggested_and_never_applied(api, discover, kind, expected):
    api.create("one", kind)
    found = discover("one")
    suggested = [
        (one["collection"], one["field"], one["data_category"], one["identity"]) for one in found["suggestions"]
    ]
    assert expected in suggested
    assert not list(categories(found["datasets"]))


def categories(value):
    if isinstance(value, dict):
        yield from value.get("data_categories", [])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from categories(one)


def test_two_connections_to_a_service_have_datasets_of_their_own(api, discover):
    for key in ("first", "second"):
        api.create(key, "hubspot")
        assert api.patch(f"/connection/{key}/dataset", json=discover(key)["datasets"]).json()["failed"] == []
    assert discover("first")["datasets"][0]["fides_key"] != discover("second")["datasets"][0]["fides_key"]


def test_every_service_says_that_it_can_be_discovered(api):
    types = api.get("/connection_type?size=100&system_type=saas").json()["items"]
    assert {one["identifier"]: one["supported_actions"] for one in types} == {one: ["discovery"] for one in SERVICES}


def test_what_a_connector_says_by_itself_has_the_limits_of_a_session(api, discover, monkeypatch):
    def say(*infos):
        monkeypatch.setattr(LoadedConnector, "collections", lambda _: infos)
        return api("POST", "/connection/one/discovery", headers={"Prefer": "wait=30"}).json()

    api.create("one", "stripe")
    nested = tuple(FieldInfo(("n",) * depth, Kind.OBJECT, "object") for depth in range(1, 70))
    many = tuple(FieldInfo((f"n{number}",), Kind.STRING, "string") for number in range(5000))
    found = say(CollectionInfo(CollectionRef("deep"), nested), CollectionInfo(CollectionRef("wide"), many))
    assert [(one["collection"], one["reason"]) for one in found["left_out"]] == [
        ("deep", "its members nest over 60 levels deep"),
        ("wide", "more than 4096 fields"),
    ]
    assert api.patch("/connection/one/dataset", json=found["datasets"]).json()["failed"] == []
    assert say("marker-12")["failure_code"] == "internal_driver_error"
