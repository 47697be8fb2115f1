"""Keep the verdicts of tests and checks, whoever asked for them."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.verdicts import Verdict, record_verdict

SCHEDULE = Actor("schedule")
"""Who asks for what runs by schedule. What it does is in the history, and not in the audit trail, where people are."""


def asked_by(who: Actor) -> str | None:
    """Who asked for a verdict, as the history has it; `None` for a schedule."""
    return None if who is SCHEDULE else who.id


def keep_verdict(database: Connection, connection: StoredConnection, verdict: Verdict) -> None:
    """Add a verdict to the history, in a transaction that has locked the connection, with the secrets that the verdict is of."""
    record_verdict(database, connection.id, verdict)
