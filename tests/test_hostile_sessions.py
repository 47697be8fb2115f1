"""Sessions whose servers let them in and misbehave then: each operation ends in time, with a code that says why."""

import asyncio
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import psutil
import pytest

from connectory import FailureCode
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.checks.sessions.runner import AT_ONCE, Terms
from connectory.checks.sessions.session import OperationFailed, Session
from connectory.contract.session import DataFailure
from connectory.data import CollectionRef, Read
from connectory.documents.validation import secrets_document
from connectory.testing import load_connector
from servers import hostile_statements
from testkit.loopback import LoopbackServer
from testkit.offspring import Offspring

SECONDS = 2.0
# Nothing that these servers send in good order takes as long.
PATIENCE = 0.7
LATE = 3 * SECONDS
MEMORY = 96 * 2**20
MEMORY_BOUND = 20 * 2**20
QUERY = Read(CollectionRef("t", {"schema": "s"}), (("x",),))

T, R, P = FailureCode.TIMEOUT, FailureCode.RESOURCE_LIMIT, FailureCode.PROTOCOL_MISMATCH
CODES: dict[str, set[FailureCode | DataFailure]] = {
    "endless rows": {T, R, P},
    "a flood": {T, R, DataFailure.TOO_LARGE},
    "a gibibyte": {T, R},
    "a drip": {T},
    "wrong types": {P, DataFailure.VALUE_REJECTED, FailureCode.QUERY_FAILED},
    "more columns": {P, FailureCode.QUERY_FAILED},
}
SERVERS: dict[str, Callable[[str], LoopbackServer]] = {
    "postgres": hostile_statements.postgres,
    "mysql": hostile_statements.mysql,
}


class Case(NamedTuple):
    """An operation at a server that misbehaves."""

    product: str
    behaviour: str
    operation: str

    def __str__(self) -> str:
        return f"{self.product}, {self.operation}, {self.behaviour}"


CASES = [Case(*case) for case in itertools.product(SERVERS, CODES, ("discover", "read"))]


class Outcome(NamedTuple):
    """How an operation failed, and the seconds that took."""

    code: FailureCode | DataFailure
    error_type: str | None
    seconds: float


@pytest.fixture(scope="module")
def connectors() -> dict[str, LoadedConnector]:
    return {name: load_connector(name, f"connectory-{name}") for name in SERVERS}


@pytest.fixture
def servers() -> Iterator[dict[Case, LoopbackServer]]:
    with ExitStack() as running:
        yield {case: running.enter_context(SERVERS[case.product](case.behaviour)) for case in CASES}


def test_each_operation_ends_in_time_with_its_code_and_leaves_nothing(
    connectors: dict[str, LoadedConnector], servers: dict[Case, LoopbackServer]
) -> None:
    outcomes, grown, left = asyncio.run(examined(connectors, servers))
    wrong = [
        f"{case}: {outcome}"
        for case, outcome in outcomes.items()
        if outcome.code not in CODES[case.behaviour] or outcome.seconds > LATE
    ]
    assert not wrong, "\n".join(wrong)
    assert grown < MEMORY_BOUND, f"the service has grown by {grown / 2**20:.1f} MiB"
    assert not left, f"processes are left: {left}"


async def examined(
    connectors: dict[str, LoadedConnector], servers: dict[Case, LoopbackServer]
) -> tuple[dict[Case, Outcome], int, set[Any]]:
    """How each case ended, by how many bytes this process has grown, and the processes that are left."""
    runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), memory=MEMORY)
    await runner.start()
    turns = asyncio.Semaphore(AT_ONCE)

    async def outcomes(cases: list[Case], terms: Terms) -> list[Outcome]:
        return await asyncio.gather(
            *(outcome_of(runner, turns, connectors[case.product], case, servers[case], terms) for case in cases)
        )

    try:
        await outcomes(
            CASES[:: len(CODES) * 2], Terms(seconds=10, patience=PATIENCE)
        )  # so that what is imported is there
        before, memory = set(Offspring().all()), psutil.Process().memory_info().rss
        found = await outcomes(CASES, Terms(seconds=SECONDS, patience=PATIENCE))
        await runner.sessions.settled()
        gc.collect()
        grown = psutil.Process().memory_info().rss - memory
        return dict(zip(CASES, found, strict=True)), grown, set(Offspring().all()) - before
    finally:
        await runner.stop()


async def outcome_of(
    runner: CheckRunner,
    turns: asyncio.Semaphore,
    connector: LoadedConnector,
    case: Case,
    server: LoopbackServer,
    terms: Terms,
) -> Outcome:
    login = {"host": server.host, "port": server.port, "username": "u", "dbname": "d", "ssl_mode": "disabled"}
    document = secrets_document(connector.secrets_model, login)
    async with turns, runner.sessions.open_session(connector, lambda: document, terms, case) as session:
        began = time.monotonic()
        try:
            await operated(session, case.operation)
        except OperationFailed as failure:
            return Outcome(failure.code, failure.error_type, time.monotonic() - began)
    raise AssertionError(f"{case}: it came to an end")


async def operated(session: Session, operation: str) -> None:
    async for _ in session.discover() if operation == "discover" else session.read(QUERY):
        pass
