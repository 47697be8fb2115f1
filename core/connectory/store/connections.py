"""Stored connections: the record of one, and how one is found, deleted, given secrets, and tested.

They are created and changed by `bulk_save.save_connections` and listed by `listing.list_connections`. A record never holds
an envelope. Those are fetched by `envelopes.load_envelopes` only, so no listing, repr or error can carry one.
"""

import re
from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, literal_column, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.engine import Connection

from connectory.store.asked import asked, is_asked
from connectory.store.envelopes import Sealed, put_envelopes
from connectory.store.prepared import Prepared
from connectory.store.search import storable, unindex_rows
from connectory.store.tables import connections

KEY_PATTERN = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,200}")
"""A valid key, to be used with `fullmatch`. `.` and `..` are left out because a URL path cannot carry them."""

RESERVED_KEYS = frozenset({"summary"})
"""Keys that a new connection cannot have: at their path `GET` answers something else. One that has such a key keeps it."""

EDITABLE = frozenset({"name", "access", "disabled", "description"})
"""The fields that a stored connection can change."""


class StoredConnection(NamedTuple):
    """One stored connection, without secrets. A named tuple, because a page of them is made for every listing.

    Attributes:
        id: UUID that never changes; envelopes are bound to it. Not shown to users.
        key: what users call it by; unique, case-sensitive.
        system_type: the connector's type when the connection was created.
        distribution: who shipped the connector when the connection was created, like "connectory-postgres".
        access: "read" or "write".
        version: 1, and one more for every change of fields or secrets. A test does not change it.
        secrets_version: 0 until secrets are stored, and one more each time they are.
        secrets_kid: id of the key that sealed the secrets, None where there are none.
        last_test_timestamp, last_test_succeeded: of the last test of the secrets stored now; None if untested.
            `detail.get_detail` tells how it went.
        last_failure_code: why it failed; to be looked at only where it did.
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
    last_failure_code: str | None = None

    @property
    def has_secrets(self) -> bool:
        """Whether secrets are stored, readable or not."""
        return self.secrets_kid is not None


COLUMNS = [connections.c[name] for name in StoredConnection._fields]
"""What to select, in the order in which `StoredConnection(*row)` takes it."""

_SELECT = select(*COLUMNS)
_BY_KEY = Prepared(_SELECT.where(connections.c.key == bindparam("key")))
_BY_ID = Prepared(_SELECT.where(connections.c.id == bindparam("connection_id")))

# As text, with constants and not parameters: databases use an index on an expression only for the same expression.
_FORM: ColumnElement[str] = literal_column("replace(replace(lower(connections.key), '-', ''), '_', '')")
_SIMILAR = (
    select(connections.c.key)
    .where(bindparam("form") == _FORM, connections.c.key != bindparam("key"))
    .order_by(connections.c.key)
    .limit(1)
)
_STORE_SECRETS = (
    update(connections)
    .where(connections.c.id == bindparam("row_id"))
    .values(
        secrets_kid=bindparam("kid"),
        secrets_version=connections.c.secrets_version + 1,
        secrets_updated_at=bindparam("now"),
        version=connections.c.version + 1,
        updated_at=bindparam("now"),
        last_test_timestamp=None,
        last_test_succeeded=None,
        last_failure_code=None,
        last_test_report=None,
    )
    .returning(*COLUMNS)
)
_STORE_ANYWAY = Prepared(_STORE_SECRETS)
_STORE_MERGED = Prepared(_STORE_SECRETS.where(connections.c.secrets_version == bindparam("expected")))
_STORE_UNCHANGED = Prepared(_STORE_SECRETS.where(connections.c.version == bindparam("expected")))
_RECORD_TEST = Prepared(
    update(connections)
    .where(connections.c.id == bindparam("row_id"), connections.c.secrets_version == bindparam("tested"))
    .values(
        last_test_timestamp=bindparam("at"),
        last_test_succeeded=bindparam("succeeded"),
        last_failure_code=bindparam("failure_code"),
        last_test_report=bindparam("report"),
    )
)


def get_by_key(database: Connection, key: str) -> StoredConnection | None:
    """The connection of exactly this key, or None."""
    if not storable(key):
        return None
    return _connection(_BY_KEY.first(database, {"key": key}))


def get_by_id(database: Connection, connection_id: str) -> StoredConnection | None:
    """The connection of this identity, or None."""
    return _connection(_BY_ID.first(database, {"connection_id": connection_id}))


def find_by_keys(database: Connection, keys: Collection[str]) -> dict[str, StoredConnection]:
    """The stored connections among these keys, by key."""
    return _found(database, _by_keys(database.dialect.name), keys)


def lock_by_keys(database: Connection, keys: Collection[str]) -> dict[str, StoredConnection]:
    """The stored connections among these keys, by key, locked until the transaction ends.

    They are locked in the order of their keys, so that two transactions with common keys wait and do not deadlock.
    """
    return _found(database, _by_keys(database.dialect.name, lock=True), keys)


def _found(database: Connection, statement: Prepared, keys: Collection[str]) -> dict[str, StoredConnection]:
    rows = statement.all(database, asked(keys))
    return {row.key: row for row in map(StoredConnection._make, rows)}


@cache
def _by_keys(dialect: str, *, lock: bool = False) -> Prepared:
    statement = _SELECT.where(is_asked(connections.c.key, dialect)).order_by(connections.c.key)
    return Prepared(statement.with_for_update(of=connections) if lock else statement)


def find_similar_key(database: Connection, key: str) -> str | None:
    """A stored key that differs from this one only by case, `-` or `_`; None if there is none."""
    if not storable(key):
        return None
    # Keys are ASCII, so Python and both databases agree on their lower case.
    form = key.lower().replace("-", "").replace("_", "")
    found: str | None = database.execute(_SIMILAR, {"form": form, "key": key}).scalar()
    return found


def delete(database: Connection, connection_id: str) -> bool:
    """Delete a connection with its secrets and datasets; False if there is none."""
    unindex_rows(database, [connection_id])
    return database.execute(delete_from(connections).where(connections.c.id == connection_id)).rowcount == 1


def store_secrets(
    database: Connection,
    connection_id: str,
    sealed: Sealed,
    *,
    now: datetime,
    expected_secrets_version: int | None = None,
    expected_version: int | None = None,
) -> StoredConnection | None:
    """Replace a connection's envelopes and forget its last test and its tokens, which were of other secrets.

    Args:
        expected_secrets_version: store only while the secrets stored are of this version. Give it when the new secrets
            were merged from the stored ones, or another's change in between is lost.
        expected_version: store only while the whole connection is of this version; the secrets then are too.

    Returns:
        The connection as it is now; None if there is none, or it or its secrets are of another version.
    """
    values = {"row_id": connection_id, "kid": sealed.kid, "now": now}
    if expected_version is not None:
        row = _STORE_UNCHANGED.first(database, {**values, "expected": expected_version})
    elif expected_secrets_version is None:
        row = _STORE_ANYWAY.first(database, values)
    else:
        row = _STORE_MERGED.first(database, {**values, "expected": expected_secrets_version})
    connection = _connection(row)
    if connection is not None:
        put_envelopes(database, {connection_id: sealed})
    return connection


def record_test(
    database: Connection,
    connection_id: str,
    *,
    secrets_version: int,
    succeeded: bool,
    failure_code: str | None = None,
    report: str,
    at: datetime,
) -> bool:
    """Store the result of a test, if the secrets it tested are still the ones stored.

    Args:
        secrets_version: of the secrets that were tested.
        failure_code: why it failed; None where it succeeded.
        report: JSON text, which `detail.get_detail` gives back.

    Returns:
        False if other secrets were stored during the test, or the connection was deleted; then nothing is recorded.
    """
    values = {
        "row_id": connection_id,
        "tested": secrets_version,
        "at": at,
        "succeeded": succeeded,
        "failure_code": failure_code,
        "report": report,
    }
    return _RECORD_TEST.run(database, values) == 1


def _connection(row: tuple[Any, ...] | None) -> StoredConnection | None:
    return None if row is None else StoredConnection._make(row)
