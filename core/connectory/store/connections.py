"""Stored connections: list, find, create, change, delete; their envelopes and their last test.

A `Connection` never holds an envelope. Those are fetched by `load_envelopes` only, so no listing, repr or error can
carry one. Many at once are saved by `save.save_connections`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.store.connection_keys import without_case_and_joints
from connectory.store.connection_rows import (
    COLUMNS,
    EDITABLE,
    Connection,
    insert_rows,
    new_id,
    rewrite_rows,
    with_fields,
)
from connectory.store.envelopes import load_envelopes, put_envelopes
from connectory.store.errors import KeyTaken
from connectory.store.listing import Filters, TestStatus, list_connections
from connectory.store.sealed import Sealed
from connectory.store.search import storable, unindex_rows
from connectory.store.tables import connections

__all__ = [
    "EDITABLE",
    "Connection",
    "Filters",
    "TestStatus",
    "create",
    "delete",
    "find_similar_key",
    "get_by_id",
    "get_by_key",
    "list_connections",
    "load_envelopes",
    "record_test",
    "store_secrets",
    "update_fields",
]

_SELECT = select(*COLUMNS)
_BY_KEY = _SELECT.where(connections.c.key == bindparam("key"))
_BY_ID = _SELECT.where(connections.c.id == bindparam("connection_id"))
_UNTESTED = {"last_test_timestamp": None, "last_test_succeeded": None, "last_test_report": None}


def get_by_key(database: DatabaseConnection, key: str) -> Connection | None:
    """The connection of exactly this key, or None."""
    if not storable(key):
        return None
    return _connection(database.execute(_BY_KEY, {"key": key}).one_or_none())


def get_by_id(database: DatabaseConnection, connection_id: str) -> Connection | None:
    """The connection of this identity, or None."""
    return _connection(database.execute(_BY_ID, {"connection_id": connection_id}).one_or_none())


def find_similar_key(database: DatabaseConnection, key: str) -> str | None:
    """A stored key that differs from this one only by case, `-` or `_`; None if there is none."""
    if not storable(key):
        return None
    stored = connections.c.key
    form = func.replace(func.replace(func.lower(stored), "-", ""), "_", "")
    similar = select(stored).where(form == without_case_and_joints(key), stored != key).order_by(stored).limit(1)
    found: str | None = database.execute(similar).scalar()
    return found


def create(
    database: DatabaseConnection,
    *,
    key: str,
    name: str,
    connection_type: str,
    system_type: str,
    distribution: str,
    access: str,
    now: datetime,
    disabled: bool = False,
    description: str | None = None,
) -> Connection:
    """Store a new connection, without secrets.

    Raises:
        KeyTaken: the key is another connection's. The transaction can go on.
    """
    connection = Connection(
        id=new_id(),
        key=key,
        name=name,
        connection_type=connection_type,
        system_type=system_type,
        distribution=distribution,
        access=access,
        disabled=disabled,
        description=description,
        created_at=now,
        updated_at=now,
    )
    if not insert_rows(database, [(connection, None)]):
        raise KeyTaken(key)
    return connection


def update_fields(
    database: DatabaseConnection, connection_id: str, changes: Mapping[str, Any], *, now: datetime
) -> Connection | None:
    """Change the fields given and no others; None if there is no such connection.

    Args:
        changes: values by name; names are of `EDITABLE`.

    Raises:
        ValueError: a name is not of `EDITABLE`.
    """
    found = database.execute(_SELECT.where(connections.c.id == connection_id).with_for_update()).one_or_none()
    if found is None:
        return None
    before = Connection(*found)
    after = with_fields(before, changes, now=now)
    rewrite_rows(database, [(before, after, None)])
    return after


def delete(database: DatabaseConnection, connection_id: str) -> bool:
    """Delete a connection with its secrets and datasets; False if there is none."""
    unindex_rows(database, [connection_id])
    return database.execute(delete_from(connections).where(connections.c.id == connection_id)).rowcount == 1


def store_secrets(
    database: DatabaseConnection,
    connection_id: str,
    sealed: Sealed,
    *,
    now: datetime,
    expected_secrets_version: int | None = None,
) -> Connection | None:
    """Replace a connection's envelopes and forget its last test and its tokens, which were of other secrets.

    Args:
        expected_secrets_version: store only while the secrets stored are of this version. Give it when the new secrets
            were merged from the stored ones, or another's change in between is lost.

    Returns:
        The connection as it is now; None if there is none, or its secrets are of another version.
    """
    statement = update(connections).where(connections.c.id == connection_id)
    if expected_secrets_version is not None:
        statement = statement.where(connections.c.secrets_version == expected_secrets_version)
    statement = statement.values(
        secrets_kid=sealed.kid,
        secrets_version=connections.c.secrets_version + 1,
        secrets_updated_at=now,
        version=connections.c.version + 1,
        updated_at=now,
        **_UNTESTED,
    )
    connection = _connection(database.execute(statement.returning(*COLUMNS)).one_or_none())
    if connection is not None:
        put_envelopes(database, {connection_id: sealed}, replace=True)
    return connection


def record_test(
    database: DatabaseConnection,
    connection_id: str,
    *,
    secrets_version: int,
    succeeded: bool,
    report: str,
    at: datetime,
) -> bool:
    """Store the result of a test, if the secrets it tested are still the ones stored.

    Args:
        secrets_version: of the secrets that were tested.
        report: JSON text.

    Returns:
        False if other secrets were stored during the test, or the connection was deleted; then nothing is recorded.
    """
    statement = (
        update(connections)
        .where(connections.c.id == connection_id, connections.c.secrets_version == secrets_version)
        .values(last_test_timestamp=at, last_test_succeeded=succeeded, last_test_report=report)
    )
    return database.execute(statement).rowcount == 1


def _connection(row: Row[Any] | None) -> Connection | None:
    return None if row is None else Connection(*tuple(row))
