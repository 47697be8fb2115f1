"""One connection at a time: create, find, change, delete; secrets and tests; listing with filters."""

import itertools
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from sqlalchemy import event, text

from connectory.store import connections, datasets
from connectory.store.connections import StoredConnection
from connectory.store.detail import get_detail
from connectory.store.envelopes import Sealed, load_envelopes
from connectory.store.listing import Filters, Sort, list_connections

SEALED = Sealed(secrets="cs1.a.SECRETS-ENVELOPE", masked="cs1.a.MASKED-ENVELOPE", kid="a")


@pytest.fixture
def make(store, save_one):
    """Create a connection; only its key need be given."""

    def make(key: str, **given: object) -> StoredConnection:
        with store.write() as database:
            return save_one(database, key, **given)

    return make


def last_test(store, connection: StoredConnection) -> str | None:
    with store.read() as database:
        return get_detail(database, connection.key).last_test


def stored(store, key: str) -> StoredConnection | None:
    with store.read() as database:
        return connections.get_by_key(database, key)


# -- one connection


def test_a_new_connection_reads_back_as_it_was_made(store, make, now):
    made = make("orders", name="Orders ☃", access="write", disabled=True, description="the orders")
    assert stored(store, "orders") == made
    assert made == StoredConnection(
        id=made.id,
        key="orders",
        name="Orders ☃",
        connection_type="postgres",
        system_type="database",
        distribution="connectory-postgres",
        access="write",
        disabled=True,
        description="the orders",
        created_at=now,
        updated_at=now,
        version=1,
        secrets_version=0,
    )
    assert not made.has_secrets


def test_times_are_stored_to_the_microsecond_and_come_back_in_utc(store, make, now):
    make("a", at=now.astimezone(timezone(timedelta(hours=5, minutes=30))))
    created = stored(store, "a").created_at
    assert created == now
    assert created.microsecond == 123456
    assert created.tzinfo is UTC


