"""`/connection_type/{type}/test` and `/validate`: secrets that are tried and not stored."""

import pytest

from testkit import hostile

PARTS = {"host": "db.example", "port": 5433, "dbname": "app", "username": "reader", "password": "tiger-lily"}
MASK = "**********"


def post(api, what, connection_type, secrets, **members):
    return api("POST", f"/connection_type/{connection_type}/{what}", json={"secrets": secrets} | members)


def entries(api, **members):
    """The draft tests that the audit trail tells of, newest first."""
    found = api.get("/audit?action=draft_tested&size=5").json()["items"]
    return [{name: entry[name] for name in members} for entry in found]


def secrets_for(server, **changed):
    known = {"host": server.host, "port": server.port, "dbname": "postgres", "username": server.superuser}
    return known | {"password": server.password} | changed


def test_a_draft_is_tested_as_a_stored_connection_is(api, postgres):
    told = post(api, "test", "postgres", secrets_for(postgres))
    assert (told.status_code, told.headers["cache-control"]) == (200, "no-store")
    body = told.json()
    assert body["msg"] == "Test completed for secrets of connection type: postgres."
    assert (body["test_status"], body["failure_fields"]) == ("succeeded", [])
    api.create("db", "postgres")
    api.put("/connection/db/secret?verify=false", json=secrets_for(postgres))
    stored = api.get("/connection/db/test").json()
    assert [step["name"] for step in body["steps"]] == [step["name"] for step in stored["steps"]]
    assert body.keys() == stored.keys()


def test_a_draft_that_fails_names_the_fields(api, postgres):
    body = post(api, "test", "postgres", secrets_for(postgres, password="wrong")).json()
    assert (body["failure_code"], body["failure_fields"]) == ("auth_failed", ["username", "password"])


def test_nothing_is_stored_but_an_entry_of_the_audit_trail(api):
    post(api, "test", "api_ledger", {"token": "wrong"})
    assert api.get("/connection").json()["total"] == 0
    [entry, *_] = entries(api, connection_key=0, changed_fields=0, result_code=0, details=0)
    assert entry == {
        "connection_key": None,
        "changed_fields": ["token"],
        "result_code": "auth_failed",
        "details": {"connection_type": "api_ledger"},
    }


def test_masked_values_are_those_of_the_connection(api):
    api.create("books", secrets={"token": "wrong-one"})
    before = api.get("/connection/books").json()
    body = post(api, "test", "api_ledger", {"token": MASK}, connection_key="books").json()
    assert body["failure_code"] == "auth_failed"
    assert api.get("/connection/books").json() == before
    assert entries(api, connection_key=0)[0] == {"connection_key": "books"}
    assert (
        post(api, "test", "api_ledger", {"token": "right"}, connection_key="books").json()["test_status"] == "succeeded"
    )


def test_a_stored_password_follows_to_no_other_host(api):
    """Neither to test there, nor to find out: the answer is that of PUT."""
    api.create("db", "postgres", secrets=PARTS)
    with hostile.silent() as canary:
        elsewhere = PARTS | {"host": canary.host, "port": canary.port, "password": MASK}
        refusals = [
            post(api, "test", "postgres", elsewhere, connection_key="db"),
            post(api, "validate", "postgres", elsewhere, connection_key="db"),
            api.put("/connection/db/secret", json=elsewhere),
        ]
        assert canary.connections == 0
    assert {answer.status_code for answer in refusals} == {422}
    assert refusals[0].json() == refusals[1].json() == refusals[2].json()
    assert refusals[0].json()["detail"][0]["type"] == "secrets_required"


def test_a_mask_without_a_connection_stands_for_nothing(api):
    refusal = post(api, "test", "postgres", PARTS | {"password": MASK})
    assert refusal.status_code == 422
    assert [(problem["loc"], problem["type"]) for problem in refusal.json()["detail"]] == [
        (["password"], "masked_value")
    ]


def test_validation_tells_what_put_tells_and_stores_nothing(api):
    api.create("db", "postgres")
    wrong = PARTS | {"port": "high", "user": "reader"}
    told = post(api, "validate", "postgres", wrong)
    assert (told.status_code, told.json()) == (422, api.put("/connection/db/secret", json=wrong).json())
    assert post(api, "validate", "postgres", PARTS).json() == {"valid": True}
    assert post(api, "validate", "postgres", PARTS, connection_key="db").json() == {"valid": True}
    assert api.get("/connection/db").json()["secrets_state"] == "absent"


def test_validation_connects_to_nothing(api):
    with hostile.silent() as canary:
        post(api, "validate", "postgres", PARTS | {"host": canary.host, "port": canary.port})
        assert canary.connections == 0


@pytest.mark.parametrize("what", ["test", "validate"])
def test_what_the_request_names_must_be_there_and_fit(api, what):
    api.create("books", secrets={"token": "right"})
    assert post(api, what, "no_such", {}).json() == {"detail": "No connection type found with name 'no_such'."}
    assert post(api, what, "api_ledger", {}, connection_key="nobody").status_code == 404
    other = post(api, what, "postgres", PARTS, connection_key="books")
    assert (other.status_code, other.json()["detail"][0]["loc"]) == (422, ["body", "connection_key"])


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "secrets"]),
        ({"secrets": [["tiger-lily"]]}, ["body", "secrets"]),
        ({"secrets": {}, "tiger-lily": 1}, ["body"]),
        (["tiger-lily"], ["body"]),
        ({"secrets": {"token": "t"}, "connection_key": 5}, ["body", "connection_key"]),
    ],
)
def test_a_body_of_another_shape_is_refused_without_being_repeated(api, body, loc):
    answer = api("POST", "/connection_type/api_ledger/test", json=body)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, loc)
    assert "tiger-lily" not in answer.text


def test_who_may_only_read_tries_nothing(anonymous, token_for, api):
    reader = type(api)(anonymous, token_for("connection:read", "connection_type:read"))
    for what in ("test", "validate"):
        assert post(reader, what, "api_ledger", {"token": "right"}).status_code == 403


def test_tokens_of_a_consent_do_not_go_into_a_draft(api, service, monkeypatch):
    runs = []

    async def run(*given, **named):
        runs.append((given, named))
        raise AssertionError

    monkeypatch.setattr(service.runner, "run", run)
    api.create("books", secrets={"token": "right"})
    post(api, "test", "api_ledger", {"token": MASK}, connection_key="books")
    [(given, _)] = runs
    assert given[3:5] == (None, None)  # neither a turn with tokens nor a code
    assert given[2]() == {"token": "right"}
