"""`GET /connection?sort=`: the order, on both databases, across pages, and beside filters."""

import itertools
from datetime import timedelta

import pytest
from sqlalchemy import update

from connectory.store.tables import connections
from connectory.store.timestamps import utc_now

ROWS = {
    # key: (name, made, changed, tested), in minutes; None: never tested
    "b": ("same", 1, 9, 5),
    "a": ("same", 3, 7, None),
    "c": ("Zed", 2, 8, 4),
    "d": ("alpha", 5, 6, None),
    "e": ("Beta", 4, 10, 4),
}


@pytest.fixture
def stored(api, service):
    """The five connections above."""
    start = utc_now()
    for key, (name, made, changed, tested) in ROWS.items():
        api.create(key, name=name)
        times = {"created_at": made, "updated_at": changed, "last_test_timestamp": tested}
        values = {column: None if at is None else start + timedelta(minutes=at) for column, at in times.items()}
        with service.store.write() as database:
            database.execute(update(connections).where(connections.c.key == key).values(values))


@pytest.mark.parametrize(
    ("sort", "keys"),
    [
        ("name", "ecdab"),  # by bytes: capitals first, ties by key
        ("-name", "abdce"),
        ("key", "abcde"),
        ("-key", "edcba"),
        ("created_at", "bcaed"),
        ("-created_at", "deacb"),
        ("updated_at", "dacbe"),
        ("-updated_at", "ebcad"),
        ("last_test_timestamp", "ecbda"),  # never tested: last, by name
        ("-last_test_timestamp", "becda"),
    ],
)
def test_connections_are_sorted_and_pages_continue_each_other(api, stored, sort, keys):
    def listed(page, size):
        answer = api.get(f"/connection?sort={sort}&page={page}&size={size}").json()
        assert answer["total"] == 5
        return [item["key"] for item in answer["items"]]

    assert listed(1, 50) == list(keys)
    assert list(itertools.chain(*(listed(page, 2) for page in (1, 2, 3)))) == list(keys)


def test_the_default_is_by_name(api, stored):
    assert api.get("/connection").json() == api.get("/connection?sort=name").json()


def test_filters_and_search_go_with_it(api, stored):
    answer = api.get("/connection?sort=-created_at&search=same&connection_type=api_ledger").json()
    assert [item["key"] for item in answer["items"]] == ["a", "b"]


@pytest.mark.parametrize("sort", ["", "-", "secrets", "name,key", "--name", "NAME", "name DESC"])
def test_another_word_is_refused_with_those_that_are_known(api, sort):
    answer = api.get("/connection", params={"sort": sort})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["query", "sort"]
    assert "'-last_test_timestamp'" in problem["msg"]
