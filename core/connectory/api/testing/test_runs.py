"""Run the test of a stored connection, record the verdict on the secrets that were tested, and say how it went."""

import asyncio
from collections.abc import Coroutine
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import Request, Response
from pydantic import Field

from connectory.api.access.bearer import actor
from connectory.api.http.answers import NO_STORE, Answer, json_response
from connectory.api.http.errors import Refused
from connectory.api.http.logs import log
from connectory.api.node.service import Service, service_of
from connectory.api.stored.sealing import seal_tokens
from connectory.api.stored.verdicts import SCHEDULE, asked_by, keep_verdict
from connectory.api.testing.probes import failed, run_probe
from connectory.api.testing.rights import AccessReport
from connectory.checks.progress import Observer
from connectory.checks.report import CheckReport, SkipReason
from connectory.contract.check import WAIT_LIMIT, FailureCode
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.test_history import record_in_history
from connectory.store.timestamps import utc_now
from connectory.store.token_turns import store_first_tokens
from connectory.store.verdicts import Verdict


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


FailureFields = Annotated[
    list[str],
    Field(
        description="Names of the fields that `failure_code` is about: those of the connection that were given, or have to be; "
        "empty unless failed, and where it is about no field.",
        examples=[[]],
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
    failure_fields: FailureFields
    retry_after: RetryAfter
    encrypted: Encrypted
    verified: Verified
    steps: list[Step]
    access_report: Annotated[
        AccessReport | None, Field(description="Only where `privileges` was asked for, and the test succeeded.")
    ] = None


def test_response(message: str, report: CheckReport | None) -> Response:
    """The answer that says how a test went. Nothing on the way may keep it."""
    return json_response(test_answer(message, report), NO_STORE)


def test_answer(message: str, report: CheckReport | None) -> dict[str, Any]:
    """How a test went, as `TestResult` describes it; with no report, that there was none."""
    found = report or CheckReport("skipped")
    answer = {
        "msg": message,
        "test_status": found.status if report is not None else None,
        "failure_reason": found.reason,
        "failure_code": found.code,
        "failure_fields": found.failure_fields,
        "retry_after": found.retry_after,
        "encrypted": found.encrypted,
        "verified": found.verified,
        "steps": [asdict(step) for step in found.steps],
    }
    return answer if found.access_report is None else answer | {"access_report": found.access_report}


async def run_test(
    request: Request,
    connection: StoredConnection,
    envelope: str | None,
    *,
    has_tokens: bool = False,
    observer: Observer | None = None,
) -> CheckReport:
    """Test `connection` with the secrets in `envelope`, and record the verdict. Ends when the caller leaves.

    With stored tokens it goes on without a caller: a provider may have replaced them, and the new ones must not be lost.

    Args:
        has_tokens: whether tokens are stored for these secrets: then the test waits for its turn with them. Default: no.
        observer: is told how the test proceeds.

    Raises:
        Refused: 429 where the client tests too often, or too many tests wait, or this one waited too long; 503 where the
            service is ending, or the machine has no process for a test; 499 where nobody waits for the answer.
    """
    service, who = service_of(request), actor(request)
    refuse_too_often(service, who)
    verdict = _verdict(service, connection, envelope, has_tokens, who.id, observer)
    report = await (verdict if has_tokens else unless_abandoned(request, verdict))
    await _keep(service, connection, report, who)
    service.runner.answered()
    return report


async def run_scheduled_test(
    service: Service, connection: StoredConnection, envelope: str | None, *, has_tokens: bool
) -> CheckReport:
    """The same, where a schedule asks for it.

    Raises:
        Refused: 429 where too many tests wait, or this one waited too long; 503 where the service is ending, or the machine
            has no process for a test.
    """
    report = await _verdict(service, connection, envelope, has_tokens, SCHEDULE.id, None)
    await _keep(service, connection, report, SCHEDULE)
    return report


async def _keep(service: Service, connection: StoredConnection, report: CheckReport, who: Actor) -> None:
    count(service, connection.connection_type, report, who)
    if report.conclusive or report.tokens is not None:
        await service.threads.write(_record, service, connection, report, who)


def refuse_too_often(service: Service, who: Actor) -> None:
    """Count a test of a client's.

    Raises:
        Refused: 429, where it tests too often.
    """
    if wait := service.test_limit.take(who.id):
        message = "This client tests too often; try again later (CONNECTORY_TEST_RATE, CONNECTORY_TEST_BURST)."
        raise Refused(429, message, {"Retry-After": str(wait)})


def count(service: Service, connection_type: str, report: CheckReport, who: Actor) -> None:
    """Count a test that has ended, and have the log tell of a driver that failed."""
    service.test_counts[connection_type, report.code or report.status] += 1
    if report.error_type is not None:
        log.warning(
            "driver failed", connection_type=connection_type, error=report.error_type, request_id=who.request_id
        )


async def unless_abandoned(request: Request, verdict: Coroutine[Any, Any, CheckReport]) -> CheckReport:
    """The report of a test, which is ended when its caller leaves.

    Raises:
        Refused: 499, where the caller has left.
    """
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
    service: Service,
    connection: StoredConnection,
    envelope: str | None,
    has_tokens: bool,
    client: str,
    observer: Observer | None,
) -> CheckReport:
    connector = service.catalog.get(connection.connection_type)
    if envelope is None and connector is not None and connector.needs_secrets:
        return failed(connection, FailureCode.SECRETS_MISSING)
    flight = connection.id, connection.secrets_version, has_tokens
    if not has_tokens:
        return await run_probe(service, connection, flight, envelope, client=client, observer=observer)
    turn = service.token_turns.of(connection)
    report = await run_probe(service, connection, flight, envelope, turn, client=client, observer=observer)
    await service.token_turns.recorded(connection)
    return replace(report, tokens=None)


def _record(service: Service, connection: StoredConnection, report: CheckReport, who: Actor) -> None:
    now = utc_now()
    steps = [asdict(step) for step in report.steps]
    found = {
        "status": report.status,
        "code": report.code,
        "failure_fields": report.failure_fields,
        "reason": report.reason,
        "elapsed_ms": report.elapsed_ms,
        "retry_after": report.retry_after,
        "encrypted": report.encrypted,
        "verified": report.verified,
        "steps": steps,
    }
    stored = orjson.dumps(found).decode()
    tokens = seal_tokens(service.vault, connection, report.tokens) if report.tokens is not None else None
    # A verdict that is lost with the machine's power is had again by a test; tokens may be the only ones.
    with service.store.write(synchronous=tokens is not None) as database:
        if tokens is not None:
            store_first_tokens(database, connection.id, tokens, secrets_version=connection.secrets_version)
        if not report.conclusive:
            return
        succeeded = report.status == "succeeded"
        recorded = record_in_history(
            database,
            connection.id,
            secrets_version=connection.secrets_version,
            succeeded=succeeded,
            failure_code=report.code,
            report=stored,
            actor=who.id,
            at=now,
        )
        if recorded:
            verdict = Verdict(
                "test",
                "",
                now,
                asked_by(who),
                connection.secrets_version,
                "succeeded" if succeeded else "failed",
                report.code,
                report.elapsed_ms,
            )
            keep_verdict(database, connection, verdict)
        if who is not SCHEDULE:
            audit.append(database, who.did("tested", connection, result_code=report.code or report.status, at=now))
