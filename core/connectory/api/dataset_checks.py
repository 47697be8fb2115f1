"""`/connection/{key}/dataset/{fides_key}/check`: whether a dataset still fits what its connection holds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.answers import NO_STORE, Answer, json_response
from connectory.api.bearer import actor, needs
from connectory.api.datasets import MISSING_CONNECTION, FidesKey, no_dataset
from connectory.api.discovery import connector_of
from connectory.api.discovery_runs import Subject, in_session, known_collections, run
from connectory.api.discovery_shapes import DiscoveryRequest
from connectory.api.errors import PROTECTED, Refused, errors
from connectory.api.lookup import ConnectionKey, find_connection
from connectory.api.service import Service, service_of
from connectory.api.test_runs import FailureFields, RetryAfter, refuse_too_often
from connectory.api.verdicts import SCHEDULE, asked_by, keep_verdict
from connectory.checks.sessions.session import Session
from connectory.contract.data import CollectionInfo
from connectory.documents.validation import Document
from connectory.drift.codes import Code
from connectory.drift.findings import compare
from connectory.store import audit
from connectory.store.connections import StoredConnection
from connectory.store.datasets import get
from connectory.store.envelopes import load_envelopes, lock_secrets
from connectory.store.timestamps import utc_now
from connectory.store.verdicts import Outcome, Verdict

router = APIRouter(prefix="/api/v1", tags=["Discovery"], responses=PROTECTED)


class DriftFinding(BaseModel):
    """One thing that does not fit."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[Code, Field(examples=["field_missing"])]
    severity: Annotated[
        Literal["error", "warning"],
        Field(description="`error`: requests fail, or do the wrong thing; `warning`: they may miss something."),
    ]
    collection: Annotated[str, Field(examples=["customer"])]
    field: Annotated[
        str | list[str] | None,
        Field(
            description="Its names, with dots between them; a list where a name holds a dot. Not there where the finding is "
            "about the collection.",
            examples=["nickname"],
        ),
    ] = None
    message: Annotated[str, Field(examples=["The table has no field 'nickname'."])]
    remedy: Annotated[str, Field(examples=["Remove it from the dataset, or restore the field."])]


class DatasetCheck(Answer):
    """Whether a dataset still fits. Where that could not be found out, there is no coverage, and a reason."""

    status: Annotated[Literal["complete", "failed"], Field(examples=["complete"])]
    coverage: Annotated[
        int | None,
        Field(
            description="Of the fields that are there, how many the dataset has, in percent: 100 only for all of them.",
            ge=0,
            le=100,
            examples=[93],
        ),
    ]
    ok: Annotated[bool, Field(description="Whether it was found out, and nothing was found.", examples=[False])]
    findings: list[DriftFinding]
    failure_code: Annotated[str | None, Field(description="Why it failed, as of a discovery.", examples=[None])]
    failure_reason: Annotated[str | None, Field(examples=[None])]
    failure_fields: FailureFields
    retry_after: RetryAfter


_NOTHING: Mapping[str, Any] = {
    "coverage": None,
    "ok": False,
    "findings": [],
    "failure_code": None,
    "failure_reason": None,
    "failure_fields": (),
    "retry_after": None,
}


@router.post(
    "/connection/{connection_key}/dataset/{fides_key}/check",
    operation_id="checkDataset",
    summary="Compare a dataset with what its connection holds",
    dependencies=[needs("dataset:read"), needs("connection:read")],
    response_model=DatasetCheck,
    responses=errors(404, 409, 429),
)
async def check(request: Request, connection_key: ConnectionKey, fides_key: FidesKey) -> Response:
    """Opens a session, asks the system what there is in the dataset's schema, and compares. Nothing is stored or written.

    The answer is there after `CONNECTORY_DISCOVERY_DEADLINE` at the latest. Where the connection does not work, it is 200 too,
    with `status: failed`.
    """
    service, who = service_of(request), actor(request)
    connection, envelope, dataset = await service.threads.read(_load, service, connection_key, fides_key)
    connector = connector_of(service, connection)
    refuse_too_often(service, who)
    subject = Subject("", utc_now(), connection, connector, envelope, DiscoveryRequest(), who)
    found = await run_check(service, subject, fides_key, dataset)
    answer = {member: found.get(member, value) for member, value in _NOTHING.items()}
    return json_response({"status": found["status"], **answer}, NO_STORE)


