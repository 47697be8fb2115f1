"""The audit trail: who did what to which connection. Append-only: this module adds and reads, and nothing changes rows.

An entry is written in the transaction of the change it tells of. It names fields and never holds a value.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.store.tables import audit


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        actor: id of the client that asked for it, or the command that did it.
        action: one word, like "created", "secrets_set", "rotated".
        changed_fields: names, never values.
        kid: id of the key that was used, for actions on secrets.
        result_code: outcome, like a failed test's code.
        request_id: of the HTTP request.
    """

    at: datetime
    actor: str
    action: str
    connection_id: str | None = None
    connection_key: str | None = None
    changed_fields: Sequence[str] = ()
    kid: str | None = None
    result_code: str | None = None
    request_id: str | None = None


def append(database: DatabaseConnection, *entries: AuditEntry) -> None:
    """Add entries, in order, with one statement."""
    if entries:
        database.execute(insert(audit), [_values(entry) for entry in entries])


def list_entries(
    database: DatabaseConnection, *, connection_id: str | None = None, page: int = 1, size: int = 50
) -> tuple[list[AuditEntry], int]:
    """One page of the trail, newest first, and how many entries there are in all.

    Args:
        connection_id: only of this connection, deleted or not.
        page: from 1, of any magnitude; past the end there are no entries.
        size: entries to a page, at least 1.
    """
    condition = [] if connection_id is None else [audit.c.connection_id == connection_id]
    total: int = database.execute(select(func.count()).select_from(audit).where(*condition)).scalar_one()
    skipped = (page - 1) * size
    if skipped >= total:  # also keeps a number that no database could take away from it
        return [], total
    rows = database.execute(select(audit).where(*condition).order_by(audit.c.id.desc()).limit(size).offset(skipped))
    return [
        AuditEntry(
            at=row.at,
            actor=row.actor,
            action=row.action,
            connection_id=row.connection_id,
            connection_key=row.connection_key,
            changed_fields=tuple(json.loads(row.changed_fields)),
            kid=row.kid,
            result_code=row.result_code,
            request_id=row.request_id,
        )
        for row in rows
    ], total


def _values(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "connection_id": entry.connection_id,
        "connection_key": entry.connection_key,
        "changed_fields": json.dumps(list(entry.changed_fields)),
        "kid": entry.kid,
        "result_code": entry.result_code,
        "request_id": entry.request_id,
    }
