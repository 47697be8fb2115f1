"""Save many connections in one transaction, each with its own outcome: what `PATCH /connection` does."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from anyascii import anyascii
from sqlalchemy.engine import Connection

from connectory.store.connection_rows import insert_rows, rewrite_rows
from connectory.store.connections import EDITABLE, KEY_PATTERN, RESERVED_KEYS, StoredConnection, lock_by_keys
from connectory.store.envelopes import Sealed

FailureReason = Literal["key_exists", "key_invalid", "key_reserved", "name_missing", "type_fixed"]


@dataclass(frozen=True, slots=True)
class SaveItem:
    """One connection to create or to change.

    Attributes:
        key: which connection; without it a new one is created whose key is the snake-cased name.
        connection_type, system_type, distribution: stored at creation. A stored connection's type must be the same.
        fields: the values that were given, of `name`, `access`, `disabled` and `description`. A stored connection keeps
            those left out; a new one is named after its key, is read-only, enabled and has no description.
        seal: given the connection's id, returns the envelopes of its new secrets; None leaves secrets as they are. Called
            inside the transaction and, if another one creates the key at the same moment, once more with the other id.
        new_id: the UUID of the connection, where one is created. Default: a fresh one.
    """

    key: str | None
    connection_type: str
    system_type: str
    distribution: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    seal: Callable[[str], Sealed] | None = field(default=None, repr=False)
    new_id: str | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """The connection as it is after the whole list was saved.

    Attributes:
        created: it is new.
        changed: names of what the item gave, with "secrets" if it gave any; for the audit trail.
    """

    connection: StoredConnection
    created: bool
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """An item that was not saved.

    Attributes:
        reason: "key_exists" (no key given, and the name's key is taken), "key_invalid" (no key given, and the name gives
            none that is valid), "key_reserved" (no new connection can have the key), "name_missing" (neither key nor name
            given), "type_fixed" (a stored connection is of another connection type).
        key: the key that was meant, empty if there was none.
        stored_type: for "type_fixed", the type the stored connection has.
    """

    reason: FailureReason
    key: str
    stored_type: str | None = None


@dataclass(slots=True)
class _Pending:
    """A row as this transaction will write it."""

    before: StoredConnection | None  # as it is stored, None if it is new
    connection: StoredConnection
    sealed: Sealed | None = None


class Superseded(Exception):
    """A connection was created, deleted or given secrets after the items were prepared; prepare them again."""


def save_connections(
    database: Connection,
    items: Sequence[SaveItem],
    *,
    now: datetime,
    seen: Mapping[str, StoredConnection] | None = None,
    exactly: bool = False,
) -> list[Saved | SaveFailed]:
    """Create or change one connection for each item; an item sees the ones before it.

    Key given and stored: the fields given are changed. Key given and new: created. No key: created, or failed where the
    name's key exists. Any number of items takes a few statements. A key that another transaction creates meanwhile
    counts as stored. A caller that locks connections in the same transaction before locks all of `key_of`, since two
    rounds of locks, each in order, are not in order together.

    Args:
        seen: the connections that were stored under the keys given when the items were prepared. Default: what the items
            hold does not depend on them.
        exactly: the connections have to be as they were `seen` in every respect, and not only their secrets.

    Returns:
        One outcome for each item, in order.

    Raises:
        ValueError: an item's `fields` holds something else.
        Superseded: other connections are stored than were `seen`, or they have other secrets, or with `exactly` were changed
            at all. Nothing was written.
    """
    keys = [key_of(item.key, item.fields.get("name")) for item in items]
    outcomes: list[Saved | SaveFailed | None] = [None] * len(items)
    open_items = list(range(len(items)))
    while open_items:
        pending: dict[str, _Pending] = {}
        stored = lock_by_keys(database, {keys[index] for index in open_items})
        if seen is not None and _changed_since(seen, stored, items, exactly=exactly):
            raise Superseded
        for index in open_items:
            failure = _plan(items[index], keys[index], stored, pending, now)
            if failure is not None:
                outcomes[index] = failure
        lost = _write(database, pending)
        for index in open_items:
            if outcomes[index] is None and keys[index] not in lost:
                row = pending[keys[index]]
                outcomes[index] = Saved(row.connection, row.before is None, _changed(items[index]))
        # Those whose insert met a row that was committed a moment ago start again, and now find it.
        seen = None
        open_items = [index for index in open_items if keys[index] in lost]
        for index in open_items:
            outcomes[index] = None
    return [outcome for outcome in outcomes if outcome is not None]


_DROPPED = re.compile(r"[^\w\s-]", re.ASCII)
_JOINED = re.compile(r"[\s-]+", re.ASCII)


def snake_case(name: str) -> str:
    """The key a connection gets from its name: "Application PostgreSQL DB" gives "application_postgresql_db".

    Letters of other scripts are spelled in ASCII; the result is empty where nothing can be, and is not cut to length.
    """
    text = anyascii(name).lower().strip()
    return _JOINED.sub("_", _DROPPED.sub("", text))


def key_of(key: str | None, name: str | None) -> str:
    """The key of an item: the one given, or what its name gives, which may not be valid."""
    return key if key is not None else snake_case(name or "")


def _plan(
    item: SaveItem, key: str, stored: Mapping[str, StoredConnection], pending: dict[str, _Pending], now: datetime
) -> SaveFailed | None:
    row = pending.get(key)
    if row is None and key in stored:
        row = _Pending(stored[key], stored[key])
    if item.key is None and (failure := _derived_key_failure(item, key, row)):
        return failure
    if row is None:
        if key in RESERVED_KEYS:
            return SaveFailed("key_reserved", key)
        row = _Pending(None, _new_connection(item, key, now))
    elif row.connection.connection_type != item.connection_type:
        return SaveFailed("type_fixed", key, row.connection.connection_type)
    else:
        row.connection = _with_fields(row.connection, item.fields, now)
    if item.seal is not None:
        row.sealed = item.seal(row.connection.id)
        row.connection = _with_secrets(row.connection, row.sealed.kid, now)
    pending[key] = row
    return None


def _derived_key_failure(item: SaveItem, key: str, row: _Pending | None) -> SaveFailed | None:
    if not item.fields.get("name"):
        return SaveFailed("name_missing", "")
    if not KEY_PATTERN.fullmatch(key):
        return SaveFailed("key_invalid", key)
    return None if row is None else SaveFailed("key_exists", key)


def _changed_since(
    seen: Mapping[str, StoredConnection],
    stored: Mapping[str, StoredConnection],
    items: Sequence[SaveItem],
    *,
    exactly: bool,
) -> bool:
    def identity(row: StoredConnection | None) -> tuple[str, int] | None:
        return (row.id, row.version if exactly else row.secrets_version) if row is not None else None

    return any(identity(seen.get(item.key)) != identity(stored.get(item.key)) for item in items if item.key is not None)


def _new_connection(item: SaveItem, key: str, now: datetime) -> StoredConnection:
    _refuse_unknown(item.fields)
    given = {"name": key, "access": "read", "disabled": False, "description": None, **item.fields}
    return StoredConnection(
        id=item.new_id or str(uuid.uuid4()),
        key=key,
        connection_type=item.connection_type,
        system_type=item.system_type,
        distribution=item.distribution,
        created_at=now,
        updated_at=now,
        version=1,
        **given,
    )


def _with_fields(connection: StoredConnection, changes: Mapping[str, Any], now: datetime) -> StoredConnection:
    _refuse_unknown(changes)
    return connection._replace(**changes, version=connection.version + 1, updated_at=now)


def _refuse_unknown(changes: Mapping[str, Any]) -> None:
    if unknown := changes.keys() - EDITABLE:
        raise ValueError(f"A stored connection cannot change {', '.join(sorted(unknown))}.")


def _with_secrets(connection: StoredConnection, kid: str, now: datetime) -> StoredConnection:
    return connection._replace(
        secrets_version=connection.secrets_version + 1,
        secrets_kid=kid,
        secrets_updated_at=now,
        last_test_timestamp=None,
        last_test_succeeded=None,
        last_failure_code=None,
    )


def _write(database: Connection, pending: Mapping[str, _Pending]) -> set[str]:
    """Write all rows; returns the keys whose insert lost to another transaction."""
    new = [(row.connection, row.sealed) for row in pending.values() if row.before is None]
    rewrite_rows(
        database, [(row.before, row.connection, row.sealed) for row in pending.values() if row.before is not None]
    )
    if not new:
        return set()
    return {connection.key for connection, _ in new} - insert_rows(database, new)


def _changed(item: SaveItem) -> tuple[str, ...]:
    return (*sorted(item.fields), *(["secrets"] if item.seal else []))
