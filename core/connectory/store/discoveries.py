"""Discoveries of connections: what was found, or that it is still looked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from connectory.store.connections import get_by_id
from connectory.store.tables import discoveries

MOST_KEPT = 5
"""Discoveries of a connection that are kept. Each may have megabytes."""


@dataclass(frozen=True, slots=True)
class StoredDiscovery:
    """A discovery.

    Attributes:
        id: unguessable, and known to whoever asked for it.
        started_at: when it was asked for.
        report: JSON text; `None` while it is looked for.
    """

    id: str
    started_at: datetime
    report: str | None


_GET = select(discoveries.c.id, discoveries.c.started_at, discoveries.c.report).where(
    discoveries.c.connection_id == bindparam("owner"), discoveries.c.id == bindparam("id")
)
_DONE = (
    select(discoveries.c.id)
    .where(
        discoveries.c.connection_id == bindparam("owner"),
        discoveries.c.secrets_version == bindparam("version"),
        discoveries.c.report.is_not(None),
    )
    .order_by(discoveries.c.started_at.desc(), discoveries.c.id)
)
_KEPT = (
    select(discoveries.c.id)
    .where(discoveries.c.connection_id == bindparam("owner"))
    .order_by(discoveries.c.started_at.desc(), discoveries.c.id)
    .limit(MOST_KEPT - 1)
)
_DROP = delete(discoveries).where(
    discoveries.c.connection_id == bindparam("owner"), discoveries.c.id.not_in(_KEPT.scalar_subquery())
)
_END = update(discoveries).where(discoveries.c.id == bindparam("this")).values(report=bindparam("found"))


def begin_discovery(
    database: Connection, connection_id: str, discovery_id: str, *, secrets_version: int, actor: str, at: datetime
) -> bool:
    """Note that a discovery has begun; the oldest of the connection go.

    Returns:
        False if the connection was deleted meanwhile.
    """
    if get_by_id(database, connection_id) is None:
        return False
    database.execute(_DROP, {"owner": connection_id})
    values = {"id": discovery_id, "connection_id": connection_id, "secrets_version": secrets_version}
    database.execute(insert(discoveries).values(**values, actor=actor, started_at=at))
    return True


def end_discovery(database: Connection, discovery_id: str, report: str) -> None:
    """Keep what was found, unless nobody can ask for it any more."""
    database.execute(_END, {"this": discovery_id, "found": report})
    if (
        database.dialect.name == "sqlite"
    ):  # whose driver keeps a statement with what it was given last: megabytes, of each thread
        database.execute(_END, {"this": "", "found": ""})


def get_discovery(database: Connection, connection_id: str, discovery_id: str) -> StoredDiscovery | None:
    """A discovery of this connection; `None` where there is none, or it was dropped for later ones."""
    row = database.execute(_GET, {"owner": connection_id, "id": discovery_id}).one_or_none()
    return None if row is None else StoredDiscovery(*tuple(row))


def reports_of(database: Connection, connection_id: str, secrets_version: int) -> Iterator[str]:
    """What was found with these secrets, as JSON texts, the newest first. Each is loaded when it is asked for."""
    for row in database.execute(_DONE, {"owner": connection_id, "version": secrets_version}).all():
        found = get_discovery(database, connection_id, row.id)
        if found is not None and found.report is not None:
            yield found.report
