"""Find entries of the audit trail, newest first. The first pages cost the same however long the trail is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, or_, select, union_all
from sqlalchemy.engine import Connection

from connectory.store.audit import ACTIONS, AuditEntry
from connectory.store.search import storable
from connectory.store.tables import audit

MOST_COUNTED = 10_000
"""Entries that are counted, and paged through. Counting a million takes a tenth of a second, and finding their last page too."""

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to find: those for which all that is given holds. An index serves each alone.

    Attributes:
        actions: one of these; None for any.
        connection_key: of connections that have, or had, this key.
        since: not older than this.
        until: older than this.
    """

    actor: str | None = None
    actions: Sequence[str] | None = None
    connection_key: str | None = None
    object: str | None = None
    result_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def matching_actions(pattern: str) -> tuple[str, ...]:
    """The actions of a name, or of a beginning with `*` after it, like `key*`; empty if there are none."""
    if pattern.endswith("*"):
        return tuple(action for action in ACTIONS if action.startswith(pattern[:-1]))
    return (pattern,) if pattern in ACTIONS else ()


def list_entries(
    database: Connection, wanted: Wanted | None = None, *, page: int = 1, size: int = 50
) -> tuple[list[AuditEntry], int]:
    """One page, and how many entries there are, counted up to `MOST_COUNTED`. Needs a transaction that sees one state.

    Args:
        page: from 1, of any magnitude. One past the end, or past what is counted, is empty.
        size: entries to a page, at least 1.
    """
    wanted = wanted or Wanted()
    if not _can_match(wanted):
        return [], 0
    total: int = min(database.execute(_count(wanted)).scalar_one(), MOST_COUNTED)
    skipped = (page - 1) * size
    if skipped >= total:
        return [], total
    rows = database.execute(_newest(wanted, min(skipped + size, total)).offset(skipped))
    return [_entry(row) for row in rows], total


def newest_entries(database: Connection, wanted: Wanted, most: int) -> Iterator[AuditEntry]:
    """The newest `most` entries, read some at a time."""
    before: AuditEntry | None = None
    while most > 0 and _can_match(wanted):
        size = min(most, _BATCH)
        rows = database.execute(_newest(wanted, size, before)).all()
        entries = [_entry(row) for row in rows]
        yield from entries
        if len(entries) < size:
            return
        most -= size
        before = entries[-1]


def _can_match(wanted: Wanted) -> bool:
    if wanted.actions == ():
        return False
    texts = wanted.actor, wanted.connection_key, wanted.object, wanted.result_code
    return all(storable(text) for text in (*texts, *(wanted.actions or ())) if text is not None)


def _newest(wanted: Wanted, most: int, before: AuditEntry | None = None) -> Select[Any]:
    # Each action by itself and then the newest of all: a database asked for several at once sorts all that they have.
    order = audit.c.at.desc(), audit.c.id.desc()
    later = [] if before is None else [_is_before(before)]
    branches = [
        select(select(audit).where(*each, *later).order_by(*order).limit(most).subquery()) for each in _branches(wanted)
    ]
    found = union_all(*branches).subquery()
    return select(found).order_by(found.c.at.desc(), found.c.id.desc()).limit(most)


def _count(wanted: Wanted) -> Select[Any]:
    counts = []
    for each in _branches(wanted):
        some = select(audit.c.id).where(*each).limit(MOST_COUNTED).subquery()
        counts.append(select(func.count()).select_from(some).scalar_subquery())
    return select(reduce(add, counts))


def _branches(wanted: Wanted) -> list[list[ColumnElement[bool]]]:
    names = ("actor", "connection_key", "object", "result_code")
    given = {name: getattr(wanted, name) for name in names}
    common = [audit.c[name] == value for name, value in given.items() if value is not None]
    common += [audit.c.at >= wanted.since] if wanted.since is not None else []
    common += [audit.c.at < wanted.until] if wanted.until is not None else []
    if wanted.actions is None:
        return [common]
    return [[*common, audit.c.action == action] for action in wanted.actions]


def _is_before(entry: AuditEntry) -> ColumnElement[bool]:
    older = or_(audit.c.at < entry.at, audit.c.id < entry.id)
    return (audit.c.at <= entry.at) & older


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        actor=row.actor,
        action=row.action,
        connection_id=row.connection_id,
        connection_key=row.connection_key,
        changed_fields=tuple(json.loads(row.changed_fields)),
        kid=row.kid,
        result_code=row.result_code,
        request_id=row.request_id,
        client_request_id=row.client_request_id,
        object=row.object,
        details=json.loads(row.details) if row.details is not None else {},
        id=row.id,
    )
