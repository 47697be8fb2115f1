"""Check whether a dataset still fits: open a session, compare, and keep the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from connectory.api.datasets.discovery_runs import (
    OfService,
    Subject,
    collections_of,
    in_session,
    known_collections,
    run,
)
from connectory.api.node.means import Means
from connectory.api.node.memory import LARGE, give_back_later
from connectory.api.stored.verdicts import SCHEDULE, asked_by, keep_verdict
from connectory.checks.sessions.session import Session
from connectory.contract.data import CollectionInfo
from connectory.documents.validation import Document
from connectory.drift.findings import compare
from connectory.drift.last_seen import last_seen
from connectory.store import audit
from connectory.store.discoveries import reports_of
from connectory.store.envelopes import lock_secrets
from connectory.store.timestamps import utc_now
from connectory.store.verdicts import Outcome, Verdict

_WORDS = ("schema", "database")
"""What systems call that which a dataset is of."""
_NOTHING: Mapping[str, Any] = {
    "coverage": None,
    "ok": False,
    "counts": {},
    "findings": [],
    "findings_left_out": 0,
    "failure_code": None,
    "failure_reason": None,
    "failure_fields": (),
    "retry_after": None,
}


@dataclass(frozen=True)
class CheckRun:
    """A check that was run.

    Attributes:
        answer: the members of `DatasetCheck`.
        of_service: why no verdict was kept, where that is of this service and not of the connection.
    """

    answer: dict[str, Any]
    of_service: OfService | None

    @property
    def outcome(self) -> Outcome:
        """What the history says of it."""
        if self.answer["status"] != "complete":
            return "failed"
        return "fits" if self.answer["ok"] else "drifted"


async def run_check(service: Means, subject: Subject, fides_key: str, dataset: str) -> CheckRun:
    """Compare a dataset, and keep the verdict on the secrets that were used. It never fails: the answer says what went wrong.

    Args:
        dataset: as it is stored, JSON text.
    """
    began = time.monotonic()
    found = await run(subject, _checked(service, subject, orjson.loads(dataset)))
    elapsed_ms = round((time.monotonic() - began) * 1000, 3)
    answer = {member: found.get(member, value) for member, value in _NOTHING.items()}
    done = CheckRun({"status": found["status"], **answer}, found.get("of_service"))
    await service.threads.write(_record, service, subject, fides_key, done, elapsed_ms)
    if len(dataset) > LARGE:
        give_back_later()
    return done


async def _checked(service: Means, subject: Subject, dataset: dict[str, Any]) -> dict[str, Any]:
    last = await service.threads.read(_last_seen, service, subject, dataset)

    def compared(live: Iterable[CollectionInfo]) -> dict[str, Any]:
        return {"status": "complete", **compare(dataset, live, last).as_json()}

    async def look(session: Session, _document: Document) -> dict[str, Any]:
        given = (dataset.get("fides_meta") or {}).get("namespace") or {}
        namespace = {word: given[word] for word in _WORDS if isinstance(given.get(word), str) and given[word]} or None
        return compared([info async for info in collections_of(session, subject, namespace)])

    if subject.connector.opens_sessions:
        return await in_session(service, subject, look)
    return compared(known_collections(subject.connector))


def _last_seen(service: Means, subject: Subject, dataset: dict[str, Any]) -> list[CollectionInfo]:
    connection = subject.connection
    with service.store.read() as database:
        reports = reports_of(database, connection.id, connection.secrets_version)
        return last_seen(dataset, map(orjson.loads, reports))


def _record(service: Means, subject: Subject, fides_key: str, done: CheckRun, elapsed_ms: float) -> None:
    connection, who = subject.connection, subject.who
    with service.store.write() as database:
        known = done.of_service is None
        if known and lock_secrets(database, connection.id) == connection.secrets_version:
            keep_verdict(database, connection, _verdict(subject, fides_key, done, elapsed_ms))
        if who is not SCHEDULE:
            result = done.answer["failure_code"] or "succeeded"
            audit.append(database, who.did("discovered", connection, [fides_key], result_code=result))


def _verdict(subject: Subject, fides_key: str, done: CheckRun, elapsed_ms: float) -> Verdict:
    answer = done.answer
    return Verdict(
        kind="check",
        dataset=fides_key,
        at=utc_now(),
        actor=asked_by(subject.who),
        secrets_version=subject.connection.secrets_version,
        outcome=done.outcome,
        failure_code=answer["failure_code"],
        elapsed_ms=elapsed_ms,
        coverage=answer["coverage"],
        findings=sum(answer["counts"].values()) if answer["status"] == "complete" else None,
    )
