"""What the account of a connection may do: asked after a test that succeeded, and told as one step more, which fails no test."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Literal, cast

from pydantic import Field

from connectory.api.http.answers import Answer
from connectory.api.node.service import Service
from connectory.api.stored.sealing import open_document
from connectory.checks.progress import Observer, StepRuns
from connectory.checks.refusals import NoProcess, ShuttingDown
from connectory.checks.report import CheckReport, StepReport
from connectory.checks.sessions.runner import SessionNotOpened, Terms
from connectory.checks.sessions.session import OperationFailed
from connectory.checks.turns import QueueFull
from connectory.contract.data import Privileges
from connectory.discovery.access import Declared, access_report
from connectory.store.connections import StoredConnection
from connectory.vault import EnvelopeUnreadable

STEP = "privileges"
"""The step's name. It is skipped, as `not_offered`, where the system does not tell."""
_LEAST = 1.0
"""Seconds that it has in any case, however long the test took."""


class Excess(Answer):
    """What the account may do with one collection, and need not."""

    collection: Annotated[str, Field(examples=["customer"])]
    namespace: Annotated[dict[str, str], Field(examples=[{"schema": "public"}])]
    privileges: Annotated[list[Literal["UPDATE", "DELETE"]], Field(examples=[["UPDATE"]])]


class AccessReport(Answer):
    """Whether the account may do what the connection is for, and no more."""

    declared: Annotated[Literal["read", "write"], Field(description="The connection's `access`.")]
    account_can: Annotated[
        list[Literal["select", "update", "delete"]],
        Field(description="With at least one collection.", examples=[["select", "update"]]),
    ]
    finding: Annotated[
        Literal["as_declared", "can_write", "cannot_write", "unknown"],
        Field(description="`unknown` where the system does not tell. It is never tried out.", examples=["can_write"]),
    ]
    excess: list[Excess]
    remedy: Annotated[
        list[str],
        Field(
            description="Statements that take the excess away, for a person to run.",
            examples=[["REVOKE UPDATE ON public.customer FROM app;"]],
        ),
    ]


async def with_rights(
    service: Service,
    connection: StoredConnection,
    envelope: str | None,
    report: CheckReport,
    client: str,
    observer: Observer | None = None,
) -> CheckReport:
    """`report`, with the step, and with what it found as `access_report`; as it is, where the test did not succeed.

    The step has the time that the test has left, so that both take no longer than a test may.

    Args:
        envelope: of the connection's secrets; `None` where none are stored.
        client: asks.
        observer: is told when the step begins and how it ends.
    """
    if report.status != "succeeded":
        return report
    tell: Observer = observer or (lambda _: None)
    tell(StepRuns(STEP))
    began = time.monotonic()
    seconds = max(_LEAST, service.settings.probe_deadline - report.elapsed_ms / 1000)
    privileges: list[Privileges] = []
    with suppress(
        TimeoutError, SessionNotOpened, OperationFailed, QueueFull, NoProcess, ShuttingDown, EnvelopeUnreadable
    ):
        async with asyncio.timeout(seconds):
            privileges = await _privileges(service, connection, envelope, seconds, client)
    found = access_report(cast("Declared", connection.access), privileges)
    elapsed = round((time.monotonic() - began) * 1000, 3)
    known = found["finding"] != "unknown"
    step = StepReport(STEP, "passed", elapsed) if known else StepReport(STEP, "skipped", elapsed, "not_offered")
    tell(step)
    return replace(report, steps=(*report.steps, step), access_report=found)


async def _privileges(
    service: Service, connection: StoredConnection, envelope: str | None, seconds: float, client: str
) -> list[Privileges]:
    connector = service.catalog.get(connection.connection_type)
    if connector is None or not connector.opens_sessions:
        return []
    document = {} if envelope is None else open_document(service.vault, connection, envelope)
    terms = Terms(read_only=True, seconds=seconds, patience=seconds)
    async with service.runner.sessions.open_session(connector, lambda: document, terms, client) as session:
        # As in a discovery: of what is in no dataset, such as a view, nobody expects that a connection can write to it.
        refs = [
            info.ref
            async for info in session.discover(sample=1)
            if connection.access == "read" or (info.left_out is None and info.fields)
        ]
        return [known async for known in session.privileges(refs)]
