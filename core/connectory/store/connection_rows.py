"""Connections as rows: how many at once are inserted and rewritten, with their envelopes and their place in search."""

from collections.abc import Sequence

from sqlalchemy import Boolean, bindparam, case, null, update
from sqlalchemy.engine import Connection

from connectory.store.connections import StoredConnection
from connectory.store.envelopes import Sealed, put_envelopes
from connectory.store.inserting import insert_unless_taken
from connectory.store.search import index_rows, search_text, unindex_rows
from connectory.store.tables import connections

_NEVER_REWRITTEN = frozenset({"id", "key", "connection_type", "system_type", "distribution", "created_at"})
_REWRITTEN = tuple(name for name in StoredConnection._fields if name not in _NEVER_REWRITTEN)
# The report is not part of the record; it goes when the record says that the secrets are untested.
_REWRITE = (
    update(connections)
    .where(connections.c.id == bindparam("row_id"))
    .values(
        last_test_report=case(
            (bindparam("untested", type_=Boolean), null()),
            else_=connections.c.last_test_report,
        )
    )
)


def insert_rows(database: Connection, rows: Sequence[tuple[StoredConnection, Sealed | None]]) -> set[str]:
    """Insert connections, with envelopes where given. A row whose key another transaction took is left out.

    Returns:
        The keys that were inserted.
    """
    values = [connection._asdict() | {"search_text": _search_text(connection)} for connection, _ in rows]
    inserted = insert_unless_taken(database, connections.c.key, values)
    stored = [(connection, sealed) for connection, sealed in rows if connection.key in inserted]
    index_rows(database, [connection.id for connection, _ in stored])
    put_envelopes(database, {connection.id: sealed for connection, sealed in stored if sealed})
    return inserted


def rewrite_rows(
    database: Connection, rows: Sequence[tuple[StoredConnection, StoredConnection, Sealed | None]]
) -> None:
    """Write connections that this transaction has locked: as each was, as it shall be, and envelopes where given."""
    if not rows:
        return
    renamed = [after.id for before, after, _ in rows if _search_text(before) != _search_text(after)]
    unindex_rows(database, renamed)
    database.execute(_REWRITE, [_values(after) for _, after, _ in rows])
    index_rows(database, renamed)
    put_envelopes(database, {after.id: sealed for _, after, sealed in rows if sealed})


def _values(after: StoredConnection) -> dict[str, object]:
    fields: dict[str, object] = {name: getattr(after, name) for name in _REWRITTEN}
    return fields | {
        "row_id": after.id,
        "search_text": _search_text(after),
        "untested": after.last_test_timestamp is None,
    }


def _search_text(connection: StoredConnection) -> str:
    return search_text(connection.key, connection.name, connection.description)
