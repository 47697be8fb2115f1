"""Connections as rows: how many at once are inserted and rewritten, with their envelopes and their place in search."""

from collections.abc import Sequence

from sqlalchemy.engine import Connection

from connectory.store.connections import StoredConnection
from connectory.store.envelopes import Sealed, put_envelopes
from connectory.store.inserting import insert_unless_taken, replace_rows
from connectory.store.search import index_rows, search_text, unindex_rows
from connectory.store.tables import connections

# The report is not part of the record; it goes when the record says that the secrets are untested.
_REPORT = "CASE WHEN excluded.last_test_timestamp IS NULL THEN NULL ELSE connections.last_test_report END"


def insert_rows(database: Connection, rows: Sequence[tuple[StoredConnection, Sealed | None]]) -> set[str]:
    """Insert connections, with envelopes where given. A row whose key another transaction took is left out.

    Returns:
        The keys that were inserted.
    """
    inserted = insert_unless_taken(database, connections.c.key, [_values(connection) for connection, _ in rows])
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
    replace_rows(database, connections.c.id, [_values(after) for _, after, _ in rows], last_test_report=_REPORT)
    index_rows(database, renamed)
    put_envelopes(database, {after.id: sealed for _, after, sealed in rows if sealed})


def _values(connection: StoredConnection) -> dict[str, object]:
    return connection._asdict() | {"search_text": _search_text(connection)}


def _search_text(connection: StoredConnection) -> str:
    return search_text(connection.key, connection.name, connection.description)
