"""Have the runner test a connection, stored or not, and answer what keeps it from that as any other refusal."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from connectory.api.http.errors import Refused
from connectory.api.node.service import Service
from connectory.api.node.token_turns import TurnNotCome
from connectory.api.stored.sealing import open_document
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.progress import Observer
from connectory.checks.report import CheckReport
from connectory.checks.runner import Exchange, NoProcess, QueueFull, ShuttingDown
from connectory.checks.token_turn import TokenTurn
from connectory.contract.check import FailureCode
from connectory.documents.validation import Document
from connectory.store.connections import StoredConnection
from connectory.vault import EnvelopeUnreadable

_NO_TURN = "Other tests of this connection used its tokens all the time, on this node or on another; try again."


async def run_probe(
    service: Service,
    connection: StoredConnection,
    flight: Hashable,
    envelope: str | None,
    turn: TokenTurn | None = None,
    exchange: Exchange | None = None,
    *,
    client: str,
    observer: Observer | None = None,
) -> CheckReport:
    """Have the runner test `connection`, or exchange a code for it. Records no verdict.

    Args:
        flight: what is joined, where it already runs.
        envelope: of its secrets; opened when the work really starts.
        turn: with its tokens, which it also records. Default: the test gets none.
        client: whose share of the turns this takes.
        observer: is told how the test proceeds.

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
        report = await probe(service, connector, flight, open_secrets, turn, exchange, client=client, observer=observer)
    except EnvelopeUnreadable:
        return failed(connection, FailureCode.SECRETS_UNREADABLE)
    except TurnNotCome:
        return CheckReport("failed", FailureCode.TIMEOUT, _NO_TURN, service_failed=True)
    return of_connection(report, connection)


def of_connection(report: CheckReport, connection: StoredConnection) -> CheckReport:
    """`report`, with the connection's key in its reason."""
    return replace(report, reason=report.reason.replace("{key}", connection.key)) if report.reason else report


async def probe(
    service: Service,
    connector: LoadedConnector,
    flight: Hashable,
    open_secrets: Callable[[], Document],
    turn: TokenTurn | None = None,
    exchange: Exchange | None = None,
    *,
    client: str,
    observer: Observer | None = None,
) -> CheckReport:
    """Have the runner test a connection, stored or not. For the arguments see `CheckRunner.run`; `flight` is what is joined.

    Raises:
        Refused: as by `run_probe`.
        Exception: what `open_secrets` and `turn` raise.
    """
    try:
        return await service.runner.run(flight, connector, open_secrets, turn, exchange, client, observer)
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


def failed(connection: StoredConnection, code: FailureCode) -> CheckReport:
    """The report of a test that the service need not run to know that it fails."""
    return CheckReport("failed", code, code.reason.replace("{key}", connection.key))
