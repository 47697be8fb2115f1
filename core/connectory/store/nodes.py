"""The nodes that run: which keys each holds, by a heartbeat. So that no key is promoted that one of them lacks.

Ages are measured by the database's clock, since those of machines differ.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from connectory.store.tables import nodes
from connectory.store.timestamps import database_now
from connectory.vault import KeyRing

HEARTBEAT = 10
"""Seconds between two heartbeats of a node."""

MAX_AGE = timedelta(minutes=2)
"""A node that was not heard of for so long has ended, or was cut off: many heartbeats may fail."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that was heard of within `MAX_AGE`.

    Attributes:
        name: for people: host and process id.
        primary: id of the key that it seals with.
        fingerprints: of each key that it holds, by key id.
        seen_at: its last heartbeat, by the database's clock.
        age: since then.
    """

    id: str
    name: str
    primary: str
    fingerprints: Mapping[str, str]
    seen_at: datetime
    age: timedelta


def beat(database: Connection, node_id: str, name: str, ring: KeyRing) -> None:
    """Say that a node runs, and what it holds; forget the nodes that have ended without saying so.

    Args:
        node_id: unique to one run of one process.
    """
    now = database_now(database)
    values = {
        "name": name,
        "primary_kid": ring.primary,
        "fingerprints": json.dumps(ring.fingerprints()),
        "seen_at": now,
    }
    if database.execute(update(nodes).where(nodes.c.id == node_id).values(values)).rowcount == 0:
        database.execute(insert(nodes).values({**values, "id": node_id, "started_at": now}))
    database.execute(delete(nodes).where(nodes.c.seen_at < now - MAX_AGE))


def leave(database: Connection, node_id: str) -> None:
    """Say that a node has ended."""
    database.execute(delete(nodes).where(nodes.c.id == node_id))


def running_nodes(database: Connection) -> list[Node]:
    """The nodes that run, by name."""
    now = database_now(database)
    found = database.execute(select(nodes).where(nodes.c.seen_at >= now - MAX_AGE).order_by(nodes.c.name, nodes.c.id))
    return [
        Node(
            row.id,
            row.name,
            row.primary_kid,
            json.loads(row.fingerprints),
            row.seen_at,
            max(now - row.seen_at, timedelta()),
        )
        for row in found
    ]
