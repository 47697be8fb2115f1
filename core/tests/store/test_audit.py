"""The audit trail: entries come back as they were written, newest first, outlive what they tell of, and cannot be changed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, text, update

from connectory.store import audit, connections
from connectory.store.audit import ACTIONS, Actor, AuditEntry
from connectory.store.audit_search import MOST_COUNTED, Wanted, list_entries, matching_actions, newest_entries
from connectory.store.errors import StoreFailed
from connectory.store.tables import audit as table
from connectory.store.timestamps import utc_now

ADA = Actor("client-1", "r-1", "theirs")


def add(store, *entries: AuditEntry) -> None:
    with store.write() as database:
        audit.append(database, *entries)


def actions(store, **wanted) -> list[str]:
    with store.read() as database:
        return [entry.action for entry in list_entries(database, Wanted(**wanted))[0]]


def test_entries_read_back_newest_first(store, now):
    full = AuditEntry(
        at=now,
        actor="client-1",
        action="secrets_set",
        connection_id="id-1",
        connection_key="orders",
        changed_fields=("password", "username"),
        kid="2026-11",
        result_code="ok",
        request_id="r-1",
        client_request_id="theirs",
        object="it",
        details={"address": "127.0.0.1", "times": 3},
    )
    bare = AuditEntry(at=now + timedelta(seconds=1), actor="client-2", action="deleted")
    add(store, full, bare)
    add(store)
    with store.read() as database:
        assert list_entries(database) == ([bare, full], 2)
        newest, oldest = list_entries(database)[0]
        assert newest.id > oldest.id


def test_each_filter_finds_its_own_and_all_that_are_given_hold(store, now):
    class Orders:
        id, key = "id-1", "orders"

    later = now + timedelta(hours=1)
    add(
        store,
        ADA.did("tested", Orders, result_code="auth_failed", at=now),
        Actor("keys add").did("key_added", object="2026-12", at=now),
        Actor("keys promote").did("key_promoted", object="2026-12", at=later),
        ADA.did("keys_reloaded", result_code="200", at=later),
    )
    assert actions(store, actor="client-1") == ["keys_reloaded", "tested"]
    assert actions(store, connection_key="orders") == ["tested"]
    assert actions(store, object="2026-12") == ["key_promoted", "key_added"]
    assert actions(store, result_code="auth_failed") == ["tested"]
    assert actions(store, since=later) == ["keys_reloaded", "key_promoted"]
    assert actions(store, until=later) == ["key_added", "tested"]
    assert actions(store, since=now, until=now) == []
    assert actions(store, actions=["tested"]) == ["tested"]
    assert actions(store, actions=matching_actions("key*")) == ["keys_reloaded", "key_promoted", "key_added"]
    assert actions(store, actions=matching_actions("key*"), actor="client-1", since=later) == ["keys_reloaded"]
    assert actions(store, actor="client-1", connection_key="orders", result_code="200") == []
    for unstorable in ("\x00", "\ud800"):
        assert actions(store, actor=unstorable) == []


def test_an_action_is_named_in_full_or_by_its_beginning():
    assert matching_actions("tested") == ("tested",)
    assert matching_actions("client_*") == ("client_created", "client_deleted", "client_secret_rotated")
    assert matching_actions("*") == ACTIONS
    assert matching_actions("test") == matching_actions("nothing*") == matching_actions("") == ()
    assert list(ACTIONS) == sorted(set(ACTIONS))


def test_entries_come_in_pages(store, now):
    add(store, *(Actor("a").did("tested", object=f"{number}", at=now) for number in range(5)))
    with store.read() as database:
        entries, total = list_entries(database, page=2, size=2)
        assert ([entry.object for entry in entries], total) == (["2", "1"], 5)
        assert list_entries(database, page=3, size=2)[0][0].object == "0"
        assert list_entries(database, page=10**30) == ([], 5)


def test_all_are_read_some_at_a_time(store, now):
    # A few at each moment, so that the numbers of entries have to tell which were read.
    add(store, *(Actor("a").did("tested", object=f"{n}", at=now + timedelta(seconds=n // 7)) for n in range(2100)))
    with store.read() as database:
        everything = [entry.object for entry in newest_entries(database, Wanted(), 1_000_000)]
        assert everything == [f"{number}" for number in reversed(range(2100))]
        assert [entry.object for entry in newest_entries(database, Wanted(), 1500)] == everything[:1500]
        assert list(newest_entries(database, Wanted(actor="\x00"), 10)) == []


def fill(store, count: int) -> None:
    """Entries a second apart, of 10 clients; one in a thousand has failed."""
    numbers = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
        if store.dialect == "sqlite"
        else "WITH n AS (SELECT i FROM generate_series(1, :count) AS i)"
    )
    at = (
        "strftime('%Y-%m-%d %H:%M:%f', 1700000000 + i, 'unixepoch') || '000+00:00'"
        if store.dialect == "sqlite"
        else "to_timestamp(1700000000 + i)"
    )
    with store.write() as database:
        database.execute(
            text(
                f"INSERT INTO audit (at, actor, action, connection_key, changed_fields, result_code) {numbers} "
                f"SELECT {at}, 'client-' || (i % 10), CASE WHEN i % 2 = 0 THEN 'tested' ELSE 'updated' END, "
                "'key-' || (i % 100), '[]', CASE WHEN i % 1000 = 0 THEN 'timeout' ELSE '200' END FROM n"
            ),
            {"count": count},
        )
        if store.dialect == "postgresql":
            database.execute(text("ANALYZE audit"))


MIDDLE = datetime.fromtimestamp(1_700_010_000, UTC)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(actor="client-3"),
        Wanted(actions=("tested", "key_added")),
        Wanted(connection_key="key-7"),
        Wanted(object="nothing"),
        Wanted(result_code="timeout"),
        Wanted(since=MIDDLE, until=MIDDLE + timedelta(hours=1)),
        Wanted(actor="client-3", until=MIDDLE),
    ],
    ids=repr,
)
def test_the_first_page_sorts_nothing_and_reads_no_more_than_it_counts(sqlite_url, wanted):
    """SQLite's plan names what it walks through. An index that gives the order, for each filter, and never the whole table."""
    from connectory.store import audit_search
    from connectory.store.engine import open_store

    with open_store(sqlite_url) as store, store.read() as database:
        statements = audit_search._newest(wanted, 50), audit_search._count(wanted)
        plans = []
        for statement in statements:
            compiled = statement.compile(database.engine, compile_kwargs={"literal_binds": True})
            plans.append([row[3] for row in database.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()])
    steps = [step for plan in plans for step in plan if " audit" in step]
    assert steps
    assert all("USING" in step and "INDEX ix_audit_" in step for step in steps), steps