def test_a_time_without_timezone_is_refused(make):
    with pytest.raises(Exception, match="no timezone"):
        make("a", at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_keys_are_case_sensitive_and_names_are_not_unique(store, make):
    make("a", name="same")
    make("A", name="same")
    assert stored(store, "a").id != stored(store, "A").id


@pytest.mark.parametrize(
    "key", ["missing", "", "\x00", "a\x00", "\ud800", "x" * 100_000, "'; DROP TABLE connections; --"]
)
def test_a_key_that_is_not_stored_is_none_whatever_it_holds(store, make, key):
    make("a")
    assert stored(store, key) is None
    with store.read() as database:
        assert connections.find_similar_key(database, key) is None


def test_a_similar_key_differs_by_case_dash_or_underscore_only(store, make):
    make("application_postgresql_db")
    make("other.key")
    with store.read() as database:
        for asked in (
            "application-postgresql-db",
            "Application_PostgreSQL_DB",
            "applicationpostgresqldb",
            "APPLICATION--PostgreSQL-db_",
        ):
            assert connections.find_similar_key(database, asked) == "application_postgresql_db"
        assert connections.find_similar_key(database, "application_postgresql_db") is None
        assert connections.find_similar_key(database, "application_postgres_db") is None
        assert connections.find_similar_key(database, "other_key") is None


def test_an_update_changes_what_is_given_and_nothing_else(store, make, now):
    made = make("a", name="A", description="first", access="write")
    later = now + timedelta(seconds=1)
    updated = make("a", description=None, disabled=True, at=later)
    assert updated == made._replace(description=None, disabled=True, version=2, updated_at=later)
    assert stored(store, "a") == updated


def test_an_update_of_a_fixed_field_is_refused(make):
    make("a")
    with pytest.raises(ValueError, match="cannot change connection_type"):
        make("a", connection_type="mysql")


def test_deleting_takes_the_datasets_along_and_works_once(store, make, now):
    made, other = make("a"), make("b")
    with store.write() as database:
        datasets.upsert_many(database, made.id, {"mine": "{}"}, now=now)
        datasets.upsert_many(database, other.id, {"theirs": "{}"}, now=now)
    with store.write() as database:
        assert connections.delete(database, made.id) is True
        assert connections.delete(database, made.id) is False
    assert stored(store, "a") is None
    with store.read() as database:
        assert database.execute(text("SELECT fides_key FROM datasets")).scalars().all() == ["theirs"]


# -- secrets and tests


def test_storing_secrets_counts_versions_and_clears_the_last_test(store, make, now):
    made = make("a")
    with store.write() as database:
        assert load_envelopes(database, made.id) == (None, None, 0)
        first = connections.store_secrets(database, made.id, SEALED, now=now)
        assert connections.record_test(database, made.id, secrets_version=1, succeeded=True, report="{}", at=now)
    tested = stored(store, "a")
    assert (tested.last_test_timestamp, tested.last_test_succeeded, last_test(store, made)) == (now, True, "{}")
    assert (tested.version, tested.updated_at) == (2, now)
    later = now + timedelta(seconds=1)
    with store.write() as database:
        second = connections.store_secrets(database, made.id, SEALED, now=later)
        envelopes = load_envelopes(database, made.id)
    assert envelopes == (SEALED.secrets, SEALED.masked, 2)
    assert (first.version, first.secrets_version, first.secrets_kid, first.secrets_updated_at) == (2, 1, "a", now)
    assert second == first._replace(version=3, secrets_version=2, secrets_updated_at=later, updated_at=later)
    assert stored(store, "a") == second
    assert (second.last_test_succeeded, last_test(store, made)) == (None, None)


def test_an_update_of_fields_keeps_secrets_and_the_last_test(store, make, save_one, now):
    made = make("a")
    with store.write() as database:
        connections.store_secrets(database, made.id, SEALED, now=now)
        connections.record_test(database, made.id, secrets_version=1, succeeded=False, report='{"x":1}', at=now)
        save_one(database, "a", name="B")
        assert load_envelopes(database, made.id) == (SEALED.secrets, SEALED.masked, 1)
    after = stored(store, "a")
    assert (after.name, after.last_test_succeeded, last_test(store, made)) == ("B", False, '{"x":1}')


def test_merged_secrets_are_stored_only_over_the_version_they_were_merged_from(store, make, now):
    made = make("a")
    with store.write() as database:
        assert connections.store_secrets(database, made.id, SEALED, now=now, expected_secrets_version=0)
        assert connections.store_secrets(database, made.id, SEALED, now=now, expected_secrets_version=0) is None
        assert connections.store_secrets(database, "no such id", SEALED, now=now) is None
        assert load_envelopes(database, made.id)[2] == 1


def test_a_test_of_secrets_that_were_replaced_meanwhile_is_not_recorded(store, make, now):
    made = make("a")
    with store.write() as database:
        connections.store_secrets(database, made.id, SEALED, now=now)
        connections.store_secrets(database, made.id, SEALED, now=now)
        assert not connections.record_test(database, made.id, secrets_version=1, succeeded=True, report="{}", at=now)
        assert not connections.record_test(database, "gone", secrets_version=1, succeeded=True, report="{}", at=now)
    assert stored(store, "a").last_test_succeeded is None


def test_no_connection_holds_an_envelope(store, make, now):
    made = make("a")
    with store.write() as database:
        connections.store_secrets(database, made.id, SEALED, now=now)
    with store.read() as database:
        rows, _ = list_connections(database, Filters())
    assert "ENVELOPE" not in repr([stored(store, "a"), rows])
    assert not set(StoredConnection._fields) & {"secrets_sealed", "masked_sealed"}


# -- listing


def test_a_listing_is_ordered_by_name_then_key_byte_by_byte(store, make):
    for key, name in [("k2", "b"), ("k1", "b"), ("k3", "a"), ("k4", "B"), ("k5", "é"), ("k6", "z"), ("k7", "_")]:
        make(key, name=name)
    with store.read() as database:
        rows, _ = list_connections(database, Filters())
    assert [row.key for row in rows] == ["k4", "k7", "k3", "k1", "k2", "k6", "k5"]


def test_pages_cut_the_listing_and_the_total_counts_all(store, make):
    for number in range(5):
        make(f"k{number}")
    pages = []
    with store.read() as database:
        for page in (1, 2, 3, 4):
            rows, total = list_connections(database, Filters(), page=page, size=2)
            pages.append([row.key for row in rows])
            assert total == 5
    assert pages == [["k0", "k1"], ["k2", "k3"], ["k4"], []]


@pytest.mark.parametrize("page", [2**31, 2**63, 10**20, 10**400])
def test_a_page_of_any_magnitude_is_empty(store, make, page):
    make("a")
    with store.read() as database:
        assert list_connections(database, Filters(), page=page, size=100) == ([], 1)


@pytest.fixture
def assorted(store, make, now):
    """Connections that differ in everything that can be filtered on."""
    make("pg_on", description="Orders")
    make("pg_off", disabled=True)
    make("my_on", kind="mysql", description="orders 100%")
    make("stripe_on", kind="stripe", system="saas")
    make("paper", kind="manual", system="manual", disabled=True)
    with store.write() as database:
        for key, succeeded in (("pg_on", True), ("pg_off", False), ("stripe_on", True)):
            row = connections.get_by_key(database, key)
            connections.store_secrets(database, row.id, SEALED, now=now)
            connections.record_test(database, row.id, secrets_version=1, succeeded=succeeded, report="{}", at=now)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), ["my_on", "paper", "pg_off", "pg_on", "stripe_on"]),
        (Filters(connection_types=["postgres"]), ["pg_off", "pg_on"]),
        (Filters(connection_types=["mysql", "stripe"]), ["my_on", "stripe_on"]),
        (Filters(connection_types=["nothing"]), []),
        (Filters(connection_types=["\x00"]), []),
        (Filters(connection_types=["\x00", "mysql"]), ["my_on"]),
        (Filters(system_types=["database"]), ["my_on", "pg_off", "pg_on"]),
        (Filters(system_types=["saas", "manual"]), ["paper", "stripe_on"]),
        (Filters(system_types=["\ud800"]), []),
        (Filters(disabled=True), ["paper", "pg_off"]),
        (Filters(disabled=False), ["my_on", "pg_on", "stripe_on"]),
        (Filters(test_status="passed"), ["pg_on", "stripe_on"]),
        (Filters(test_status="failed"), ["pg_off"]),
        (Filters(test_status="untested"), ["my_on", "paper"]),
        (Filters(search="ORDERS"), ["my_on", "pg_on"]),
        (Filters(search=""), ["my_on", "paper", "pg_off", "pg_on", "stripe_on"]),
        (Filters(search="orders", connection_types=["mysql"]), ["my_on"]),
        (Filters(system_types=["database"], disabled=False, test_status="passed"), ["pg_on"]),
        (Filters(search="off", disabled=True, test_status="failed", connection_types=["postgres"]), ["pg_off"]),
        (Filters(disabled=True, test_status="passed"), []),
    ],
)
def test_filters_narrow_the_listing_together(store, assorted, filters, expected):
    with store.read() as database:
        rows, total = list_connections(database, filters)
    assert [row.key for row in rows] == expected
    assert total == len(expected)


