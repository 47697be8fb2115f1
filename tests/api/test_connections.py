"""`/connection`: create, change, list, read, delete."""

import re

import pytest

from connectory.store.audit_search import Wanted, list_entries
from connectory.store.timestamps import utc_now

MEMBERS = [
    "name",
    "key",
    "description",
    "connection_type",
    "access",
    "created_at",
    "updated_at",
    "disabled",
    "last_test_timestamp",
    "last_test_succeeded",
]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")


def keys(answer):
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json()["items"]]


def test_a_new_connection_has_the_specifications_members_and_no_others(api):
    created = api.create("books", name="Books", description=None)
    assert list(created) == MEMBERS
    assert TIMESTAMP.fullmatch(created["created_at"])
    assert created["created_at"] == created["updated_at"]
    assert created | {"created_at": "", "updated_at": ""} == {
        "name": "Books",
        "key": "books",
        "description": None,
        "connection_type": "api_ledger",
        "access": "read",
        "created_at": "",
        "updated_at": "",
        "disabled": False,
        "last_test_timestamp": None,
        "last_test_succeeded": None,
    }


def test_without_a_key_the_name_in_snake_case_is_the_key(api):
    answer = api.patch(
        "/connection", json=[{"name": "My Mongo DB", "connection_type": "api_ledger", "access": "write"}]
    )
    assert answer.json()["succeeded"][0]["key"] == "my_mongo_db"


def test_without_a_key_a_stored_connection_is_never_changed(api):
    api.create("my_mongo_db")
    answer = api.patch(
        "/connection", json=[{"name": "My Mongo DB", "connection_type": "api_ledger", "access": "write"}]
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "succeeded": [],
        "failed": [
            {
                "message": "Key my_mongo_db already exists in ConnectionConfig. Keys will be snake-cased names if not provided. "
                "If you are seeing this error without providing a key, please provide a key or a different name.",
                "data": {
                    "name": "My Mongo DB",
                    "key": None,
                    "connection_type": "api_ledger",
                    "access": "write",
                    "disabled": False,
                    "description": None,
                },
            }
        ],
    }


def test_a_name_that_gives_no_key_fails_that_item_only(api):
    items = [
        {"name": "!!!", "connection_type": "api_ledger", "access": "read"},
        {"name": "Fine", "connection_type": "api_ledger", "access": "read"},
    ]
    answer = api.patch("/connection", json=items).json()
    assert [item["key"] for item in answer["succeeded"]] == ["fine"]
    assert "provide a key" in answer["failed"][0]["message"]


def test_a_name_may_be_left_out_where_there_is_a_key(api):
    answer = api.patch("/connection", json=[{"key": "nameless", "connection_type": "api_ledger", "access": "read"}])
    assert answer.json()["succeeded"][0]["name"] == "nameless"


