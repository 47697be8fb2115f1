"""Discover what a connection holds: open a session, make datasets of what it says, and keep the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast

import orjson

from connectory.api.datasets.discovery_reasons import reason_of
from connectory.api.datasets.discovery_shapes import DiscoveryRequest
from connectory.api.http.logs import log
from connectory.api.node.means import Means
from connectory.api.node.memory import LARGE, give_back_later
from connectory.api.stored.sealing import open_document
from connectory.api.testing.probes import failed, of_connection
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.refusals import NoProcess, ShuttingDown
from connectory.checks.report import CheckReport
from connectory.checks.sessions.facts import as_told
from connectory.checks.sessions.runner import SessionNotOpened, Terms
from connectory.checks.sessions.session import OperationFailed, Session
from connectory.checks.turns import QueueFull
from connectory.contract.check import FailureCode
from connectory.contract.data import CollectionInfo, CollectionRef, Privileges
from connectory.discovery.access import access_report
from connectory.discovery.datasets import DatasetMaker, Finding
from connectory.documents.roles import place_of
from connectory.documents.validation import Document, SecretsInvalid, parse_secrets
from connectory.drift.merge import merge_into
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.discoveries import end_discovery
from connectory.vault import EnvelopeUnreadable

LARGEST_ANSWER = 32 * 2**20
"""Bytes of an answer, three times what 5,000 tables of 20 columns take: names that it repeats may make it larger than what was
found.
"""
_QUEUED = "Too many sessions were used all the time; try again later."
_ENDED = "The service ended during the discovery; ask again."


@dataclass(frozen=True)
class Subject:
    """What one discovery is of.

    Attributes:
        id: of the discovery; empty where its answer is not kept.
        envelope: of the secrets; `None` where none are stored.
        wanted: how to look.
        who: asks.
        stored: the dataset (JSON) that what is new is merged into. Default: datasets are as they are generated.
        seen: is called for each collection that is there. Default: nobody is told.
    """

    id: str
    started_at: datetime
    connection: StoredConnection
    connector: LoadedConnector
    envelope: str | None
    wanted: DiscoveryRequest
    who: Actor
    stored: str | None = None
    seen: Callable[[], None] = lambda: None


OfService: TypeAlias = Literal["busy", "unable"]
"""Why a failure says nothing about the connection: this node had no room at the time, or cannot look at all."""

Look: TypeAlias = Callable[[Session, Document], Awaitable[dict[str, Any]]]
"""Uses a session, of a connection whose secrets are the document."""


def answer_of(
    discovery_id: str,
    connector: LoadedConnector | None,
    started_at: datetime,
    **found: Any,
) -> dict[str, Any]:
    """The members of `Discovery`; those that are not `found` say nothing."""
    product = "" if connector is None else connector.description.human_readable
    return {
        "id": discovery_id,
        "status": "running",
        "started_at": started_at,
        "elapsed_ms": None,
        "inferred": False,
        "server": {"product": product},
        "datasets": [],
        "suggestions": [],
        "left_out": [],
        "nullable": [],
        "presence": [],
        "access_report": None,
        "failure_code": None,
        "failure_reason": None,
        "failure_fields": (),
        "retry_after": None,
        "steps": [],
    } | found


async def run_discovery(service: Means, subject: Subject) -> bytes:
    """Discover, and keep the answer, which this returns too: JSON. It never fails: the answer says what went wrong."""
    began = time.monotonic()
    found = await run(subject, _found(service, subject))
    elapsed = round((time.monotonic() - began) * 1000, 3)
    found.pop("of_service", None)  # for those who keep verdicts
    if subject.stored is not None and found["status"] == "complete":
        found = found | {"datasets": merge_into(orjson.loads(subject.stored), found["datasets"])}
    answer = answer_of(subject.id, subject.connector, subject.started_at, **found, elapsed_ms=elapsed)
    report = orjson.dumps(answer)
    if len(report) > LARGEST_ANSWER:
        failure = _failure(FailureCode.RESOURCE_LIMIT, reason_of(FailureCode.RESOURCE_LIMIT))
        answer = answer_of(subject.id, subject.connector, subject.started_at, **failure, elapsed_ms=elapsed)
        report = orjson.dumps(answer)
    await service.threads.write(_keep, service, subject, report, answer["failure_code"])
    if len(report) > LARGE:
        give_back_later()
    return report


async def run(subject: Subject, look: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What `look` finds. It never fails: what goes wrong beyond what is foreseen is told as members of an answer."""
    try:
        return await look
    except asyncio.CancelledError:
        raise
    except Exception as error:  # of a plugin that this process runs, or of our own: whoever waits has to be told
        log.error("discovery failed", connection_type=subject.connector.identifier, error=type(error).__name__)
        return _failure(
            FailureCode.INTERNAL_DRIVER_ERROR, FailureCode.INTERNAL_DRIVER_ERROR.reason, of_service="unable"
        )


def _keep(service: Means, subject: Subject, report: bytes, failure_code: str | None) -> None:
    entry = subject.who.did("discovered", subject.connection, result_code=failure_code or "succeeded")
    with service.store.write() as database:
        end_discovery(database, subject.id, report.decode())
        audit.append(database, entry)


async def _found(service: Means, subject: Subject) -> dict[str, Any]:
    connector = subject.connector
    if connector.opens_sessions:
        return await in_session(service, subject, lambda session, document: _looked_at(session, subject, document))
    # Nothing tells one account of a service from another here, and a dataset belongs to one connection.
    maker = _maker(subject, (connector.identifier, subject.connection.key))
    for info in known_collections(connector):
        maker.add(info)
    return _success(maker.finding, None, CheckReport("succeeded"))


