"""`POST /egress/check`: which rule decides where tests may connect."""

import json
import threading
import time

import pytest
from sqlalchemy import select

from connectory.api.node import host_lookups
from connectory.api.node.limits import TokenBuckets
from connectory.checks import egress_check
from connectory.checks.addresses import Found
from connectory.store.tables import audit
from testkit.loopback import LoopbackServer, Peer


@pytest.fixture
def ask(api):
    """Send a body to the route."""
    return lambda body: api("POST", "/egress/check", json=body)


@pytest.fixture
def rules(service, monkeypatch):
    """Have the service go by other egress settings until the test ends."""

    def use(**settings: object) -> None:
        monkeypatch.setitem(vars(service), "settings", service.settings.model_copy(update=settings))

    return use


def trail(service):
    with service.store.read() as database:
        return [
            (row.action, row.result_code, row.details and json.loads(row.details))
            for row in database.execute(select(audit).order_by(audit.c.id))
        ]


def test_the_answer_names_the_rule_and_nothing_is_connected_to(ask, service, rules):
    with LoopbackServer(Peer.drain) as server:
        rules(egress_allow=("10.0.0.0/8", f"127.0.0.0/8:{server.port}"))
        answer = ask({"host": "127.0.0.1", "port": server.port})
        assert server.connections == 0
    deciding = {"rule": f"127.0.0.0/8:{server.port}", "rule_from": "CONNECTORY_EGRESS_ALLOW"}
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "host": "127.0.0.1",
            "port": server.port,
            "allowed": True,
            "failure_code": None,
            **deciding,
            "addresses": [{"address": "127.0.0.1", "allowed": True, **deciding}],
        },
    )
    assert ("egress_checked", "allowed", {"host": "127.0.0.1", "port": server.port}) in trail(service)


def test_what_is_refused_says_with_what_a_test_would_end(ask, service, rules):
    rules(egress_deny=("*.internal.example", "10.0.0.0/8:22"))
    named = ask({"host": "DB.internal.example"}).json()
    assert (named["allowed"], named["failure_code"], named["addresses"]) == (False, "address_not_allowed", [])
    assert (named["rule"], named["rule_from"], named["port"]) == ("*.internal.example", "CONNECTORY_EGRESS_DENY", None)
    port = ask({"host": "10.0.0.7", "port": 22}).json()
    assert port["addresses"] == [
        {"address": "10.0.0.7", "allowed": False, "rule": "10.0.0.0/8:22", "rule_from": "CONNECTORY_EGRESS_DENY"}
    ]
    metadata = ask({"host": "169.254.169.254", "port": 80}).json()
    assert (metadata["allowed"], metadata["rule_from"]) == (False, "built in")
    unknown = ask({"host": "no-such-host.invalid", "port": 80}).json()
    assert (unknown["allowed"], unknown["failure_code"], unknown["rule"]) == (False, "dns_failed", None)
    assert [entry for entry in trail(service) if entry[0] == "egress_checked"][-4:] == [
        ("egress_checked", "address_not_allowed", {"host": "DB.internal.example"}),
        ("egress_checked", "address_not_allowed", {"host": "10.0.0.7", "port": 22}),
        ("egress_checked", "address_not_allowed", {"host": "169.254.169.254", "port": 80}),
        ("egress_checked", "dns_failed", {"host": "no-such-host.invalid", "port": 80}),
    ]


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ({}, ["body", "host"], "Field required."),
        ({"host": ""}, ["body", "host"], "Has a character that is not accepted, or another form than expected."),
        (
            {"host": "http://S3cret"},
            ["body", "host"],
            "Has a character that is not accepted, or another form than expected.",
        ),
        ({"host": "a" * 256}, ["body", "host"], "Has a character that is not accepted, or another form than expected."),
        ({"host": 1}, ["body", "host"], "Must be a string."),
        ({"host": "a", "port": 0}, ["body", "port"], "Must be at least 1."),
        ({"host": "a", "port": 65536}, ["body", "port"], "Must be at most 65535."),
        ({"host": "a", "port": "5432"}, ["body", "port"], "Must be an integer."),
        ({"host": "a", "S3cret": 1}, ["body"], "Holds a member that is not known. Known: host, port."),
        ([], ["body"], "Must be a JSON object."),
    ],
)
def test_what_is_not_a_host_and_a_port_is_refused_and_not_repeated(ask, body, place, message):
    answer = ask(body)
    assert answer.status_code == 422
    assert [(problem["loc"], problem["msg"]) for problem in answer.json()["detail"]] == [(place, message)]
    assert "S3cret" not in answer.text


def test_it_takes_the_scope_to_read_connections(anonymous, token_for):
    def status(*scopes: str) -> int:
        headers = {"Authorization": f"Bearer {token_for(*scopes)}"}
        return anonymous.post("/api/v1/egress/check", json={"host": "10.0.0.7"}, headers=headers).status_code

    assert (status("connection:read"), status("connection_type:read")) == (200, 403)
    assert anonymous.post("/api/v1/egress/check", json={"host": "10.0.0.7"}).status_code == 401


def test_it_counts_as_a_test_of_its_client(ask, api, service, monkeypatch):
    monkeypatch.setitem(vars(service), "test_limit", TokenBuckets(rate=0.2, burst=2))
    answers = [ask({"host": "10.0.0.7", "port": 443}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 5
    assert "CONNECTORY_TEST_RATE" in answers[2].json()["detail"]
    api.create("a", "manual")
    assert api.get("/connection/a/test").status_code == 429


def test_names_whose_servers_are_silent_hold_up_nobody_else(ask, api, anonymous, token_for, monkeypatch):
    """Neither their client's other requests, nor another client's checks; and they end in time."""
    ended, answer_to = threading.Event(), egress_check.look_up

    def look_up(host: str):
        if host.startswith("silent"):
            ended.wait(30)
        return answer_to("10.0.0.7")

    monkeypatch.setattr(egress_check, "look_up", look_up)
    monkeypatch.setattr(host_lookups, "LOOKUP_TIME", 0.05)
    answers = [ask({"host": "silent.example"}) for _ in range(5)]
    assert [answer.json().get("failure_code") for answer in answers] == ["dns_timeout"] * 4 + [None]
    assert (answers[4].status_code, answers[4].headers["Retry-After"]) == (429, "5")
    other = {"Authorization": f"Bearer {token_for()}"}
    asked = {"host": "db.example", "port": 5432}
    monkeypatch.setattr(host_lookups, "LOOKUP_TIME", 5.0)
    assert anonymous.post("/api/v1/egress/check", json=asked, headers=other).json()["allowed"]
    assert api.get("/connection").status_code == 200
    ended.set()
    ends = time.monotonic() + 30
    while ask({"host": "db.example", "port": 5432}).status_code == 429:  # the threads of the others end
        assert time.monotonic() < ends


def test_look_ups_that_have_ended_are_not_counted(ask, monkeypatch):
    monkeypatch.setattr(egress_check, "look_up", lambda _host: Found(("10.0.0.7",), "db.example"))
    answers = [ask({"host": "db.example", "port": 5432}) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