def test_a_known_key_is_changed_in_the_members_that_are_given(api):
    before = api.create("books", description="old", disabled=True)
    answer = api.patch("/connection", json=[{"key": "books", "access": "write"}])
    after = answer.json()["succeeded"][0]
    assert after == before | {"access": "write", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


def test_an_explicit_null_clears_a_description(api):
    api.create("books", description="old")
    api.patch("/connection", json=[{"key": "books", "name": "Kept"}])
    assert api.get("/connection/books").json()["description"] == "old"
    api.patch("/connection", json=[{"key": "books", "description": None}])
    assert api.get("/connection/books").json()["description"] is None


def test_the_type_of_a_stored_connection_cannot_change(api):
    api.create("books")
    answer = api.patch("/connection", json=[{"key": "books", "connection_type": "manual", "access": "read"}])
    assert answer.status_code == 200
    [failed] = answer.json()["failed"]
    assert "'api_ledger'" in failed["message"]
    assert api.get("/connection/books").json()["connection_type"] == "api_ledger"


def test_what_get_returns_can_be_sent_back(api):
    api.create("books")
    api.put("/connection/books/secret?verify=false", json={"token": "tiger-lily"})
    shown = api.get("/connection/books").json()
    answer = api.patch("/connection", json=[shown])
    assert answer.status_code == 200, answer.text
    assert answer.json()["failed"] == []
    assert api.get("/connection/books/test").json()["test_status"] == "succeeded"


def test_an_unknown_member_is_a_422_that_names_it(api):
    item = {"name": "x", "connection_type": "api_ledger", "access": "read", "conection_type": "api_ledger"}
    answer = api.patch("/connection", json=[item])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", 0, "conection_type"]
    assert "'conection_type'" in problem["msg"]


def test_an_unknown_member_that_could_be_a_secret_is_not_repeated(api):
    item = {"name": "x", "connection_type": "api_ledger", "access": "read", "S3cretPw": "x"}
    answer = api.patch("/connection", json=[item])
    assert answer.status_code == 422
    assert "S3cretPw" not in answer.text
    assert answer.json()["detail"][0]["loc"] == ["body", 0]


@pytest.mark.parametrize(
    ("item", "loc"),
    [
        ({"key": "a", "access": "read"}, ["body", 1, "connection_type"]),
        ({"key": "a", "connection_type": "api_ledger"}, ["body", 1, "access"]),
        ({"connection_type": "api_ledger", "access": "read"}, ["body", 1, "name"]),
        ({"key": "a", "connection_type": "api_ledger", "access": "admin"}, ["body", 1, "access"]),
        ({"key": "a", "connection_type": "api_ledger", "access": "read", "disabled": "yes"}, ["body", 1, "disabled"]),
        ({"key": "a b", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ({"key": "..", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ({"key": "", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ({"key": "a" * 201, "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ({"key": "a\x00b", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ({"name": "a\x00b", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "name"]),
        ({"key": "a", "connection_type": "api_ledger", "access": "read", "secrets": []}, ["body", 1, "secrets"]),
        (
            {"key": "a", "connection_type": "api_ledger", "access": "read", "secrets": {}},
            ["body", 1, "secrets", "token"],
        ),
        ({"key": "good", "connection_type": "api_ledger", "access": "read"}, ["body", 1, "key"]),
        ("an item", ["body", 1]),
    ],
)
def test_one_malformed_item_fails_the_whole_request_and_nothing_is_stored(api, item, loc):
    good = {"key": "good", "connection_type": "api_ledger", "access": "read", "secrets": {"token": "tiger-lily"}}
    answer = api.patch("/connection", json=[good, item])
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [loc]
    assert api.get("/connection").json()["total"] == 0


def test_an_unknown_type_is_a_422_that_names_the_known_ones(api):
    answer = api.patch("/connection", json=[{"key": "a", "connection_type": "S3cretPw", "access": "read"}])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", 0, "connection_type"]
    assert "api_ledger" in problem["msg"]
    assert "postgres" in problem["msg"]
    assert "S3cretPw" not in answer.text


def test_fifty_items_are_saved_and_fifty_one_are_a_422(api):
    items = [{"key": f"k{number}", "connection_type": "api_ledger", "access": "read"} for number in range(51)]
    answer = api.patch("/connection", json=items)
    assert answer.status_code == 422
    assert "at most 50 items" in answer.json()["detail"][0]["msg"]
    answer = api.patch("/connection", json=items[:50])
    assert [item["key"] for item in answer.json()["succeeded"]] == [item["key"] for item in items[:50]]
    assert api.patch("/connection", json=[]).json() == {"succeeded": [], "failed": []}


def test_secrets_of_an_item_are_stored_and_never_shown(api):
    created = api.create("books", secrets={"token": "tiger-lily"})
    assert list(created) == MEMBERS
    assert api.get("/connection/books").json()["secrets"] == {"token": "**********"}
    assert api.get("/connection/books/test").json()["test_status"] == "succeeded"


def test_a_failed_item_does_not_show_its_secrets(api):
    api.create("books")
    item = {"name": "Books", "connection_type": "api_ledger", "access": "read", "secrets": {"token": "tiger-lily"}}
    answer = api.patch("/connection", json=[item])
    assert len(answer.json()["failed"]) == 1
    assert "tiger-lily" not in answer.text
    assert "secrets" not in answer.json()["failed"][0]["data"]


@pytest.fixture
def library(api):
    """Four connections that differ in everything a filter looks at."""
    api.create("b_ledger", name="Beta", secrets={"token": "tiger-lily"})
    api.create("a_ledger", name="Beta", description="50% of_it", secrets={"token": "wrong"})
    api.create("hands", "manual", name="Alpha", disabled=True)
    api.create("db", "postgres", name="Gamma", description="Ärger")
    api.get("/connection/b_ledger/test")
    api.get("/connection/a_ledger/test")
    return api


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["hands", "a_ledger", "b_ledger", "db"]),
        ("connection_type=manual", ["hands"]),
        ("connection_type=manual&connection_type=POSTGRES", ["hands", "db"]),
        ("connection_type=unheard_of", []),
        ("disabled=true", ["hands"]),
        ("disabled=false", ["a_ledger", "b_ledger", "db"]),
        ("test_status=passed", ["b_ledger"]),
        ("test_status=succeeded", ["b_ledger"]),
        ("test_status=true", ["b_ledger"]),
        ("testing_status=passed", ["b_ledger"]),
        ("test_status=failed", ["a_ledger"]),
        ("test_status=false", ["a_ledger"]),
        ("test_status=untested", ["hands", "db"]),
        ("test_status=passed&testing_status=failed", []),
        ("test_status=passed&testing_status=true", ["b_ledger"]),
        ("system_type=database", ["a_ledger", "b_ledger", "db"]),
        ("system_type=manual", ["hands"]),
        ("system_type=saas", []),
        ("system_status=manual", ["hands"]),
        ("system_status=manual&system_type=database", []),
        ("search=LEDG", ["a_ledger", "b_ledger"]),
        ("search=gamma", ["db"]),
        ("search=%C3%A4RGER", ["db"]),
        ("search=50%25", ["a_ledger"]),
        ("search=_of_", []),
        ("search=%25", ["a_ledger"]),
        ("search=beta&test_status=passed&disabled=false&connection_type=api_ledger", ["b_ledger"]),
    ],
)
def test_filters_hold_together_and_the_order_is_name_then_key(library, query, expected):
    assert keys(library.get(f"/connection?{query}")) == expected


@pytest.mark.parametrize("query", ["test_status=maybe", "disabled=perhaps", "page=0", "size=101", "page=" + "9" * 30])
def test_a_filter_that_cannot_be_is_a_422(api, query):
    assert api.get(f"/connection?{query}").status_code == 422


def test_pages(library):
    page = library.get("/connection?size=3&page=2").json()
    assert (page["total"], page["page"], page["size"], page["pages"]) == (4, 2, 3, 2)
    assert [item["key"] for item in page["items"]] == ["db"]
    assert library.get("/connection?size=3&page=9").json()["items"] == []


def test_one_connection_shows_its_secrets_masked_and_their_state(api):
    api.create("books")
    shown = api.get("/connection/books").json()
    assert list(shown) == [*MEMBERS, "secrets", "secrets_state", "authorized", "last_test", "connector_problem"]
    assert (shown["secrets"], shown["secrets_state"]) == (None, "absent")
    api.put("/connection/books/secret?verify=false", json={"token": "tiger-lily"})
    shown = api.get("/connection/books").json()
    assert (shown["secrets"], shown["secrets_state"]) == ({"token": "**********"}, "stored")
    assert shown["last_test"] is None


def test_an_unknown_key_is_a_404_that_names_the_stored_key_that_is_meant(api):
    api.create("application_postgresql_db")
    answer = api.get("/connection/application-postgresql-db")
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        "No connection configuration found with key 'application-postgresql-db'. "
        "Did you mean 'application_postgresql_db'?"
    )
    assert api.get("/connection/other").json()["detail"] == "No connection configuration found with key 'other'."


@pytest.mark.parametrize("path", ["a%00b", "%2e%2e", "%2e", "%ff", "a%20b", "%F0%9F%92%A9", "a" * 201, "a%2Fb"])
def test_a_path_that_is_no_key_is_a_404(api, path):
    for method, suffix in [("GET", ""), ("DELETE", ""), ("GET", "/test"), ("GET", "/dataset")]:
        assert api(method, f"/connection/{path}{suffix}").status_code == 404
    assert api.put(f"/connection/{path}/secret", json={}).status_code == 404


def test_deleting_takes_the_connection_and_its_datasets(api, service):
    api.create("books")
    api.patch("/connection/books/dataset", json=[{"fides_key": "d", "collections": []}])
    answer = api.delete("/connection/books")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.delete("/connection/books").status_code == 404
    api.create("books")
    assert api.get("/connection/books/dataset").json()["total"] == 0
    # The dataset's key is free again.
    assert api.patch("/connection/books/dataset", json=[{"fides_key": "d", "collections": []}]).json()["failed"] == []


def test_every_change_is_in_the_audit_trail_with_names_and_without_values(api, service):
    began = utc_now()
    api.create("books", secrets={"token": "tiger-lily"})
    api.patch("/connection", json=[{"key": "books", "name": "Better"}])
    answer = api.put("/connection/books/secret", json={"token": "tiger-lily-2"}, headers={"X-Request-Id": "req-42"})
    api.patch("/connection/books/dataset", json=[{"fides_key": "d", "collections": []}])
    api.delete("/connection/books/dataset/d")
    api.delete("/connection/books")
    with service.store.read() as database:
        entries, _ = list_entries(database, Wanted(connection_key="books", since=began))
    assert [(entry.action, tuple(entry.changed_fields), entry.result_code) for entry in reversed(entries)] == [
        ("created", ("access", "name", "secrets"), "200"),
        ("updated", ("name",), "200"),
        ("secrets_set", ("token",), "200"),
        ("tested", (), "succeeded"),
        ("datasets_saved", ("d",), "200"),
        ("dataset_deleted", ("d",), "204"),
        ("deleted", (), "204"),
    ]
    assert {entry.actor for entry in entries} == {entries[0].actor}
    both = [entry for entry in entries if entry.action in {"secrets_set", "tested"}]
    assert [(entry.request_id, entry.client_request_id) for entry in both] == [
        (answer.headers["x-request-id"], "req-42")
    ] * 2
    assert len({entry.request_id for entry in entries}) == 6
    assert "tiger" not in repr(entries)


def test_all_that_is_wrong_with_a_request_is_told_at_once(api):
    wrong = [
        {"key": "sp ace", "connection_type": "postgress", "access": "read"},
        {"key": "a", "connection_type": "api_ledger", "access": "admin"},
        {"key": "b", "connection_type": "api_ledger", "access": "read", "secrets": {"tokn": "x"}},
        {"key": "b", "connection_type": "api_ledger"},
        {"connection_type": "api_ledger", "access": "read"},
    ]
    answer = api.patch("/connection", json=wrong)
    assert answer.status_code == 422
    assert [problem["loc"][1:] for problem in answer.json()["detail"]] == [
        [0, "key"],
        [0, "connection_type"],
        [1, "access"],
        [2, "secrets", "token"],
        [2, "secrets", "token"],
        [3, "key"],
        [3, "access"],
        [4, "name"],
    ]
    assert keys(api.get("/connection")) == []
