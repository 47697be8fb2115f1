"""`GET /connection?sort=`: every order, both directions, on both databases the same."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from connectory.store.tables import connections

START = datetime(2026, 1, 1, tzinfo=UTC)
# Names, and times in days after START, with ties and with one that was never tested between others that were.
ROWS = {
    "b": {"name": "Zebra", "created_at": 3, "updated_at": 5, "last_test_timestamp": 2},
    "a": {"name": "apple", "created_at": 3, "updated_at": 4, "last_test_timestamp": None},
    "d": {"name": "Apple", "created_at": 1, "updated_at": 9, "last_test_timestamp": 7},
    "C": {"name": "Apple", "created_at": 2, "updated_at": 9, "last_test_timestamp": None},
    "e": {"name": "\u00e9clair", "created_at": 1, "updated_at": 2, "last_test_timestamp": 2},
}
# Byte order: capital letters before small ones. Ties are in the order of the key, in the same direction.
ORDERS = {
    "name": "C d b a e",
    "-name": "e a b d C",
    "key": "C a b d e",
    "-key": "e d b a C",
    "created_at": "d e C a b",
    "-created_at": "b a C e d",
    "updated_at": "e a b C d",
    "-updated_at": "d C b a e",
    "last_test_timestamp": "b e d C a",
    "-last_test_timestamp": "d e b a C",
}


@pytest.fixture
def library(api, service):
    for key, row in ROWS.items():
        api.create(key, name=row["name"], description="even" if key in "aCe" else "odd", disabled=key in "be")
    with service.store.write() as database:
        for key, row in ROWS.items():
            times = {
                column: None if days is None else START + timedelta(days=days)
                for column, days in row.items()
                if column != "name"
            }
            tested = None if row["last_test_timestamp"] is None else key != "d"
            database.execute(
                update(connections).where(connections.c.key == key).values(last_test_succeeded=tested, **times)
            )
    return api


def keys(answer):
    assert answer.status_code == 200, answer.text
    return [item["key"] for item in answer.json()["items"]]


def test_every_order(library):
    """What was never tested is last in both directions."""
    assert {sort: " ".join(keys(library.get(f"/connection?sort={sort}"))) for sort in ORDERS} == ORDERS


def test_without_sort_the_order_is_by_name(library):
    assert keys(library.get("/connection")) == ORDERS["name"].split()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_are_cut_from_one_order(library, size):
    """No connection is on two pages, and none on no page."""
    for sort, order in ORDERS.items():
        found: list[str] = []
        for page in range(1, 7):
            found += keys(library.get(f"/connection?sort={sort}&size={size}&page={page}"))
        assert found == order.split(), sort


@pytest.mark.parametrize(
    ("query", "among"),
    [
        ("search=even", "aCe"),
        ("search=od", "bd"),  # two letters are looked for in another way than three
        ("disabled=false&search=odd", "d"),
        ("test_status=untested", "aC"),
        ("test_status=passed", "be"),
        ("connection_type=api_ledger&connection_type=postgres", "abCde"),
        ("connection_type=postgres", ""),
    ],
)
def test_an_order_holds_with_search_and_filters(library, query, among):
    for sort, order in ORDERS.items():
        answer = library.get(f"/connection?sort={sort}&{query}")
        assert keys(answer) == [key for key in order.split() if key in among], sort
        assert answer.json()["total"] == len(among)


def test_an_order_holds_where_very_many_match(library, monkeypatch):
    """SQLite then walks the rows in order, instead of sorting what it found."""
    monkeypatch.setattr("connectory.store.listing._MANY_MATCHES", 1)
    for sort, order in ORDERS.items():
        found = keys(library.get(f"/connection?sort={sort}&search=even"))
        assert found == [key for key in order.split() if key in "aCe"], sort


@pytest.mark.parametrize(
    "sort", ["", "-", "Name", "name,key", "--name", "+name", "id", "S3cret", "last_test_succeeded"]
)
def test_an_unknown_order_is_refused_and_the_known_ones_are_named(api, sort):
    answer = api.get("/connection", params={"sort": sort})
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["query", "sort"]
    assert all(f"'{known}'" in problem["msg"] for known in ORDERS)
    assert "S3cret" not in answer.text


def test_the_document_names_every_order(anonymous):
    parameters = anonymous.get("/openapi.json").json()["paths"]["/api/v1/connection"]["get"]["parameters"]
    [described] = [parameter for parameter in parameters if parameter["name"] == "sort"]
    assert described["schema"]["enum"] == list(ORDERS)
    assert described["schema"]["default"] == "name"
    assert "never tested" in described["description"]
