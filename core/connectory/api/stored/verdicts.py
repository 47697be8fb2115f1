"""Keep the verdicts of tests and checks, whoever asked for them."""

from __future__ import annotations

import secrets

import orjson
from sqlalchemy.engine import Connection

from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.timestamps import database_now
from connectory.store.verdicts import Outcome, Verdict, record_verdict
from connectory.store.webhooks import add_event

SCHEDULE = Actor("schedule")
"""Who asks for what runs by schedule. What it does is in the history, and not in the audit trail, where people are."""


def asked_by(who: Actor) -> str | None:
    """Who asked for a verdict, as the history has it; `None` for a schedule."""
    return None if who is SCHEDULE else who.id


def keep_verdict(database: Connection, connection: StoredConnection, verdict: Verdict) -> None:
    """Add a verdict to the history, in a transaction that has locked the connection, with the secrets that the verdict is of.

    Where it is another one than the last of the same secrets, the connection's webhook is to be told.
    """
    before = record_verdict(database, connection.id, verdict)
    if before is not None:
        event_id = f"e_{secrets.token_hex(16)}"
        body = _event(event_id, connection.key, before, verdict)
        add_event(database, connection.id, event_id, body, now=database_now(database))


def _event(event_id: str, key: str, before: Outcome, verdict: Verdict) -> str:
    """What a webhook is told: nothing that a driver or a server said."""
    told = {
        "id": event_id,
        "connection_key": key,
        "kind": verdict.kind,
        "dataset": verdict.dataset or None,
        "before": before,
        "after": verdict.outcome,
        "failure_code": verdict.failure_code,
        "at": verdict.at,
        "link": f"/api/v1/connection/{key}/history",
    }
    return orjson.dumps(told).decode()
