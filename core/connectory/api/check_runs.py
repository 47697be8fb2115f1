"""Check whether a dataset still fits: open a session, compare, and tell the audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from connectory.api.discovery_runs import Means, Subject, collections_of, in_session, known_collections, run
from connectory.checks.sessions.session import Session
from connectory.contract.data import CollectionInfo
from connectory.documents.validation import Document
from connectory.drift.findings import compare
from connectory.drift.last_seen import last_seen
from connectory.store import audit
from connectory.store.discoveries import reports_of

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


async def run_check(service: Means, subject: Subject, fides_key: str, dataset: str) -> dict[str, Any]:
    """The members of `DatasetCheck`. It never fails: they say what went wrong.

    Args:
        dataset: as it is stored, JSON text.
    """
    found = await run(subject, _checked(service, subject, orjson.loads(dataset)))
    answer = {member: found.get(member, value) for member, value in _NOTHING.items()}
    await service.threads.write(_record, service, subject, answer["failure_code"], fides_key)
    return {"status": found["status"], **answer}


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


def _record(service: Means, subject: Subject, failure_code: str | None, fides_key: str) -> None:
    entry = subject.who.did("discovered", subject.connection, [fides_key], result_code=failure_code or "succeeded")
    with service.store.write() as database:
        audit.append(database, entry)
