"""The audit trail: who did what to which connection. Append-only: this module adds and reads, and nothing changes rows.

An entry is written in the transaction of the change it tells of. It names fields and never holds a value.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from connectory.store.inserting import insert_rows
from connectory.store.paging import load_page, paged
from connectory.store.search import storable
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


def append(database: Connection, *entries: AuditEntry) -> None:
    """Add entries, in order, with one statement."""
    insert_rows(database, audit, [_values(entry) for entry in entries])


def list_entries(
    database: Connection,
    *,
    connection_id: str | None = None,
    connection_key: str | None = None,
    action: str | None = None,
    page: int = 1,
    size: int = 50,
) -> tuple[list[AuditEntry], int]:
    """One page of the trail, newest first, and how many entries there are in all.

    Args:
        connection_id: only of this connection, deleted or not.
        connection_key: only of connections that have, or had, this key.
        action: only of this action.
        page: from 1, of any magnitude; past the end there are no entries.
        size: entries to a page, at least 1.
    """
    given = {"connection_id": connection_id, "connection_key": connection_key, "action": action}
    wanted = {name: value for name, value in given.items() if value is not None}
    if not all(map(storable, wanted.values())):
        return [], 0
    condition = [audit.c[name] == value for name, value in wanted.items()]
    count = select(func.count()).select_from(audit).where(*condition)
    newest_first = paged(select(audit).where(*condition).order_by(audit.c.id.desc()))
    rows, total = load_page(database, count, lambda _: newest_first, page=page, size=size)
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
        "changed_fields": _names(tuple(entry.changed_fields)),
        "kid": entry.kid,
        "result_code": entry.result_code,
        "request_id": entry.request_id,
    }


@lru_cache(maxsize=256)
def _names(names: tuple[str, ...]) -> str:
    # The entries of a bulk request mostly say the same.
    return json.dumps(names)
