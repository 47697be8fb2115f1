"""Saving many connections at once: what each item becomes, in what order, and what happens when two do it together."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby

import pytest
from sqlalchemy import event, text

from connectory.store import connections
from connectory.store.bulk_save import Saved, SaveFailed, SaveItem, Superseded, save_connections
from connectory.store.detail import get_detail
from connectory.store.envelopes import Sealed, load_envelopes
from connectory.store.listing import Filters, list_connections
from testkit.statements import cursors_that_tell


def item(
    key: str | None = None, *, kind: str = "postgres", seal: Callable[[str], Sealed] | None = None, **given: object
):
    return SaveItem(key, kind, "database", f"connectory-{kind}", given, seal)


def seal_for(connection_id: str) -> Sealed:
    """Stands in for real envelopes: shows for which id they were sealed."""
    return Sealed(secrets=f"secrets of {connection_id}", masked=f"masked of {connection_id}", kid="2026-11")


@pytest.fixture
def save(store, now):
    def save(*items: SaveItem, at=now) -> list[Saved | SaveFailed]:
        with store.write() as database:
            return save_connections(database, items, now=at)

    return save


@pytest.fixture
def stored(store):
    def stored(key: str) -> connections.StoredConnection | None:
        with store.read() as database:
            return connections.get_by_key(database, key)

    return stored


def test_a_new_key_is_created_with_what_was_given(save, stored, now):
    [saved] = save(item("orders", name="Orders", access="write", disabled=True, description="d"))
    assert saved == Saved(stored("orders"), created=True, changed=("access", "description", "disabled", "name"))
    row = saved.connection
    assert (row.name, row.access, row.disabled, row.description) == ("Orders", "write", True, "d")
    assert (row.connection_type, row.system_type, row.distribution) == ("postgres", "database", "connectory-postgres")
    assert (row.version, row.secrets_version, row.created_at, row.updated_at) == (1, 0, now, now)


def test_what_a_new_connection_was_not_given_has_a_default(save, stored):
    save(item("orders"))
    row = stored("orders")
    assert (row.name, row.access, row.disabled, row.description) == ("orders", "read", False, None)


def test_a_stored_key_keeps_what_was_not_given(save, stored, now):
    [first] = save(item("orders", name="Orders", access="write", description="d"))
    later = now + timedelta(seconds=1)
    [second] = save(item("orders", description=None), at=later)
    assert second == Saved(stored("orders"), created=False, changed=("description",))
    row = second.connection
    assert (row.id, row.name, row.access, row.description) == (first.connection.id, "Orders", "write", None)
    assert (row.version, row.created_at, row.updated_at) == (2, now, later)


def test_the_type_of_a_stored_connection_cannot_change(save, stored):
    save(item("orders", name="before"))
    assert save(item("orders", kind="mysql", name="after")) == [SaveFailed("type_fixed", "orders", "postgres")]
    assert stored("orders").name == "before"


def test_without_a_key_the_name_gives_it(save, stored):
    [saved] = save(item(name="My Mongo DB"))
    assert saved.connection.key == "my_mongo_db"
    assert stored("my_mongo_db").name == "My Mongo DB"


def test_without_a_key_a_name_whose_key_exists_fails_and_changes_nothing(save, stored):
    save(item("my_mongo_db", name="first"))
    assert save(item(name="My Mongo DB")) == [SaveFailed("key_exists", "my_mongo_db")]
    assert stored("my_mongo_db").name == "first"


@pytest.mark.parametrize(
    ("name", "failure"),
    [("!!!", SaveFailed("key_invalid", "")), ("x" * 201, SaveFailed("key_invalid", "x" * 201)), ("", None)],
)
def test_without_a_key_a_name_that_gives_none_fails(save, name, failure):
    assert save(item(name=name)) == [failure or SaveFailed("name_missing", "")]
    assert save(item()) == [SaveFailed("name_missing", "")]


def test_outcomes_keep_the_order_and_a_failure_stops_no_other_item(save, stored):
    save(item("b", name="B"))
    outcomes = save(item("z"), item("b", kind="mysql"), item(name="B"), item("b", disabled=True), item("a"))
    assert [type(outcome) for outcome in outcomes] == [Saved, SaveFailed, SaveFailed, Saved, Saved]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, SaveFailed)] == ["type_fixed", "key_exists"]
    assert stored("b").disabled is True
    assert stored("z") is not None


def test_an_item_sees_the_ones_before_it(save, stored):
    outcomes = save(item(name="A b"), item("a_b", description="later"), item(name="a B"), item("a_b", kind="mysql"))
    assert isinstance(outcomes[0], Saved)
    assert outcomes[1].connection.description == "later"
    assert outcomes[2] == SaveFailed("key_exists", "a_b")
    assert outcomes[3] == SaveFailed("type_fixed", "a_b", "postgres")
    assert (stored("a_b").name, stored("a_b").description, stored("a_b").version) == ("A b", "later", 2)


def test_secrets_are_sealed_for_the_row_they_are_stored_in(save, store, stored, now):
    [created] = save(item("orders", seal=seal_for))
    assert created.changed == ("secrets",)
    row = stored("orders")
    assert (row.version, row.secrets_version, row.secrets_kid, row.secrets_updated_at) == (1, 1, "2026-11", now)
    with store.write() as database:
        assert load_envelopes(database, row.id) == (f"secrets of {row.id}", f"masked of {row.id}", 1)
        connections.record_test(database, row.id, secrets_version=1, succeeded=True, report="{}", at=now)
    save(item("orders", description="secrets stay"))
    assert stored("orders").last_test_succeeded is True
    with store.read() as database:
        assert get_detail(database, "orders").last_test == "{}"
    save(item("orders", name="x", seal=seal_for))
    row = stored("orders")
    assert (row.version, row.secrets_version, row.last_test_succeeded, row.last_test_timestamp) == (3, 2, None, None)
    with store.read() as database:
        assert get_detail(database, "orders").last_test is None


def test_items_that_were_prepared_for_other_connections_are_superseded(save, store, stored, now):
    save(item("kept"), item("gone"), item("sealed", seal=seal_for), item("new"))
    seen = {key: stored(key) for key in ("kept", "gone", "sealed")}
    with store.write() as database:
        connections.delete(database, seen["gone"].id)
        connections.record_test(database, seen["kept"].id, secrets_version=0, succeeded=True, report="{}", at=now)

    def save_as_seen(*keys: str) -> list[Saved | SaveFailed]:
        mine = [item(key, description="d") for key in keys]
        with store.write() as database:
            return save_connections(database, mine, now=now, seen={key: seen[key] for key in keys if key in seen})

    assert isinstance(save_as_seen("kept")[0], Saved)
    for changed in ("gone", "new"):
        with pytest.raises(Superseded):
            save_as_seen("kept", changed)
    save(item("sealed", seal=seal_for))
    with pytest.raises(Superseded):
        save_as_seen("sealed")
    assert (stored("kept").version, stored("gone"), stored("sealed").version) == (2, None, 2)


def test_a_new_connection_has_the_identity_that_its_secrets_were_sealed_for(save, stored):
    identity = "6d0e9a52-0b0f-4c4c-8f6c-1c2a8a1f8d11"
    [saved] = save(dataclasses.replace(item("orders", seal=seal_for), new_id=identity))
    assert saved.connection.id == identity == stored("orders").id


def test_a_seal_that_raises_saves_nothing(save, stored):
    def refuse(_: str) -> Sealed:
        raise RuntimeError("no key")

    with pytest.raises(RuntimeError, match="no key"):
        save(item("a"), item("b", seal=refuse))
    assert stored("a") is None


def test_an_unknown_field_is_refused(save, stored):
    with pytest.raises(ValueError, match="cannot change secrets_sealed"):
        save(item("a", secrets_sealed="x"))
    assert stored("a") is None


def test_nothing_to_save_is_nothing_saved(save):
    assert save() == []


def test_fifty_items_take_a_few_statements(save, store):
    statements: list[str] = []
    if store.dialect == "sqlite":
        with store.write() as database:
            database.connection.driver_connection.set_trace_callback(statements.append)
    else:
        telling = cursors_that_tell(lambda sql, _: statements.append(sql))
        event.listen(store.writes, "checkout", lambda driver, *_: setattr(driver, "cursor_factory", telling))
    save(*(item(f"k{number}", seal=seal_for) for number in range(50)))
    save(*(item(f"k{number}", disabled=True) for number in range(25, 75)))
    told = [
        " ".join(sql.split()[:3] if sql.startswith("INSERT") else sql.split()[:1])
        for sql in statements
        if sql.startswith(("SELECT connections.", "INSERT"))
    ]
    look_up, save_rows, index, seal = (
        "SELECT",
        *map("INSERT INTO {}".format, ("connections", "connections_search", "connection_secrets")),
    )
    wanted = [look_up, save_rows, index, seal, look_up, save_rows, save_rows, index]  # changed ones, and new ones
    if store.dialect == "sqlite":  # it tells of a statement once for each row, so that two of a kind look like one
        assert [sql for sql, _ in groupby(told)] == [sql for sql, _ in groupby(wanted)]
        assert told.count(index) == 2
    else:
        assert told == [sql for sql in wanted if sql != index]


def test_what_was_saved_in_bulk_is_found_by_search(save, store):
    save(*(item(f"k{number}", name=f"shop {number:03}") for number in range(50)))
    save(*(item(f"k{number}", name=f"store {number:03}") for number in range(25)))
    with store.read() as database:
        assert list_connections(database, Filters(search="shop 0"))[1] == 25
        assert list_connections(database, Filters(search="STORE 0"))[1] == 25


# -- together


def test_threads_that_save_one_new_key_lose_no_update(store, now):
    """Twenty threads get twenty answers, and there is one row."""
    barrier = threading.Barrier(20)

    def save(number: int) -> Saved | SaveFailed:
        barrier.wait()
        with store.write() as database:
            mine = item("shared", seal=seal_for, **({"name": f"n{number}"} if number % 2 else {"description": "d"}))
            return save_connections(database, [mine], now=now)[0]

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(save, range(20)))
    assert all(isinstance(outcome, Saved) for outcome in outcomes)
    assert sum(outcome.created for outcome in outcomes) == 1
    assert len({outcome.connection.id for outcome in outcomes}) == 1
    assert sorted(outcome.connection.version for outcome in outcomes) == list(range(1, 21))
    with store.read() as database:
        assert database.execute(text("SELECT count(*) FROM connections")).scalar_one() == 1
        row = connections.get_by_key(database, "shared")
        assert (row.version, row.secrets_version, row.description) == (20, 20, "d")
        assert row.name.startswith("n")
        assert load_envelopes(database, row.id)[0] == f"secrets of {row.id}"


def test_one_thread_creates_a_name_without_a_key(store, now):
    """The others, which save the same name at the same time, fail."""
    barrier = threading.Barrier(10)

    def save(_: int) -> Saved | SaveFailed:
        barrier.wait()
        with store.write() as database:
            return save_connections(database, [item(name="One Name")], now=now)[0]

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(save, range(10)))
    assert sum(isinstance(outcome, Saved) for outcome in outcomes) == 1
    assert sum(outcome == SaveFailed("key_exists", "one_name") for outcome in outcomes) == 9


def test_an_insert_that_meets_an_uncommitted_row_becomes_an_update(postgres_url, now):
    """On PostgreSQL, where two write transactions run at once: the second looks before the first commits."""
    from connectory.store.engine import open_store

    with open_store(postgres_url) as store, ThreadPoolExecutor(1) as pool:
        with store.write() as first:
            save_connections(first, [item("k", name="first", seal=seal_for)], now=now)

            def save() -> list[Saved | SaveFailed]:
                with store.write() as second:
                    others = [item("a"), item("k", description="second", seal=seal_for), item(name="K")]
                    return save_connections(second, others, now=now)

            waiting = pool.submit(save)
            with store.read() as watcher:
                blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                while not watcher.execute(blocked).scalar_one() and not waiting.done():
                    pass
            assert not waiting.done()
        created, updated, failed = waiting.result(10)
        with store.read() as database:
            row = connections.get_by_key(database, "k")
            envelopes = load_envelopes(database, row.id)
    assert created.created
    assert (updated.created, updated.connection) == (False, row)
    assert failed == SaveFailed("key_exists", "k")
    assert (row.name, row.description, row.version, row.secrets_version) == ("first", "second", 2, 2)
    assert envelopes == (f"secrets of {row.id}", f"masked of {row.id}", 2)


def test_bulk_saves_of_the_same_keys_in_opposite_orders_do_not_deadlock(store, now):
    keys = [f"k{number}" for number in range(30)]

    def save(number: int) -> int:
        with store.write() as database:
            in_some_order = keys if number % 2 else keys[::-1]
            return len(save_connections(database, [item(key, name=f"n{number}") for key in in_some_order], now=now))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(save, range(24))) == [30] * 24
    with store.read() as database:
        rows, total = list_connections(database, Filters(), size=100)
    assert total == 30
    assert {row.version for row in rows} == {24}
    assert len({row.name for row in rows}) == 1