@pytest.mark.parametrize(
    ("filters", "page", "sqlite", "postgresql"),
    [
        (Filters(disabled=False), 1, 1, 1),
        (Filters(search="orders", disabled=False), 1, 2, 1),  # SQLite counts matches to choose a plan
        (Filters(), 1_000_000_000, 2, 2),  # past the end
    ],
)
def test_a_listing_is_a_query_or_two_and_reads_no_envelope(store, assorted, filters, page, sqlite, postgresql):
    statements: list[str] = []
    event.listen(store.reads, "before_cursor_execute", lambda _c, _cursor, statement, *_: statements.append(statement))
    with store.read() as database:
        _, total = list_connections(database, filters, page=page)
    assert total > 0
    queries = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(queries) == {"sqlite": sqlite, "postgresql": postgresql}[store.dialect]
    assert "sealed" not in "".join(queries)
    assert "last_test_report" not in "".join(queries)


def test_on_sqlite_filters_and_counts_are_answered_from_the_index(sqlite_url, now):
    from connectory.store.engine import open_store

    with open_store(sqlite_url) as store, store.read() as database:
        plan = database.execute(
            text("EXPLAIN QUERY PLAN SELECT count(*) FROM connections WHERE disabled IS 1 AND connection_type = 'x'")
        ).all()
    assert "USING COVERING INDEX ix_connections_filters" in str(plan)


def test_looking_for_a_key_that_is_not_stored_scans_no_table(store, make):
    make("My-Key_1")
    with store.read() as database:
        assert connections.find_similar_key(database, "mykey1") == "My-Key_1"
        assert connections.find_similar_key(database, "My-Key_1") is None
        form = "replace(replace(lower(connections.key), '-', ''), '_', '') = 'mykey'"
        query = f"SELECT connections.key FROM connections WHERE {form}"
        if store.dialect == "sqlite":
            plan = [row[-1] for row in database.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
        else:
            database.exec_driver_sql("SET LOCAL enable_seqscan = off")  # or an empty table is read as a whole
            plan = [row[0] for row in database.exec_driver_sql(f"EXPLAIN {query}")]
        assert str(connections._FORM) in query
    assert "ix_connections_key_form" in " ".join(plan)


_OF_EACH = [
    Filters(),
    Filters(connection_types=["postgres"], disabled=False),
    Filters(test_status="failed", failure_codes=["timeout"]),
    Filters(other_types_than=["mysql"], other_keys_than=["a"]),
    Filters(search="orders"),
    Filters(search="o", system_types=["database"]),
]


@pytest.mark.parametrize("read", [0, 10_000])
def test_sqlite_walks_an_index_for_every_page_and_sorts_nothing(sqlite_url, save_one, monkeypatch, read):
    from connectory.store.engine import open_store

    monkeypatch.setattr("connectory.store.listing._MANY_MATCHES", 0)
    monkeypatch.setattr("connectory.store.listing._READ", read)
    asked: list[tuple[str, Any]] = []
    with open_store(sqlite_url) as store:
        with store.write() as database:
            save_one(database, "orders")
            save_one(database, "x", "mysql")
        with store.read() as database:
            event.listen(store.reads, "before_cursor_execute", lambda *given: asked.append(given[2:4]))
            for filters, sort in itertools.product(_OF_EACH, get_args(Sort)):
                list_connections(database, filters, sort=sort, size=1)
            plans = {
                statement: [row[-1] for row in database.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
                for statement, values in asked.copy()
                if statement.startswith("SELECT")
            }
    assert len(plans) > 40
    for statement, plan in plans.items():
        assert "TEMP B-TREE" not in str(plan), statement
        assert not [step for step in plan if re.match(r"SCAN (connections|texts)$", step)], statement
