"""The audit trail: entries come back as they were written, newest first, and outlive what they tell of."""

from datetime import timedelta

import pytest

from connectory.store import audit, connections
from connectory.store.audit import AuditEntry


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
    )
    bare = AuditEntry(at=now + timedelta(seconds=1), actor="client-2", action="listed")
    with store.write() as database:
        audit.append(database, full, bare)
        audit.append(database)
    with store.read() as database:
        assert audit.list_entries(database) == ([bare, full], 2)
        assert audit.list_entries(database, connection_id="id-1") == ([full], 1)
        assert audit.list_entries(database, connection_id="id-2") == ([], 0)
        assert audit.list_entries(database, connection_key="orders") == ([full], 1)
        assert audit.list_entries(database, action="listed") == ([bare], 1)
        assert audit.list_entries(database, connection_key="orders", action="listed") == ([], 0)
        for unstorable in ("\x00", "\ud800"):
            assert audit.list_entries(database, action=unstorable) == ([], 0)


def test_entries_come_in_pages(store, now):
    with store.write() as database:
        audit.append(database, *(AuditEntry(at=now, actor="a", action=f"x{number}") for number in range(5)))
    with store.read() as database:
        entries, total = audit.list_entries(database, page=2, size=2)
        assert ([entry.action for entry in entries], total) == (["x2", "x1"], 5)
        assert audit.list_entries(database, page=10**30) == ([], 5)


def test_the_trail_outlives_the_connection(store, save_one, now):
    with store.write() as database:
        row = save_one(database, "a")
        audit.append(database, AuditEntry(at=now, actor="a", action="created", connection_id=row.id))
        connections.delete(database, row.id)
    with store.read() as database:
        assert audit.list_entries(database, connection_id=row.id)[1] == 1


def test_an_entry_is_undone_with_the_change_it_tells_of(store, now):
    def append_and_fail() -> None:
        with store.write() as database:
            audit.append(database, AuditEntry(at=now, actor="a", action="created"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append_and_fail()
    with store.read() as database:
        assert audit.list_entries(database) == ([], 0)


def test_the_module_only_adds_and_reads():
    public = {name for name, value in vars(audit).items() if callable(value) and value.__module__ == audit.__name__}
    assert public == {"AuditEntry", "append", "list_entries", "_names", "_values"}
