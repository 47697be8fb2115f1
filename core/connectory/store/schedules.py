"""Schedules: what is done of a connection again and again, when it is due, and which node does it.

A due item is claimed by one conditional UPDATE, which names a holder and until when it is held. No transaction stays open
while it runs. Who has run it says when it is due next; where that never comes, another node claims it once it is held no
more. All times are by the clock that the nodes share.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from connectory.store.envelopes import lock_secrets
from connectory.store.tables import connections, schedules

Kind = Literal["test", "check"]
"""What is done: a test of the connection, or a check of each of its datasets."""

JITTER = 0.1
"""The part of an interval by which a connection is earlier than the whole of it, at most."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is done of one connection again and again.

    Attributes:
        every: seconds.
        due_at: when it is due next, or has been due since.
        ran_at: when it last ran; `None` where it did not yet.
    """

    kind: Kind
    every: int
    due_at: datetime
    ran_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueItem:
    """What this node has claimed.

    Attributes:
        holder: what `finish`, `keep` and `release` know the claim by.
    """

    id: str
    connection_id: str
    kind: Kind
    every: int
    since: datetime
    holder: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is due and held by nobody, and how much of it has been since `late_before`."""

    due: int
    late: int


_FREE = or_(schedules.c.held_until.is_(None), schedules.c.held_until <= bindparam("now"))
_ENABLED = select(connections.c.id).where(connections.c.id == schedules.c.connection_id, ~connections.c.disabled)
_DUE = and_(schedules.c.due_at <= bindparam("now"), _FREE, _ENABLED.exists())
_LONGEST_DUE = select(schedules.c.id).where(_DUE).order_by(schedules.c.due_at).limit(bindparam("most"))
# Of a name, so that PostgreSQL looks once: within `IN (...)` it may look again for each row, and take more than `most`.
_TAKEN = _LONGEST_DUE.with_for_update(skip_locked=True, of=schedules).cte("taken")
_CLAIM = (
    update(schedules)
    .where(schedules.c.id.in_(select(_TAKEN.c.id)))
    .values(holder=bindparam("by"), held_until=bindparam("until"))
    .returning(
        schedules.c.id,
        schedules.c.connection_id,
        schedules.c.kind,
        schedules.c.every,
        schedules.c.since,
        schedules.c.holder,
    )
)
_BACKLOG = select(func.count(), func.count().filter(schedules.c.due_at < bindparam("late_before"))).where(_DUE)
_OWN = update(schedules).where(schedules.c.id == bindparam("own"), schedules.c.holder == bindparam("by"))
_LIST = (
    select(schedules.c.kind, schedules.c.every, schedules.c.due_at, schedules.c.ran_at)
    .where(schedules.c.connection_id == bindparam("owner"))
    .order_by(schedules.c.kind.desc())
)


def next_due(connection_id: str, kind: Kind, every: int, since: datetime, now: datetime) -> datetime:
    """When something is due next: whole intervals after `since`, and up to `JITTER` of one earlier.

    By how much follows from the connection, so that a thousand whose schedules were set at once are not tested at once, nor after
    a restart. What was missed is due once and not again for each time.

    Args:
        every: seconds.
    """
    digest = sha256(f"{kind} {connection_id}".encode()).digest()
    earlier = timedelta(seconds=every * JITTER * int.from_bytes(digest[:4]) / 2**32)
    interval = timedelta(seconds=every)
    passed = (now + earlier - since) // interval
    return since + (passed + 1) * interval - earlier


def put_schedule(database: Connection, connection_id: str, every: Mapping[Kind, int], *, now: datetime) -> bool:
    """Replace what is done of a connection; what has the same interval stays as it is.

    Args:
        every: seconds, by what is done.

    Returns:
        False if there is no such connection.
    """
    if lock_secrets(database, connection_id) is None:
        return False
    kept = {one.kind for one in get_schedule(database, connection_id) if every.get(one.kind) == one.every}
    dropped = schedules.c.kind.not_in(sorted(kept))
    database.execute(delete(schedules).where(schedules.c.connection_id == connection_id, dropped))
    for kind in every.keys() - kept:
        due_at = next_due(connection_id, kind, every[kind], now, now)
        values = {"id": str(uuid.uuid4()), "connection_id": connection_id, "kind": kind, "every": every[kind]}
        database.execute(insert(schedules).values(**values, since=now, due_at=due_at))
    return True


def get_schedule(database: Connection, connection_id: str) -> list[Schedule]:
    """What is done of a connection: the test first."""
    return [Schedule(*tuple(row)) for row in database.execute(_LIST, {"owner": connection_id})]


def delete_schedule(database: Connection, connection_id: str) -> bool:
    """Do nothing of a connection any more; False if nothing was done."""
    return database.execute(delete(schedules).where(schedules.c.connection_id == connection_id)).rowcount > 0


def count_due(database: Connection, *, now: datetime, late_before: datetime) -> Backlog:
    """What could be claimed now. Only reads."""
    due, late = database.execute(_BACKLOG, {"now": now, "late_before": late_before}).one()
    return Backlog(due, late)


def claim(database: Connection, most: int, *, now: datetime, lasts: timedelta) -> list[DueItem]:
    """Claim what is due, and not of a disabled connection: the longest due first.

    Args:
        most: items, at least 1.
        lasts: how long nobody else claims them.
    """
    values = {"now": now, "most": most, "by": str(uuid.uuid4()), "until": now + lasts}
    return [DueItem(*tuple(row)) for row in database.execute(_CLAIM, values)]


def keep(database: Connection, item: DueItem, *, now: datetime, lasts: timedelta) -> bool:
    """Hold an item for longer; False if it is another's by now, or was taken back."""
    held = {"own": item.id, "by": item.holder}
    return database.execute(_OWN.values(held_until=now + lasts), held).rowcount == 1


def finish(database: Connection, item: DueItem, *, now: datetime) -> bool:
    """Say that an item has run; False if it is another's by now, or was taken back."""
    due_at = next_due(item.connection_id, item.kind, item.every, item.since, now)
    ended = _OWN.values(due_at=due_at, ran_at=now, holder=None, held_until=None)
    return database.execute(ended, {"own": item.id, "by": item.holder}).rowcount == 1


def release(database: Connection, item: DueItem, *, until: datetime) -> None:
    """Give an item back that did not run.

    Args:
        until: when it may be claimed again.
    """
    database.execute(_OWN.values(holder=None, held_until=until), {"own": item.id, "by": item.holder})
