"""Run the test of a stored connection, record the verdict on the secrets that were tested, and say how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import Request, Response
from pydantic import Field

from connectory.api.answers import NO_STORE, Answer, json_response
from connectory.api.bearer import actor
from connectory.api.errors import Refused
from connectory.api.logs import log
from connectory.api.sealing import open_document, seal_tokens
from connectory.api.service import Service, service_of
from connectory.api.token_turns import TurnNotCome
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.checks.report import CheckReport, SkipReason
from connectory.checks.runner import Exchange, NoProcess, QueueFull, ShuttingDown
from connectory.checks.token_turn import TokenTurn
from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.documents.validation import Document
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.test_history import record_in_history
from connectory.store.timestamps import utc_now
from connectory.store.token_turns import store_first_tokens
from connectory.vault import EnvelopeUnreadable

_NO_TURN = "Other tests of this connection used its tokens all the time, on this node or on another; try again."


class Step(Answer):
    """One step of a test, how it ended, and how long it took."""

    name: Annotated[str, Field(examples=["resolve"])]
    status: Annotated[Literal["passed", "failed", "skipped"], Field(examples=["passed"])]
    elapsed_ms: Annotated[float, Field(ge=0, examples=[0.8])]
    reason: Annotated[
        SkipReason | None,
        Field(
            description="Why it was skipped: the connection's settings do not ask for it, or the far end was asked and has none.",
            examples=[None],
        ),
    ]


RetryAfter = Annotated[
    int | None,
    Field(
        description="Seconds that the far end asks to wait, with `rate_limited`; `null` where it asks for nothing.",
        ge=0,
        le=WAIT_LIMIT,
        examples=[None],
    ),
]


Encrypted = Annotated[
    bool | None,
    Field(
        description="Whether all connections to the far end were encrypted; `null` where the test did not get so far.",
        examples=[True],
    ),
]
Verified = Annotated[
    bool | None,
    Field(
        description="Whether they were, with certificates of a trusted CA, and with `verify-full` for the host's name; `null` "
        "where `encrypted` is.",
        examples=[True],
    ),
]


class TestResult(Answer):
    """How a test went. All but `msg` is `null`, and there are no steps, where none was asked for."""

    msg: Annotated[str, Field(examples=["Test completed for ConnectionConfig with key: app_postgres_db."])]
    test_status: Annotated[Literal["succeeded", "failed", "skipped"] | None, Field(examples=["succeeded"])]
    failure_reason: str | None
    failure_code: FailureCode | None
    retry_after: RetryAfter
    encrypted: Encrypted
    verified: Verified
    steps: list[Step]


def test_response(message: str, report: CheckReport | None) -> Response:
    """How a test went, as `TestResult` describes it; with no report, that there was none. Nothing on the way may keep it."""
    found = report or CheckReport("skipped")
    answer = {
        "msg": message,
        "test_status": found.status if report is not None else None,
        "failure_reason": found.reason,
        "failure_code": found.code,
        "retry_after": found.retry_after,
        "encrypted": found.encrypted,
        "verified": found.verified,
        "steps": [asdict(step) for step in found.steps],
    }
    return json_response(answer, NO_STORE)


async def run_test(
    request: Request, connection: StoredConnection, envelope: str | None, *, has_tokens: bool = False
) -> CheckReport:
    """Test `connection` with the secrets in `envelope`, and record the verdict. Ends when the caller leaves.

    With stored tokens it goes on without a caller: a provider may have replaced them, and the new ones must not be lost.

    Args:
        has_tokens: whether tokens are stored for these secrets: then the test waits for its turn with them. Default: no.

    Raises:
        Refused: 429 where the client tests too often, or too many tests wait, or this one waited too long; 503 where the
            service is ending, or the machine has no process for a test; 499 where nobody waits for the answer.
    """
    service, who = service_of(request), actor(request)
    if wait := service.test_limit.take(who.id):
        message = "This client tests too often; try again later (CONNECTORY_TEST_RATE, CONNECTORY_TEST_BURST)."
        raise Refused(429, message, {"Retry-After": str(wait)})
    verdict = _verdict(service, connection, envelope, has_tokens, who.id)
    report = await (verdict if has_tokens else _unless_abandoned(request, verdict))
    service.test_counts[connection.connection_type, report.code or report.status] += 1
    if report.error_type is not None:
        log.warning(
            "driver failed",
            connection_type=connection.connection_type,
            error=report.error_type,
            request_id=who.request_id,
        )
    if report.conclusive or report.tokens is not None:
        await service.threads.write(_record, service, connection, report, who)
    return report


async def _unless_abandoned(request: Request, verdict: Coroutine[Any, Any, CheckReport]) -> CheckReport:
    test, departure = asyncio.create_task(verdict), asyncio.create_task(_departure(request))
    try:
        await asyncio.wait({test, departure}, return_when=asyncio.FIRST_COMPLETED)
        if not test.done():
            raise Refused(499, "The caller closed the connection.")
        return test.result()
    finally:
        test.cancel()
        departure.cancel()


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _verdict(
    service: Service, connection: StoredConnection, envelope: str | None, has_tokens: bool, client: str
) -> CheckReport:
    connector = service.catalog.get(connection.connection_type)
    if envelope is None and connector is not None and connector.needs_secrets:
        return _failed(connection, FailureCode.SECRETS_MISSING)
    flight = connection.id, connection.secrets_version, has_tokens
    if not has_tokens:
        return await run_probe(service, connection, flight, envelope, client=client)
    turn = service.token_turns.of(connection)
    report = await run_probe(service, connection, flight, envelope, turn, client=client)
    await service.token_turns.recorded(connection)
    return replace(report, tokens=None)


async def run_probe(
    service: Service,
    connection: StoredConnection,
    flight: Hashable,
    envelope: str | None,
    turn: TokenTurn | None = None,
    exchange: Exchange | None = None,
    *,
    client: str,
) -> CheckReport:
    """Have the runner test `connection`, or exchange a code for it. Records no verdict.

    Args:
        flight: what is joined, where it already runs.
        envelope: of its secrets; opened when the work really starts.
        turn: with its tokens, which it also records. Default: the test gets none.
        client: whose share of the turns this takes.

    Raises:
        Refused: 429 where too many tests wait, or this one waited too long; 503 where the service is ending, or the machine
            has no process for a test.
    """
    try:
        connector = service.catalog.require(connection.connection_type, connection.distribution)
    except ConnectorUnavailable as problem:
        return CheckReport("failed", FailureCode.CONNECTOR_UNAVAILABLE, str(problem))

    def open_secrets() -> Document:
        return {} if envelope is None else open_document(service.vault, connection, envelope)

    try:
        report = await service.runner.run(flight, connector, open_secrets, turn, exchange, client)
        return replace(report, reason=report.reason.replace("{key}", connection.key)) if report.reason else report
    except EnvelopeUnreadable:
        return _failed(connection, FailureCode.SECRETS_UNREADABLE)
    except TurnNotCome:
        return CheckReport("failed", FailureCode.TIMEOUT, _NO_TURN, service_failed=True)
    except QueueFull as full:
        message = (
            "Too many connection tests wait, or this one waited too long; try again later (CONNECTORY_PROBE_CONCURRENCY, "
            "CONNECTORY_PROBE_QUEUE, CONNECTORY_PROBE_QUEUE_WAIT)."
        )
        raise Refused(429, message, {"Retry-After": str(full.retry_after)}) from None
    except NoProcess as short:
        message = f"The service cannot start a connection test ({short}); raise the limits of its machine, or try again later."
        raise Refused(503, message, {"Retry-After": "5"}) from None
    except ShuttingDown:
        raise Refused(503, "The service is ending; try again.", {"Retry-After": "5"}) from None


def _failed(connection: StoredConnection, code: FailureCode) -> CheckReport:
    return CheckReport("failed", code, code.reason.replace("{key}", connection.key))


def _record(service: Service, connection: StoredConnection, report: CheckReport, who: Actor) -> None:
    now = utc_now()
    steps = [asdict(step) for step in report.steps]
    found = {
        "status": report.status,
        "code": report.code,
        "reason": report.reason,
        "elapsed_ms": report.elapsed_ms,
        "retry_after": report.retry_after,
        "encrypted": report.encrypted,
        "verified": report.verified,
        "steps": steps,
    }
    stored = orjson.dumps(found).decode()
    tokens = seal_tokens(service.vault, connection, report.tokens) if report.tokens is not None else None
    with service.store.write() as database:
        if tokens is not None:
            store_first_tokens(database, connection.id, tokens, secrets_version=connection.secrets_version)
        if not report.conclusive:
            return
        record_in_history(
            database,
            connection.id,
            secrets_version=connection.secrets_version,
            succeeded=report.status == "succeeded",
            failure_code=report.code,
            report=stored,
            actor=who.id,
            at=now,
        )
        audit.append(database, who.did("tested", connection, result_code=report.code or report.status, at=now))
