"""The audit trail: who did what, to what. Append-only: entries are added, and deleted when they are older than is kept.

An entry is written in the transaction of the change it tells of. It names fields and never holds a value of one. The database
itself refuses to change an entry, and to delete one that is younger than `YOUNG`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol, get_args

from sqlalchemy import delete, select
from sqlalchemy.engine import Connection

from connectory.store.engine import Store
from connectory.store.inserting import insert_rows
from connectory.store.tables import audit
from connectory.store.timestamps import utc_now

YOUNG = timedelta(days=30)
"""Entries that are younger cannot be deleted: revision 0005 has the database refuse it."""

Action = Literal[
    "authorized",
    "client_created",
    "client_deleted",
    "client_secret_rotated",
    "consent_asked",
    "consent_held",
    "console_code_exchanged",
    "console_code_issued",
    "created",
    "database_upgraded",
    "dataset_deleted",
    "datasets_saved",
    "deleted",
    "discovered",
    "draft_tested",
    "egress_checked",
    "key_added",
    "key_created",
    "key_promoted",
    "key_removed",
    "keys_reloaded",
    "keys_rewrapped",
    "login_failed",
    "rotated",
    "schedule_deleted",
    "schedule_set",
    "secrets_repaired",
    "secrets_set",
    "service_started",
    "tested",
    "token_issued",
    "tokens_revoked",
    "updated",
    "webhook_deleted",
    "webhook_set",
]
ACTIONS: tuple[str, ...] = get_args(Action)
"""Every action that an entry can tell of."""

_BATCH, _BATCHES = 500, 20
_LONGEST = 500
"""Characters of a text in `details`."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done.

    Attributes:
        actor: id of the client that asked for it, the command that did it, `serve`, or `unknown`.
        changed_fields: names, never values.
        kid: id of the key that was used, for actions on secrets.
        result_code: the HTTP status, or the failure code of a test; `succeeded` for what was not asked for by HTTP.
        request_id: of the HTTP request, made by the service.
        client_request_id: what the caller sent as `X-Request-ID`.
        object: what it was done to, where that is not a connection: id of a client or of a key.
        details: more, like the address that a login came from; nothing that is secret.
        id: number of the entry; None until it is stored.
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
    client_request_id: str | None = None
    object: str | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)
    id: int | None = field(default=None, compare=False)


class _Named(Protocol):
    """A connection, as an entry names it."""

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str: ...


class Actor(NamedTuple):
    """Who does something, and in which request.

    Attributes:
        id: of a client; or a command, like `keys add`.
        request_id, client_request_id: see `AuditEntry`.
        user: account of the operating system that runs a command.
    """

    id: str
    request_id: str | None = None
    client_request_id: str | None = None
    user: str | None = None

    def did(
        self,
        action: Action,
        connection: _Named | None = None,
        changed_fields: Sequence[str] = (),
        *,
        result_code: str = "succeeded",
        at: datetime | None = None,
        kid: str | None = None,
        object: str | None = None,  # noqa: A002 — the name of the column
        details: Mapping[str, str | int] | None = None,
    ) -> AuditEntry:
        """The entry for it, for `append`. All but the arguments below are described at `AuditEntry`.

        Args:
            connection: that it was done to.
            at: when. Default: now.
            details: texts are cut to 500 characters.
        """
        told = {**({} if self.user is None else {"user": self.user}), **(details or {})}
        return AuditEntry(
            at or utc_now(),
            self.id,
            action,
            None if connection is None else connection.id,
            None if connection is None else connection.key,
            changed_fields,
            kid,
            result_code,
            self.request_id,
            self.client_request_id,
            object,
            {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in told.items()},
        )


def append(database: Connection, *entries: AuditEntry) -> None:
    """Add entries, in order, with one statement."""
    insert_rows(database, audit, [_values(entry) for entry in entries])


def purge(store: Store, *, before: datetime) -> None:
    """Delete entries older than `before`, oldest first: some at a time, so that nobody waits, and at most 10,000.

    Several nodes may do so at once; they take different entries.
    """
    oldest = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(_BATCH)
    statement = delete(audit).where(audit.c.id.in_(oldest.with_for_update(skip_locked=True)))
    for _ in range(_BATCHES):
        if store.write_again(lambda database: database.execute(statement).rowcount) < _BATCH:
            return


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
        "client_request_id": entry.client_request_id,
        "object": entry.object,
        "details": json.dumps(dict(entry.details)) if entry.details else None,
    }


@lru_cache(maxsize=256)
def _names(names: tuple[str, ...]) -> str:
    # The entries of a bulk request mostly say the same.
    return json.dumps(names)
