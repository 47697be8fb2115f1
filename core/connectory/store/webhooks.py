"""Webhooks: where changes of verdicts are told, with what they are signed, and what has still to be told.

An event is written in the transaction of the verdict that it is about, and is there until it was told or given up. It is
claimed as what is due by schedule is: by one conditional UPDATE, for a time by the clock that the nodes share.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from connectory.store.envelopes import lock_secrets
from connectory.store.tables import webhook_events, webhooks
from connectory.vault import Vault

_TABLE, _COLUMN = "webhooks", "secret_sealed"


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """The envelope of a webhook's secret, and the id of the key that sealed it."""

    envelope: str = field(repr=False)
    kid: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook, without its secret.

    Attributes:
        pending: events that have still to be told.
        last_delivery: JSON object: what `settle` was given last; `None` where nothing was told yet.
    """

    url: str
    updated_at: datetime
    last_delivery: str | None
    pending: int


@dataclass(frozen=True, slots=True)
class DueEvent:
    """What this node has claimed.

    Attributes:
        body: JSON object, to be sent as it is.
        attempts: that failed.
        holder: what `settle` knows the claim by.
        url, secret: of the webhook as it is now.
    """

    id: str
    connection_id: str
    body: str
    attempts: int
    holder: str
    url: str
    secret: str = field(repr=False)


_OF_CONNECTION = webhooks.c.connection_id == bindparam("owner")
_PENDING = (
    select(func.count())
    .select_from(webhook_events)
    .where(webhook_events.c.connection_id == webhooks.c.connection_id)
    .scalar_subquery()
)
_GET = select(webhooks.c.url, webhooks.c.updated_at, webhooks.c.last_delivery, _PENDING).where(_OF_CONNECTION)
_FREE = or_(webhook_events.c.held_until.is_(None), webhook_events.c.held_until <= bindparam("now"))
_TAKEN = (
    select(webhook_events.c.id)
    .where(webhook_events.c.due_at <= bindparam("now"), _FREE)
    .order_by(webhook_events.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("taken")  # see `schedules`
)
_CLAIM = (
    update(webhook_events)
    .where(webhook_events.c.id.in_(select(_TAKEN.c.id)))
    .values(holder=bindparam("by"), held_until=bindparam("until"))
    .returning(webhook_events.c.id)
)
_CLAIMED = (
    select(
        webhook_events.c.id,
        webhook_events.c.connection_id,
        webhook_events.c.body,
        webhook_events.c.attempts,
        webhook_events.c.holder,
        webhooks.c.url,
        webhooks.c.secret_sealed,
    )
    .join_from(webhook_events, webhooks)
    .where(webhook_events.c.id.in_(bindparam("ids", expanding=True)))
)
_COUNT = select(func.count(), func.count().filter(webhook_events.c.due_at <= bindparam("now"), _FREE)).select_from(
    webhook_events
)
_HELD = webhook_events.c.id == bindparam("own"), webhook_events.c.holder == bindparam("by")
_TOLD = (
    update(webhooks)
    .where(_OF_CONNECTION, select(webhook_events.c.id).where(*_HELD).exists())
    .values(last_delivery=bindparam("told"))
)


def seal_secret(vault: Vault, connection_id: str, secret: bytes) -> SealedSecret:
    """Seal the secret of a connection's webhook, with the primary key."""
    pinned = vault.pinned()
    envelope = pinned.seal(secret, table=_TABLE, row_id=connection_id, column=_COLUMN)
    return SealedSecret(envelope, pinned.ring.primary)


def open_secret(vault: Vault, connection_id: str, envelope: str) -> bytes:
    """The secret of a connection's webhook.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=connection_id, column=_COLUMN)


def put_webhook(database: Connection, connection_id: str, url: str, secret: SealedSecret, *, now: datetime) -> bool:
    """Replace the webhook of a connection. What has still to be told is told to the new one.

    Returns:
        False if there is no such connection.
    """
    if lock_secrets(database, connection_id) is None:
        return False
    values = {"url": url, "secret_sealed": secret.envelope, "secret_kid": secret.kid, "updated_at": now}
    changed = update(webhooks).where(webhooks.c.connection_id == connection_id).values(**values, last_delivery=None)
    if database.execute(changed).rowcount == 0:
        database.execute(insert(webhooks).values(connection_id=connection_id, **values))
    return True


def get_webhook(database: Connection, connection_id: str) -> Webhook | None:
    """The webhook of a connection, or None."""
    row = database.execute(_GET, {"owner": connection_id}).one_or_none()
    return None if row is None else Webhook(*tuple(row))


def delete_webhook(database: Connection, connection_id: str) -> bool:
    """Tell nothing of a connection any more, nor what has still to be told; False if nothing was told."""
    lock_secrets(database, connection_id)  # so that nobody adds an event meanwhile
    return database.execute(delete(webhooks).where(webhooks.c.connection_id == connection_id)).rowcount == 1


def add_event(database: Connection, connection_id: str, event_id: str, body: str, *, now: datetime) -> bool:
    """Have a webhook told something, in a transaction that has locked the connection; False where it has none."""
    if get_webhook(database, connection_id) is None:
        return False
    values = {"id": event_id, "connection_id": connection_id, "body": body, "attempts": 0, "due_at": now}
    database.execute(insert(webhook_events).values(values))
    return True


def count_events(database: Connection, *, now: datetime) -> tuple[int, int]:
    """How many events there are, and how many of them could be claimed now. Only reads."""
    total, due = database.execute(_COUNT, {"now": now}).one()
    return total, due


def claim_events(database: Connection, most: int, *, now: datetime, lasts: timedelta) -> list[DueEvent]:
    """Claim what is due: the longest due first.

    Args:
        most: events, at least 1.
        lasts: how long nobody else claims them.
    """
    holder = str(uuid.uuid4())
    claimed = database.execute(_CLAIM, {"now": now, "most": most, "by": holder, "until": now + lasts}).scalars().all()
    return [DueEvent(*tuple(row)) for row in database.execute(_CLAIMED, {"ids": claimed})] if claimed else []


def settle(database: Connection, event: DueEvent, told: str, *, again_at: datetime | None) -> bool:
    """Say how an attempt ended, if the event is still held by it.

    Args:
        told: JSON object, for people: the webhook's last delivery.
        again_at: when to try again; `None` where it was told, or is given up.

    Returns:
        False if another has it by now, or the webhook is gone.
    """
    held = {"own": event.id, "by": event.holder}
    # The webhook first, as who deletes it: two transactions wait and do not deadlock.
    if database.execute(_TOLD, {**held, "owner": event.connection_id, "told": told}).rowcount == 0:
        return False
    if again_at is None:
        database.execute(delete(webhook_events).where(*_HELD), held)
    else:
        again = {"attempts": event.attempts + 1, "due_at": again_at, "holder": None, "held_until": None}
        database.execute(update(webhook_events).where(*_HELD).values(again), held)
    return True