async def run_check(service: Service, subject: Subject, fides_key: str, dataset: str) -> dict[str, Any]:
    """Compare a dataset (JSON), and record the verdict on the secrets that were used.

    Returns:
        Members of a `DatasetCheck`; and `of_service`, see `discovery_runs.OfService`, where nothing was recorded.

    Raises:
        Refused: 429, where too many discoveries run.
    """
    if service.discoveries.full:
        raise Refused(429, "Too many discoveries run and wait; try again later.", {"Retry-After": "5"})
    began = time.monotonic()
    found = await service.discoveries.start(run(subject, _checked(service, subject, orjson.loads(dataset))))
    elapsed = round((time.monotonic() - began) * 1000, 3)
    await service.threads.write(_record, service, subject, fides_key, found, elapsed)
    return found


def _load(service: Service, key: str, fides_key: str) -> tuple[StoredConnection, str | None, str]:
    with service.store.read() as database:
        connection = find_connection(database, key, MISSING_CONNECTION)
        found = get(database, connection.id, fides_key)
        if found is None:
            raise no_dataset(connection, fides_key, "connection key")
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
        return connection, envelope, found.dataset


_WORDS = ("schema", "database")
"""What systems call that which a dataset is of."""


async def _checked(service: Service, subject: Subject, dataset: dict[str, Any]) -> dict[str, Any]:
    async def look(session: Session, _document: Document) -> dict[str, Any]:
        given = (dataset.get("fides_meta") or {}).get("namespace") or {}
        namespace = {word: given[word] for word in _WORDS if isinstance(given.get(word), str) and given[word]} or None
        return _compared(dataset, [info async for info in session.discover(namespace, subject.wanted.sample)])

    if subject.connector.opens_sessions:
        return await in_session(service, subject, look)
    return _compared(dataset, known_collections(subject.connector))


def _compared(dataset: dict[str, Any], live: Iterable[CollectionInfo]) -> dict[str, Any]:
    return {"status": "complete", **compare(dataset, live).as_json()}


def _record(service: Service, subject: Subject, fides_key: str, found: dict[str, Any], elapsed_ms: float) -> None:
    connection, who = subject.connection, subject.who
    failure_code: str | None = found.get("failure_code")
    with service.store.write() as database:
        current = "of_service" not in found and lock_secrets(database, connection.id) == connection.secrets_version
        if current:
            keep_verdict(database, connection, _verdict(subject, fides_key, found, elapsed_ms))
        if who is not SCHEDULE:
            entry = who.did("discovered", connection, [fides_key], result_code=failure_code or "succeeded")
            audit.append(database, entry)


def _verdict(subject: Subject, fides_key: str, found: dict[str, Any], elapsed_ms: float) -> Verdict:
    complete = found["status"] == "complete"
    return Verdict(
        kind="check",
        dataset=fides_key,
        at=utc_now(),
        actor=asked_by(subject.who),
        secrets_version=subject.connection.secrets_version,
        outcome=outcome_of(found),
        failure_code=found.get("failure_code"),
        elapsed_ms=elapsed_ms,
        coverage=found["coverage"] if complete else None,
        findings=len(found["findings"]) if complete else None,
    )


def outcome_of(found: Mapping[str, Any]) -> Outcome:
    """The outcome of what `run_check` returns."""
    if found["status"] != "complete":
        return "failed"
    return "fits" if found["ok"] else "drifted"
