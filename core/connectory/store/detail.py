"""One connection with all that is shown of it, in one statement: a third of the time that one for each part takes."""

from dataclasses import dataclass, field

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from connectory.store.connections import COLUMNS, StoredConnection
from connectory.store.prepared import Prepared
from connectory.store.search import storable
from connectory.store.tables import connection_secrets, connections


@dataclass(frozen=True, slots=True)
class ConnectionDetail:
    """A stored connection, and what belongs to it.

    Attributes:
        masked: the envelope of its secrets with the sensitive ones masked; None where none are stored.
        authorized: tokens are stored that were obtained with these secrets.
        last_test: the report of the last test of these secrets, as `record_test` was given it; None if untested.
    """

    connection: StoredConnection
    masked: str | None = field(repr=False)
    authorized: bool
    last_test: str | None


_DETAIL = Prepared(
    select(
        *COLUMNS,
        connections.c.last_test_report,
        connection_secrets.c.masked_sealed,
        connection_secrets.c.tokens_sealed.is_not(None),
    )
    .outerjoin_from(connections, connection_secrets)
    .where(connections.c.key == bindparam("key"))
)


def get_detail(database: Connection, key: str) -> ConnectionDetail | None:
    """The connection of exactly this key, or None."""
    values = _DETAIL.first(database, {"key": key}) if storable(key) else None
    if values is None:
        return None
    last_test, masked, authorized = values[len(COLUMNS) :]
    return ConnectionDetail(StoredConnection._make(values[: len(COLUMNS)]), masked, authorized, last_test)
