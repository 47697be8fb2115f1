"""Turns: of all tests on all nodes, one at a time uses a connection's tokens. Providers revoke a refresh token that comes twice.

A queue in the store, in which each place ends by itself: a node that has died holds nobody up for longer than that. No
transaction stays open during a test. Who comes to its turn removes what has ended, so who finds its own place gone knows
that others may have gone on from the same tokens, and that what it holds must not replace theirs.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from connectory.store.envelopes import SealedTokens, load_tokens, lock_secrets, put_tokens
from connectory.store.tables import token_turns
from connectory.store.timestamps import database_now

_OF_CONNECTION = token_turns.c.connection_id == bindparam("connection")
_OWN = token_turns.c.id == bindparam("own")
_END = delete(token_turns).where(_OWN)
_END_ALL = delete(token_turns).where(_OF_CONNECTION)
_END_OVERDUE = _END_ALL.where(token_turns.c.ends_at <= bindparam("now"))
_QUEUE = (
    select(token_turns.c.id, token_turns.c.number)
    .where(_OF_CONNECTION, token_turns.c.ends_at > bindparam("now"))
    .order_by(token_turns.c.number)
)
_KEEP = update(token_turns).where(_OWN)


@dataclass(frozen=True, slots=True)
class Turn:
    """A place in the queue for one connection's tokens.

    Attributes:
        id: random; what `renew_tokens` and `end` know it by.
        secrets_version: of the secrets that the tokens belong to.
    """

    connection_id: str
    secrets_version: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


def queue_up(database: Connection, turn: Turn, *, waits: timedelta, lasts: timedelta) -> bool | None:
    """Begin the turn, if nobody is before it in the queue; else take a place there, where it has none yet.

    Whoever is overdue is removed.

    Args:
        waits: how long the place is kept.
        lasts: how long nobody else begins once the turn has begun.

    Returns:
        Whether it has begun. None if other secrets are stored than those of the turn, or the connection was deleted.
    """
    if lock_secrets(database, turn.connection_id) != turn.secrets_version:
        return None
    now = database_now(database)
    asked = {"connection": turn.connection_id, "now": now}
    database.execute(_END_OVERDUE, asked)
    queue = database.execute(_QUEUE, asked).all()
    first = not queue or queue[0].id == turn.id
    ends = {"ends_at": now + (lasts if first else waits)}
    if any(place.id == turn.id for place in queue):
        database.execute(_KEEP, {"own": turn.id, **ends})
    else:
        number = queue[-1].number + 1 if queue else 1
        place = {"id": turn.id, "connection_id": turn.connection_id, "number": number}
        database.execute(insert(token_turns), {**place, **ends})
    return first


def is_worth_trying(database: Connection, turn: Turn) -> bool:
    """Whether `queue_up` would change something: the place is the first one by now, or is gone. Only reads."""
    queue = database.execute(_QUEUE, {"connection": turn.connection_id, "now": database_now(database)}).all()
    return queue[0].id == turn.id if any(place.id == turn.id for place in queue) else True


def end(database: Connection, turn: Turn) -> bool:
    """Give the place up; False if it was taken away."""
    return database.execute(_END, {"own": turn.id}).rowcount == 1


def renew_tokens(database: Connection, turn: Turn, sealed: SealedTokens) -> bool:
    """Replace the tokens by those that a test was given in its turn, which ends.

    Neither the connection's version nor its last test changes.

    Returns:
        False if the turn was taken away, or other secrets were stored since; then nothing is stored.
    """
    current = lock_secrets(database, turn.connection_id) == turn.secrets_version
    if not end(database, turn) or not current:
        return False
    return put_tokens(database, turn.connection_id, sealed)


def store_first_tokens(database: Connection, connection_id: str, sealed: SealedTokens, *, secrets_version: int) -> bool:
    """Store the tokens of a test that began when there were none: it had no turn.

    Returns:
        False if there are some by now, or other secrets were stored since; then nothing is stored.
    """
    if lock_secrets(database, connection_id) != secrets_version or load_tokens(database, connection_id) is not None:
        return False
    return put_tokens(database, connection_id, sealed)


def replace_tokens(database: Connection, connection_id: str, sealed: SealedTokens, *, secrets_version: int) -> bool:
    """Store the tokens of a new consent. Whatever tests renew from the older ones is worth nothing any more: their turns end.

    Neither the connection's version nor its last test changes.

    Returns:
        False if other secrets were stored since, or none are, or the connection was deleted; then nothing is stored.
    """
    if lock_secrets(database, connection_id) != secrets_version:
        return False
    database.execute(_END_ALL, {"connection": connection_id})
    return put_tokens(database, connection_id, sealed)