def test_pages_and_counts_end_at_what_is_counted(store):
    fill(store, MOST_COUNTED + 5_000)
    with store.read() as database:
        entries, total = list_entries(database, page=MOST_COUNTED // 50)
        assert (len(entries), total) == (50, MOST_COUNTED)
        assert list_entries(database, page=MOST_COUNTED // 50 + 1) == ([], MOST_COUNTED)
        assert list_entries(database, Wanted(result_code="timeout"))[1] == 15
        assert list_entries(database, Wanted(actions=("tested", "updated")))[1] == MOST_COUNTED
        assert list_entries(database, Wanted(until=entries[-1].at))[1] == 5_000


def test_the_trail_outlives_the_connection(store, save_one, now):
    with store.write() as database:
        row = save_one(database, "a")
        audit.append(database, ADA.did("created", row, at=now))
        connections.delete(database, row.id)
    with store.read() as database:
        [entry], _ = list_entries(database, Wanted(connection_key="a"))
    assert entry.connection_id == row.id


def test_an_entry_is_undone_with_the_change_it_tells_of(store):
    def append_and_fail() -> None:
        with store.write() as database:
            audit.append(database, ADA.did("created"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append_and_fail()
    with store.read() as database:
        assert list_entries(database) == ([], 0)


def test_who_does_something_is_in_every_entry_of_it():
    entry = Actor("keys add", user="ada").did("key_added", object="2026-12", details={"fingerprint": "f" * 600})
    assert entry.details == {"user": "ada", "fingerprint": "f" * 500}
    assert (entry.actor, entry.result_code, entry.object) == ("keys add", "succeeded", "2026-12")
    assert timedelta() <= utc_now() - entry.at < timedelta(seconds=5)
    assert (ADA.did("updated").request_id, ADA.did("updated").client_request_id) == ("r-1", "theirs")


OLD = timedelta(days=400)


@pytest.mark.parametrize(
    "change",
    [
        update(table).values(actor="somebody else"),
        update(table).where(table.c.at < utc_now() - timedelta(days=100)).values(result_code=None),
        delete(table),
        delete(table).where(table.c.at > utc_now() - audit.YOUNG),
        text("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)"),
    ],
    ids=["update", "update of an old one", "delete", "delete of a young one", "by hand"],
)
def test_the_database_refuses_to_change_an_entry_or_to_delete_a_young_one(store, change):
    add(store, ADA.did("created", at=utc_now() - OLD), ADA.did("deleted"))
    with store.read() as database:
        before = list_entries(database)
    with pytest.raises(StoreFailed), store.write() as database:
        database.execute(change)
    with store.read() as database:
        assert list_entries(database) == before


def test_postgresql_refuses_to_truncate_the_trail(postgres_url):
    from connectory.store.engine import open_store

    with open_store(postgres_url) as store:
        add(store, ADA.did("created"))
        with pytest.raises(StoreFailed), store.write() as database:
            database.execute(text("TRUNCATE audit"))
        assert actions(store) == ["created"]


def test_what_is_older_than_is_kept_is_deleted_by_several_nodes_at_once(store, monkeypatch):
    monkeypatch.setattr(audit, "_BATCH", 20)
    monkeypatch.setattr(audit, "_BATCHES", 4)
    old, young = utc_now() - OLD, utc_now() - timedelta(days=364)
    add(store, *(ADA.did("tested", at=old) for _ in range(250)), *(ADA.did("updated", at=young) for _ in range(3)))

    def run(_: int) -> None:
        audit.purge(store, before=utc_now() - timedelta(days=365))

    run(0)
    assert len(newest(store)) == 253 - 80  # no more in one go
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(run, range(6)))
    assert actions(store) == ["updated"] * 3


def newest(store) -> list[AuditEntry]:
    with store.read() as database:
        return list(newest_entries(database, Wanted(), 1000))