def _maker(subject: Subject, place: tuple[str, ...]) -> DatasetMaker:
    """Makes the datasets. What is not looked at again is kept as text: of thousands of tables, a tenth of the memory."""
    name = subject.connector.identifier
    return DatasetMaker(place, name) if subject.stored is not None else DatasetMaker(place, name, _as_text)


def _as_text(made: dict[str, Any]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(made))


def known_collections(connector: LoadedConnector) -> list[CollectionInfo]:
    """What the connector says that every connection holds, without a session and within the limits of one.

    Raises:
        Exception: whatever the plugin raises, or what it says is nothing that a session may say.
    """
    return [as_told(info) for info in connector.collections()]


async def in_session(service: Means, subject: Subject, look: Look) -> dict[str, Any]:
    """What `look` makes of a session with the connection; where that fails, members of an answer that say why."""
    connector, connection = subject.connector, subject.connection
    if subject.envelope is None and connector.needs_secrets:
        return _not_opened(failed(connection, FailureCode.SECRETS_MISSING))
    terms = Terms(
        read_only=True, seconds=service.settings.discovery_deadline, patience=service.settings.discovery_deadline
    )
    try:
        document = {} if subject.envelope is None else open_document(service.vault, connection, subject.envelope)
        opening = service.runner.sessions.open_session(connector, lambda: document, terms, subject.who.id)
        async with opening as session:
            return await look(session, document)
    except EnvelopeUnreadable:
        return _not_opened(failed(connection, FailureCode.SECRETS_UNREADABLE))
    except SessionNotOpened as problem:
        _log_driver(subject, problem.report.error_type)
        return _not_opened(of_connection(problem.report, connection))
    except OperationFailed as failure:
        _log_driver(subject, failure.error_type)
        return _failure(failure.code, reason_of(failure.code), retry_after=failure.retry_after)
    except QueueFull:
        return _failure(FailureCode.TIMEOUT, _QUEUED, of_service="busy")
    except NoProcess as short:
        reason = f"The service cannot start a session ({short}); try again later."
        return _failure(FailureCode.CRASHED, reason, of_service="busy")
    except ShuttingDown:
        return _failure(FailureCode.CRASHED, _ENDED, of_service="busy")


async def collections_of(
    session: Session, subject: Subject, namespace: Mapping[str, str] | None
) -> AsyncIterator[CollectionInfo]:
    """Every collection that is there, or those of one namespace."""
    async for info in session.discover(namespace, subject.wanted.sample):
        subject.seen()
        yield info


async def _looked_at(session: Session, subject: Subject, document: Document) -> dict[str, Any]:
    maker = _maker(subject, _place(subject.connector, document))
    scope = subject.wanted.scope
    for namespace in [None] if scope is None else [{"schema": name} for name in dict.fromkeys(scope.schemas)]:
        async for info in collections_of(session, subject, namespace):
            maker.add(info)
    declared = cast("Literal['read', 'write']", subject.connection.access)
    # What nobody reads can be written to all the same.
    refs = maker.finding.refs + (maker.finding.others if declared == "read" else [])
    privileges = await _privileges(session, refs)
    return _success(maker.finding, access_report(declared, privileges), session.opening)


async def _privileges(session: Session, refs: list[CollectionRef]) -> list[Privileges]:
    """What the account may do; where that cannot be asked, nothing is known."""
    try:
        return [found async for found in session.privileges(refs)]
    except OperationFailed:
        return [Privileges(ref, None, None, None) for ref in refs]


def _place(connector: LoadedConnector, document: Document) -> tuple[str, ...]:
    """What tells this system from others."""
    try:
        return place_of(connector.fields, parse_secrets(connector.secrets_model, document))
    except SecretsInvalid:  # of another version of the connector than the session's
        return ()


def _success(finding: Finding, access: dict[str, Any] | None, opening: CheckReport) -> dict[str, Any]:
    return {
        "status": "complete",
        "inferred": finding.inferred,
        "datasets": list(finding.datasets.values()),
        "suggestions": finding.suggestions,
        "left_out": finding.left_out,
        "nullable": finding.nullable,
        "presence": finding.presence,
        "access_report": access,
        "steps": [asdict(step) for step in opening.steps],
    }


def _not_opened(report: CheckReport) -> dict[str, Any]:
    of_service = {} if report.conclusive else {"of_service": "unable"}
    if report.status == "skipped":
        report = replace(report, code=FailureCode.QUERY_FAILED, reason="There is nothing to connect to.")
    return {
        "status": "failed",
        "failure_code": report.code,
        "failure_reason": report.reason,
        "failure_fields": report.failure_fields,
        "retry_after": report.retry_after,
        "steps": [asdict(step) for step in report.steps],
    } | of_service


def _failure(
    code: str, reason: str, *, retry_after: int | None = None, of_service: OfService | None = None
) -> dict[str, Any]:
    found = {"status": "failed", "failure_code": code, "failure_reason": reason, "retry_after": retry_after}
    return found if of_service is None else found | {"of_service": of_service}


def _log_driver(subject: Subject, error_type: str | None) -> None:
    if error_type is not None:
        connection_type = subject.connector.identifier
        log.warning(
            "driver failed", connection_type=connection_type, error=error_type, request_id=subject.who.request_id
        )
