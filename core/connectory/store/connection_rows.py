"""The record of a connection, and how many rows at once are locked, inserted and rewritten."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.store.envelopes import put_envelopes
from connectory.store.inserting import insert_unless_taken
from connectory.store.sealed import Sealed
from connectory.store.search import index_rows, search_text, unindex_rows
from connectory.store.tables import connections


class Connection(NamedTuple):
    """One stored connection, without secrets. A named tuple, because a page of them is made for every listing.

    Attributes:
        id: UUID that never changes; envelopes are bound to it. Not shown to users.
        key: what users call it by; unique, case-sensitive.
        system_type: the connector's type when the connection was created.
        distribution: who shipped the connector when the connection was created, like "connectory-postgres".
        access: "read" or "write".
        version: 1, and one more for every change of fields or secrets. A test is no change.
        secrets_version: 0 until secrets are stored, and one more each time they are.
        secrets_kid: id of the key that sealed the secrets, None where there are none.
        last_test_timestamp, last_test_succeeded, last_test_report: of the secrets stored now; all None if untested. The
            report is JSON text.
    """

    id: str
    key: str
    name: str
    connection_type: str
    system_type: str
    distribution: str
    access: str
    disabled: bool
    description: str | None
    created_at: datetime
    updated_at: datetime
    version: int = 1
    secrets_version: int = 0
    secrets_kid: str | None = None
    secrets_updated_at: datetime | None = None
    last_test_timestamp: datetime | None = None
    last_test_succeeded: bool | None = None
    last_test_report: str | None = None

    @property
    def has_secrets(self) -> bool:
        """Whether secrets are stored, readable or not."""
        return self.secrets_kid is not None


EDITABLE = frozenset({"name", "access", "disabled", "description"})
"""The fields that a stored connection can change."""

COLUMNS = [connections.c[name] for name in Connection._fields]
"""What to select, in the order in which `Connection(*row)` takes it."""

_NEVER_REWRITTEN = frozenset({"id", "key", "connection_type", "system_type", "distribution", "created_at"})
_REWRITTEN = tuple(name for name in Connection._fields if name not in _NEVER_REWRITTEN)

_BY_KEYS = (
    select(*COLUMNS)
    .where(connections.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(connections.c.key)
    .with_for_update()
)
_REWRITE = update(connections).where(connections.c.id == bindparam("row_id"))


def new_id() -> str:
    """An identity for a new row."""
    return str(uuid.uuid4())


def with_fields(connection: Connection, changes: Mapping[str, Any], *, now: datetime) -> Connection:
    """The next version of a connection, with some fields changed.

    Raises:
        ValueError: a name is not of `EDITABLE`.
    """
    if unknown := changes.keys() - EDITABLE:
        raise ValueError(f"A stored connection cannot change {', '.join(sorted(unknown))}.")
    return connection._replace(**changes, version=connection.version + 1, updated_at=now)


def with_secrets(connection: Connection, kid: str, *, now: datetime) -> Connection:
    """A connection after its secrets are replaced: their version one higher, and untested."""
    return connection._replace(
        secrets_version=connection.secrets_version + 1,
        secrets_kid=kid,
        secrets_updated_at=now,
        last_test_timestamp=None,
        last_test_succeeded=None,
        last_test_report=None,
    )


def lock_by_keys(database: DatabaseConnection, keys: Collection[str]) -> dict[str, Connection]:
    """The stored connections among these keys, by key, locked until the transaction ends.

    They are locked in the order of their keys, so that two transactions with common keys wait and do not deadlock.
    """
    return {row.key: Connection(*row) for row in database.execute(_BY_KEYS, {"keys": list(keys)})}


def insert_rows(database: DatabaseConnection, rows: Sequence[tuple[Connection, Sealed | None]]) -> set[str]:
    """Insert connections, with envelopes where given. A row whose key another transaction took is left out.

    Returns:
        The keys that were inserted.
    """
    values = [connection._asdict() | {"search_text": _search_text(connection)} for connection, _ in rows]
    inserted = insert_unless_taken(database, connections.c.key, values)
    stored = [(connection, sealed) for connection, sealed in rows if connection.key in inserted]
    index_rows(database, [connection.id for connection, _ in stored])
    put_envelopes(database, {connection.id: sealed for connection, sealed in stored if sealed}, replace=False)
    return inserted


def rewrite_rows(database: DatabaseConnection, rows: Sequence[tuple[Connection, Connection, Sealed | None]]) -> None:
    """Write connections that this transaction has locked: as each was, as it shall be, and envelopes where given."""
    if not rows:
        return
    values = [
        {name: getattr(after, name) for name in _REWRITTEN} | {"row_id": after.id, "search_text": _search_text(after)}
        for _, after, _ in rows
    ]
    renamed = [after.id for before, after, _ in rows if _search_text(before) != _search_text(after)]
    unindex_rows(database, renamed)
    database.execute(_REWRITE, values)
    index_rows(database, renamed)
    put_envelopes(database, {after.id: sealed for _, after, sealed in rows if sealed}, replace=True)


def _search_text(connection: Connection) -> str:
    return search_text(connection.key, connection.name, connection.description)
