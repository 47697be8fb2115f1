"""`GET /connection/summary`, the filters for what needs a person, and `expand=health`."""

import itertools

import pytest
from sqlalchemy import insert, select, update

from connectory.api.connections.connection_health import ConnectionSummary
from connectory.api.connections.connection_shapes import ConnectionHealth, ConnectionPage
from connectory.store.tables import connection_secrets, connections


def change(service, named, **values):
    with service.store.write() as database:
        database.execute(update(connections).where(connections.c.key == named).values(values))


def listed(api, query):
    answer = api.get(f"/connection?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(api, query):
    found = listed(api, query)
    assert found["total"] == len(found["items"])
    return [item["key"] for item in found["items"]]


@pytest.fixture
def library(api, service):
    """One that passed, one of each way to fail, one whose connector is gone, one whose key is gone, one without secrets."""
    for key, token in {"a_good": "tiger", "b_wrong": "wrong", "c_limited": "limited", "d_sealed": "tiger"}.items():
        api.create(key, secrets={"token": token})
    api.create("e_gone", "postgres", disabled=True)
    api.create("f_bare", "manual")
    for key in ("a_good", "b_wrong", "c_limited"):
        api.get(f"/connection/{key}/test")
    change(service, "d_sealed", secrets_kid="a-key-of-long-ago")
    change(service, "e_gone", connection_type="uninstalled")
    return api


def test_the_filters_find_what_needs_a_person(library):
    assert keys(library, "failure_code=auth_failed") == ["b_wrong"]
    assert keys(library, "failure_code=auth_failed&failure_code=rate_limited") == ["b_wrong", "c_limited"]
    assert keys(library, "failure_code=timeout") == []
    assert keys(library, "connector=missing") == ["e_gone"]
    assert keys(library, "secrets=unreadable") == ["d_sealed"]
    assert keys(library, "secrets=unreadable&connector=missing") == []
    assert keys(library, "failure_code=auth_failed&search=wrong&sort=-last_test_timestamp") == ["b_wrong"]
    assert keys(library, "failure_code=auth_failed&search=good") == []


@pytest.mark.parametrize("query", ["failure_code=S3cret", "connector=present", "secrets=stored", "expand=everything"])
def test_an_unknown_word_is_a_422(api, query):
    answer = api.get(f"/connection?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["query", query.partition("=")[0]]
    assert "S3cret" not in answer.text


def test_new_secrets_and_a_test_that_passes_end_a_failure(library):
    library.put("/connection/b_wrong/secret?verify=false", json={"token": "tiger"})
    assert keys(library, "failure_code=auth_failed") == []
    library.patch("/connection", json=[{"key": "c_limited", "secrets": {"token": "wrong"}}])
    assert keys(library, "failure_code=rate_limited") == []
    library.get("/connection/c_limited/test")
    assert keys(library, "failure_code=auth_failed") == ["c_limited"]
    library.patch("/connection", json=[{"key": "c_limited", "description": "still failing"}])
    assert keys(library, "failure_code=auth_failed") == ["c_limited"]


def test_a_code_that_another_release_left_behind_does_not_count(library, service):
    change(service, "b_wrong", last_test_succeeded=True)
    assert keys(library, "failure_code=auth_failed") == []
    assert library.get("/connection/summary").json()["by_failure_code"] == {"rate_limited": 1}
    assert listed(library, "search=b_wrong&expand=health")["items"][0]["health"]["last_failure_code"] is None


def test_health_is_shown_where_it_is_asked_for(library, service):
    found = listed(library, "expand=health")
    ConnectionPage.model_validate(found)
    health = {item["key"]: item.pop("health") for item in found["items"]}
    assert found == listed(library, "")
    assert [*health["a_good"]] == [*ConnectionHealth.model_fields]
    assert {key: tuple(each.values()) for key, each in health.items()} == {
        "a_good": ("stored", False, None, "present"),
        "b_wrong": ("stored", False, "auth_failed", "present"),
        "c_limited": ("stored", False, "rate_limited", "present"),
        "d_sealed": ("unreadable", False, None, "present"),
        "e_gone": ("absent", False, None, "missing"),
        "f_bare": ("absent", False, None, "present"),
    }


def test_tokens_count_as_consent_where_the_type_asks_for_one(library, service):
    library.create("g_crm", "salesforce")
    with service.store.write() as database:
        [crm] = database.execute(select(connections.c.id).where(connections.c.key == "g_crm")).scalars()
        envelopes = {"secrets_sealed": "", "masked_sealed": "", "tokens_sealed": "", "tokens_kid": ""}
        database.execute(insert(connection_secrets).values(connection_id=crm, **envelopes))
        others = update(connection_secrets).where(connection_secrets.c.connection_id != crm)
        database.execute(others.values(tokens_sealed="", tokens_kid=""))
    found = {item["key"]: item["health"]["authorized"] for item in listed(library, "expand=health")["items"]}
    assert [key for key, authorized in found.items() if authorized] == ["g_crm"]


def test_the_summary_has_the_numbers_of_the_lists(library):
    answer = library.get("/connection/summary")
    ConnectionSummary.model_validate_json(answer.content)
    found = answer.json()
    assert found == {
        "total": 6,
        "disabled": 1,
        "by_type": {"api_ledger": 4, "manual": 1, "uninstalled": 1},
        "by_test_status": {"passed": 1, "failed": 2, "untested": 3},
        "by_failure_code": {"auth_failed": 1, "rate_limited": 1},
        "connector_missing": 1,
        "secrets_unreadable": 1,
    }
    lists = {
        "disabled=true": found["disabled"],
        **{f"test_status={status}": number for status, number in found["by_test_status"].items()},
        **{f"connection_type={kind}": number for kind, number in found["by_type"].items()},
        **{f"failure_code={code}": number for code, number in found["by_failure_code"].items()},
        "connector=missing": found["connector_missing"],
        "secrets=unreadable": found["secrets_unreadable"],
    }
    assert {query: listed(library, query)["total"] for query in lists} == lists


def test_the_summary_of_nothing(api):
    found = api.get("/connection/summary").json()
    assert (found["total"], found["by_type"], found["by_test_status"]["untested"]) == (0, {}, 0)


def test_the_list_and_the_summary_need_the_same_scope(anonymous, token_for):
    headers = {"Authorization": f"Bearer {token_for('dataset:read')}"}
    answer = anonymous.get("/api/v1/connection/summary", headers=headers)
    assert (answer.status_code, "connection:read" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("item", [{"key": "summary", "name": "Numbers"}, {"name": "Summary"}])
def test_no_new_connection_is_called_summary(api, item):
    answer = api.patch("/connection", json=[item | {"connection_type": "manual", "access": "read"}])
    assert answer.status_code == 200
    [failed] = answer.json()["failed"]
    assert "GET /connection/summary answers something else" in failed["message"]
    assert listed(api, "")["total"] == 0


def test_an_old_connection_called_summary_is_changed_tested_and_deleted_as_ever(api, service):
    api.create("books", secrets={"token": "tiger"})
    change(service, "books", key="summary")
    assert keys(api, "search=books") == ["summary"]
    [changed] = api.patch("/connection", json=[{"key": "summary", "description": "old"}]).json()["succeeded"]
    assert changed["description"] == "old"
    assert api.get("/connection/summary/test").json()["test_status"] == "succeeded"
    assert api.get("/connection/summary").json()["total"] == 1
    assert api("OPTIONS", "/connection/summary").headers["allow"] == "GET, HEAD, OPTIONS"
    assert api.delete("/connection/summary").status_code == 204
    assert listed(api, "")["total"] == 0


FILTERS = [
    ("test_status=failed", lambda row: row["last_test_succeeded"] is False),
    ("connection_type=api_ledger", lambda row: row["connection_type"] == "api_ledger"),
    ("search=_w", lambda row: "_w" in row["key"]),
    ("failure_code=auth_failed", lambda row: row["health"]["last_failure_code"] == "auth_failed"),
    ("disabled=false", lambda row: not row["disabled"]),
    ("search=e_go", lambda row: "e_go" in row["key"]),
    ("connector=missing", lambda row: row["health"]["connector"] == "missing"),
    ("test_status=untested", lambda row: row["last_test_succeeded"] is None),
    ("secrets=unreadable", lambda row: row["health"]["secrets_state"] == "unreadable"),
    ("search=_", lambda row: "_" in row["key"]),
]


@pytest.mark.parametrize(("few", "read"), [(0, 0), (0, 10_000), (2000, 0)])
def test_filters_and_orders_go_together(library, monkeypatch, few, read):
    """Whatever way SQLite takes, the answer is the same as if everything was read, and looked through here."""
    monkeypatch.setattr("connectory.store.listing._MANY_MATCHES", few)
    monkeypatch.setattr("connectory.store.listing._READ", read)
    for sort in ("-name", "last_test_timestamp"):
        everything = listed(library, f"sort={sort}&expand=health")["items"]
        for (first, fits), (second, fits_too) in itertools.pairwise(FILTERS):
            expected = [row["key"] for row in everything if fits(row) and fits_too(row)]
            assert keys(library, f"sort={sort}&{first}&{second}") == expected, (sort, first, second)
