"""Search finds the same rows on both databases: those that contain the text, in any case, whatever characters it holds."""

import sqlite3

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from connectory.store import connections
from connectory.store.engine import Store, open_store
from connectory.store.listing import Filters, list_connections


@pytest.fixture
def add(save_one):
    """Create a connection; gives its id."""

    def add(store: Store, key: str, name: str, description: str | None) -> str:
        with store.write() as database:
            return save_one(database, key, name=name, description=description).id

    return add


def found(store: Store, term: str) -> list[str]:
    with store.read() as database:
        rows, total = list_connections(database, Filters(search=term), size=100)
    assert total == len(rows)
    return [row.key for row in rows]


ROWS = [
    ("app_db", "Application DB", "the 100% one"),
    ("appxdb", "Ärger im Büro", None),
    ("k-3", 'quote " and \\ backslash', "a*b OR c^d NEAR(x) {y}"),
    ("K4", "日本語の名前", "Straße"),
    ("k5", "x", ""),
]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("app", ["app_db", "appxdb"]),
        ("APP_DB", ["app_db"]),  # _ is no wildcard
        ("p_d", ["app_db"]),
        ("0%", ["app_db"]),
        ("100% one", ["app_db"]),
        ("%%%", []),
        ("_", ["app_db"]),
        ("k", ["K4", "k-3", "k5"]),
        ("K-", ["k-3"]),
        ('"', ["k-3"]),
        ('e " a', ["k-3"]),
        ("\\", ["k-3"]),
        ("d \\ b", ["k-3"]),
        ("a*b or", ["k-3"]),
        ("near(", ["k-3"]),
        ("ärger", ["appxdb"]),
        ("BÜRO", ["appxdb"]),
        ("日", ["K4"]),
        ("本語の", ["K4"]),
        ("STRASSE", ["K4"]),
        ("application db", ["app_db"]),
        ("dbapplication", []),
        ("db\x1fapp", []),
        ("\x1f", []),
        ("\x00", []),
        ("abc\x00", []),
        ("\ud800", []),
        ("'; DROP TABLE connections; --", []),
        ("x" * 10_000, []),
    ],
)
def test_a_text_is_found_literally_and_in_any_case(store, add, term, expected):
    for key, name, description in ROWS:
        add(store, key, name, description)
    assert sorted(found(store, term)) == expected


def test_a_changed_or_deleted_connection_is_found_by_its_new_text_only(store, add, save_one):
    _, gone = add(store, "kept", "before", None), add(store, "gone", "before too", None)
    with store.write() as database:
        save_one(database, "kept", name="after", description="wards")
        connections.delete(database, gone)
    assert found(store, "before") == []
    assert found(store, "after") == found(store, "wards") == ["kept"]
    with store.write() as database:
        save_one(database, "kept", disabled=True)
    assert found(store, "after") == ["kept"]


def test_a_term_that_very_many_match_pages_in_the_same_order(store, add, monkeypatch):
    monkeypatch.setattr("connectory.store.listing._MANY_MATCHES", 3)
    for number in range(8):
        add(store, f"k{number}", f"shop {-number % 8}", "x" if number % 2 else None)
    with store.read() as database:
        few, total = list_connections(database, Filters(search="shop 1"))
        assert ([row.key for row in few], total) == (["k7"], 1)
        many, total = list_connections(database, Filters(search="shop"), page=2, size=3)
        assert ([row.name for row in many], total) == (["shop 3", "shop 4", "shop 5"], 8)
        filtered, total = list_connections(database, Filters(search="shop", disabled=False), size=3)
        assert ([row.name for row in filtered], total) == (["shop 0", "shop 1", "shop 2"], 8)


def test_the_sqlite_index_survives_vacuum_after_deletions(sqlite_url, add):
    with open_store(sqlite_url) as store:
        ids = [add(store, f"row-{number}", f"name {number:03}", None) for number in range(20)]
        with store.write() as database:
            for row in ids[:15]:
                connections.delete(database, row)
        with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as admin:
            admin.execute("VACUUM")
        admin.close()
        assert found(store, "name 017") == ["row-17"]


def test_the_indexes_are_used(store, add):
    add(store, "app_db", "Application DB", None)
    with store.read() as database:
        if store.dialect == "sqlite":
            plan = database.execute(
                text(
                    "EXPLAIN QUERY PLAN SELECT id FROM connections WHERE number IN "
                    "(SELECT rowid FROM connections_search WHERE search_text MATCH '\"app\"')"
                )
            ).all()
            assert "VIRTUAL TABLE INDEX" in str(plan)
            assert 'SCAN connections"' not in str(plan)
        else:
            database.execute(text("SET LOCAL enable_seqscan = off"))
            plan = database.execute(text("EXPLAIN SELECT id FROM connections WHERE search_text LIKE '%app%'")).all()
            assert "ix_connections_search" in str(plan)


# Letters of several scripts whose case is special, wildcards, quotes, and the characters FTS5 confuses.
ALPHABET = st.sampled_from(list("aAbB_%\\'\" -*^1éÉßẞİıΣςσŉǅ日本\ufffd\ufffe\uffff\u0301😀"))  # noqa: RUF001
WORDS = st.text(ALPHABET, min_size=1, max_size=8)


def test_both_databases_find_the_same_rows(sqlite_url, postgres_url, add):
    """And they find those that Python's own `in` finds, after case folding."""
    with open_store(sqlite_url) as sqlite, open_store(postgres_url) as postgresql:

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            rows=st.lists(st.tuples(WORDS, st.none() | WORDS), min_size=1, max_size=6),
            terms=st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=6),
        )
        @example(rows=[("ab\ufffd", None)], terms=["ab\ufffe"])
        @example(rows=[("Straße", "İstanbul")], terms=["SS", "i\u0307st", "ISTANBUL"])
        def check(rows: list[tuple[str, str | None]], terms: list[str]) -> None:
            for one in (sqlite, postgresql):
                with one.write() as database:
                    for row in list_connections(database, size=100)[0]:
                        connections.delete(database, row.id)
                for number, (name, description) in enumerate(rows):
                    add(one, f"{number:04}", name, description)
            for term in terms:
                expected = {
                    f"{number:04}"
                    for number, (name, description) in enumerate(rows)
                    if any(term.casefold() in part.casefold() for part in (f"{number:04}", name, description or ""))
                }
                assert set(found(sqlite, term)) == set(found(postgresql, term)) == expected, term

        check()
