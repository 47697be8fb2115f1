"""The history of a connection: a line for each verdict of a test or a check, and whether it differs from the one before."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal, cast

from sqlalchemy import Select, bindparam, delete, exists, func, insert, select
from sqlalchemy.engine import Connection

from connectory.store.engine import Store
from connectory.store.paging import load_page, paged
from connectory.store.prepared import Prepared
from connectory.store.schedules import Kind
from connectory.store.search import storable
from connectory.store.tables import verdicts

Outcome = Literal["succeeded", "failed", "fits", "drifted"]
"""A test has `succeeded` or `failed`. A dataset `fits` or has `drifted`; its check `failed` where that could not be found out."""

_BATCH, _BATCHES = 500, 20
_NO_KEY = " "  # no dataset has it


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test or a check found.

    Attributes:
        dataset: the `fides_key` of what was checked; empty for a test.
        actor: id of the client that asked for it; `None` where a schedule did.
        secrets_version: of the secrets that were used.
        failure_code: why it failed; `None` unless it did.
        elapsed_ms: how long it took, in milliseconds; `None` where that is not known.
        coverage: of a check that did not fail, in percent.
        findings: how many things of a dataset do not fit, where that was found out.
    """

    kind: Kind
    dataset: str
    at: datetime
    actor: str | None
    secrets_version: int
    outcome: Outcome
    failure_code: str | None = None
    elapsed_ms: float | None = None
    coverage: int | None = None
    findings: int | None = None


_OWN = verdicts.c.connection_id == bindparam("owner")
_NEXT = select(func.coalesce(func.max(verdicts.c.number), 0) + 1).where(_OWN).scalar_subquery()
_NAMES = tuple(field.name for field in fields(Verdict))
_COLUMNS = [verdicts.c[name] for name in _NAMES]
_APPEND = Prepared(
    insert(verdicts).values(
        connection_id=bindparam("owner"), number=_NEXT, **{name: bindparam(name) for name in _NAMES}
    )
)
_LAST = Prepared(
    select(verdicts.c.secrets_version, verdicts.c.outcome)
    .where(_OWN, verdicts.c.kind == bindparam("kind"), verdicts.c.dataset == bindparam("dataset"))
    .order_by(verdicts.c.number.desc())
    .limit(1)
)

_NEWER = verdicts.alias()
_IS_LAST = ~exists().where(
    _NEWER.c.connection_id == verdicts.c.connection_id,
    _NEWER.c.kind == verdicts.c.kind,
    _NEWER.c.dataset == verdicts.c.dataset,
    _NEWER.c.number > verdicts.c.number,
)
_OUTLIVED = (
    select(verdicts.c.connection_id, verdicts.c.number)
    .where(verdicts.c.at < bindparam("before"), ~_IS_LAST)
    .limit(_BATCH * _BATCHES)
)
_DROP = delete(verdicts).where(_OWN, verdicts.c.number == bindparam("which"))


def record_verdict(database: Connection, connection_id: str, verdict: Verdict) -> Outcome | None:
    """Add a verdict, in a transaction that has locked the connection, whose secrets are those that the verdict is of.

    Returns:
        What the last verdict on the same was, where that was of the same secrets and another one. `None`: nothing has changed.
    """
    values = {name: getattr(verdict, name) for name in _NAMES}
    subject = {"owner": connection_id, "kind": verdict.kind, "dataset": verdict.dataset}
    last = _LAST.first(database, subject)
    _APPEND.run(database, {"owner": connection_id, **values})
    if last is None:
        return None
    secrets_version, before = cast("tuple[int, Outcome]", last)
    return None if secrets_version != verdict.secrets_version or before == verdict.outcome else before


def list_verdicts(
    database: Connection,
    connection_id: str,
    *,
    kind: Kind | None = None,
    outcomes: Collection[Outcome] = (),
    dataset: str | None = None,
    page: int = 1,
    size: int = 50,
) -> tuple[list[Verdict], int]:
    """One page of the verdicts on a connection, newest first, and how many there are.

    Args:
        kind: only of tests, or of checks.
        outcomes: only any of these; empty does not filter.
        dataset: only of checks of the one with this `fides_key`.
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    given = {"kind": kind, "dataset": dataset if dataset is None or storable(dataset) else _NO_KEY}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    count, rows = _listing(frozenset(values), bool(outcomes))
    values |= {"owner": connection_id} | ({"outcomes": list(outcomes)} if outcomes else {})
    found, total = load_page(database, count, lambda _: rows, values, page=page, size=size)
    return [Verdict(*tuple(row)) for row in found], total


@cache
def _listing(equal: frozenset[str], with_outcomes: bool) -> tuple[Select[Any], Select[Any]]:
    """What counts the verdicts on a connection that pass, and what selects them."""
    passing = [_OWN, *(verdicts.c[name] == bindparam(name) for name in sorted(equal))]
    if with_outcomes:
        passing.append(verdicts.c.outcome.in_(bindparam("outcomes", expanding=True)))
    rows = select(*_COLUMNS).where(*passing).order_by(verdicts.c.number.desc())
    return select(func.count()).select_from(verdicts).where(*passing), paged(rows)


def purge_verdicts(store: Store, *, before: datetime) -> None:
    """Delete verdicts older than `before`, up to 10,000: some at a time, so that nobody waits.

    The last one on each connection and dataset stays: the next one is compared with it.
    """
    with store.read() as database:
        found = database.execute(_OUTLIVED, {"before": before}).all()
    for first in range(0, len(found), _BATCH):
        rows = [{"owner": owner, "which": number} for owner, number in found[first : first + _BATCH]]
        store.write_again(partial(Connection.execute, statement=_DROP, parameters=rows))
