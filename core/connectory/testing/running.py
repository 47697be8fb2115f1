"""Run a connector's test as the service does: in a process of its own, with a deadline and an egress policy."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self, TypeVar

from packaging.utils import canonicalize_name

from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.process_state import ProcessState
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import PASSED_ON, ForkServers
from connectory.checks.report import CheckReport
from connectory.checks.runner import MEMORY, CheckRunner, Exchange
from connectory.checks.sessions.runner import SessionNotOpened, Terms
from connectory.checks.sessions.session import Session
from connectory.checks.token_turn import GivenTokens
from connectory.contract.check import FailureCode
from connectory.documents.validation import Document, secrets_document

_AT_ONCE = 4
"""Tests that run at the same time: enough to save time, few enough for a small machine to keep deadlines."""

_TURNS = 64
"""Turns that a runner has, so that no test waits for one: how many run at once is for whoever asks."""

_IMPORTS = 10
"""Tests after which importing ahead is given up: then the driver takes longer than any test has."""


_ResultT = TypeVar("_ResultT")


def load_connector(
    identifier: str,
    distribution: str,
    settings: Mapping[str, str] | None = None,
    *,
    source: str = "",
    target: str = "",
) -> LoadedConnector:
    """Load an installed connector as the service does.

    What it returns has, among others, `schema` (the JSON Schema of the secrets), `secrets_model` (the class that validates
    them), `description`, `system_type`, and `authorization(secrets)`.

    Args:
        identifier: the connector's identifier, e.g. `postgres`.
        distribution: the distribution that ships it, e.g. `connectory-postgres`.
        settings: environment variables of the deployer's settings, besides those of this process.
        source: for a connector that a source finds, the name of the source's entry point.
        target: and what the source calls it: `SourcedConnector.target`.

    Raises:
        LookupError: `distribution` is not installed, or declares no such connector.
        PluginBroken: the connector does not load; the message says why.
    """
    environment = os.environ | dict(settings or {})
    with ProcessState():
        return find_connector(identifier, canonicalize_name(distribution), environment, source=source, target=target)


class Outcome(NamedTuple):
    """What a test answered, and how long that took.

    Attributes:
        report: the verdict, with the steps taken.
        seconds: from asking for the test to its report, with the time it waited for its turn and its process.
    """

    report: CheckReport
    seconds: float


class Trial(NamedTuple):
    """What to test: for tests that run at the same time.

    Attributes:
        connector: what `load_connector` returned, perhaps with settings of its own.
        payload: the secrets.
        tokens: what an earlier test or consent handed to `context.store_tokens`.
    """

    connector: LoadedConnector
    payload: Mapping[str, Any]
    tokens: Mapping[str, Any] | None = None


def step_statuses(report: CheckReport) -> dict[str, str]:
    """How each step of a test ended, by the step's name, in the order in which they were taken."""
    return {step.name: step.status for step in report.steps}


class _Surroundings(NamedTuple):
    """What fork servers start with, and see no later change of: after one, tests need others."""

    environment: tuple[str | None, ...]
    path: tuple[str, ...]


class _Terms(NamedTuple):
    """What a runner is for. Those of the same surroundings share their fork servers, which take longest to start."""

    deadline: float
    allow_loopback: bool
    surroundings: _Surroundings


class Workbench:
    """Tests connections, each in a process of its own, as the service does.

    It keeps what tests share, so one workbench serves a whole test session. Use it as a context
    manager, and not inside a coroutine: it runs an event loop of its own.

        @pytest.fixture(scope="session")
        def workbench() -> Iterator[Workbench]:
            with Workbench() as workbench:
                yield workbench

        def test_a_silent_server_is_a_timeout(workbench: Workbench) -> None:
            with silent_server() as server:
                secrets = {"host": server.host, "port": server.port, "password": "any"}
                report, seconds = workbench.test("redis", "connectory-redis", secrets, deadline=2)
            assert report.code is FailureCode.TIMEOUT
            assert seconds < 3

    Every report is printed, so that pytest shows it where a test fails, and with `internal_driver_error` what the connector
    raised, and where; secrets and tokens are never printed.

    Args:
        deny: networks in CIDR notation that no test may connect to, besides those that never are allowed.
        memory: bytes of address space that a test may use more than before it began. Default 512 MiB, as in the service.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified, as with
            CONNECTORY_ALLOW_CLEARTEXT_IN_UNVERIFIED_TLS. Default: no.
    """

    def __init__(self, *, deny: Iterable[str] = (), memory: int = MEMORY, cleartext_unverified: bool = False) -> None:
        self._deny = tuple(deny)
        self._memory = memory
        self._cleartext_unverified = cleartext_unverified
        self._loop = asyncio.Runner()
        self._runners: dict[_Terms, CheckRunner] = {}
        self._fork_servers: dict[_Surroundings, ForkServers] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for runner in self._runners.values():
                self._loop.run(runner.stop())
        finally:
            self._loop.close()

    def test(
        self,
        identifier: str,
        distribution: str,
        payload: Mapping[str, Any],
        *,
        settings: Mapping[str, str] | None = None,
        tokens: Mapping[str, Any] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Validate `payload` and test a connection with it.

        Args:
            identifier: the connector's identifier.
            distribution: the distribution that ships it.
            payload: the secrets, as a consumer sends them: plain JSON values.
            settings: environment variables of the deployer's settings, besides those of this process.
            tokens: what an earlier run handed to `context.store_tokens`. Default: nothing.
            deadline: seconds after which the test is killed.
            allow_loopback: whether the egress policy lets the test connect to this machine.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
            LookupError, PluginBroken: the connector does not load.
        """
        connector = load_connector(identifier, distribution, settings)
        return self.test_loaded(connector, payload, tokens=tokens, deadline=deadline, allow_loopback=allow_loopback)

    def test_loaded(
        self,
        connector: LoadedConnector,
        payload: Mapping[str, Any],
        *,
        tokens: Mapping[str, Any] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Like `test`, with a connector that `load_connector` returned: one that a source found, for instance."""
        document = secrets_document(connector.secrets_model, dict(payload))
        return self._loop.run(self._run(connector, document, self._terms(deadline, allow_loopback), tokens))

    def test_all(
        self,
        identifier: str,
        distribution: str,
        payloads: Iterable[Mapping[str, Any]],
        *,
        settings: Mapping[str, str] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> list[Outcome]:
        """Test a connection with each of `payloads`, four at a time; the outcomes are in their order.

        Raises:
            SecretsInvalid: one of `payloads` does not fit the connector's schema; then nothing was tested.
            LookupError, PluginBroken: the connector does not load.
        """
        connector = load_connector(identifier, distribution, settings)
        trials = [Trial(connector, payload) for payload in payloads]
        return self.test_trials(trials, deadline=deadline, allow_loopback=allow_loopback)

    def test_trials(
        self,
        trials: Iterable[Trial],
        *,
        deadline: float = 10.0,
        allow_loopback: bool = True,
        at_once: int = _AT_ONCE,
    ) -> list[Outcome]:
        """Like `test_all`, for tests that differ in more than their secrets.

        Args:
            at_once: tests that run at the same time, up to 48. Those that mostly wait leave even a small machine free for many.

        Raises:
            SecretsInvalid: a payload does not fit its connector's schema; then nothing was tested.
        """
        documents = [
            (connector, secrets_document(connector.secrets_model, dict(payload)), tokens)
            for connector, payload, tokens in trials
        ]
        terms = self._terms(deadline, allow_loopback)

        async def together() -> list[Outcome]:
            places = asyncio.Semaphore(at_once)

            async def one(connector: LoadedConnector, document: Document, tokens: Mapping[str, Any] | None) -> Outcome:
                async with places:
                    return await self._run(connector, document, terms, tokens)

            return await asyncio.gather(*(one(*trial) for trial in documents))

        return self._loop.run(together())

    def use(
        self,
        connector: LoadedConnector,
        payload: Mapping[str, Any],
        what: Callable[[Session], Awaitable[_ResultT]],
        *,
        seconds: float = 10.0,
        read_only: bool = True,
        allow_loopback: bool = True,
    ) -> _ResultT:
        """Validate `payload`, open a session with it as the service does, and return what came of using it.

        Args:
            connector: what `load_connector` returned.
            payload: the secrets, as a consumer sends them.
            what: is awaited with the open session; when it returns, the session's process is ended.
            seconds: that the whole session may take.
            read_only: whether the server should refuse writes.
            allow_loopback: whether the egress policy lets the session connect to this machine.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
            SessionNotOpened: there is no session; its report says why, and is printed.
            OperationFailed: what `what` asked for failed.
        """
        document = secrets_document(connector.secrets_model, dict(payload))

        async def run() -> _ResultT:
            runner = await self._runner(self._terms(10.0, allow_loopback))
            limits = Terms(read_only=read_only, seconds=seconds)
            try:
                try:
                    async with runner.sessions.open_session(connector, lambda: document, limits) as session:
                        return await what(session)
                finally:
                    await runner.sessions.settled()
            except SessionNotOpened as failure:
                print(f"{connector.identifier}: {failure.report}")
                raise

        return self._loop.run(run())

    def import_ahead(
        self,
        identifier: str,
        distribution: str,
        payload: Mapping[str, Any],
        *,
        settings: Mapping[str, str] | None = None,
        tokens: Mapping[str, Any] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> None:
        """Test until the driver is imported ahead of further tests, as it is in a service that runs for a while.

        Call it before a test with a short deadline: that is for the far end, and importing a large driver on a busy machine
        takes longer. The arguments are those of `test`; `payload` should lead to a `refused_port`, which answers at once.
        """
        connector = load_connector(identifier, distribution, settings)
        for _ in range(_IMPORTS):
            outcome = self.test_loaded(
                connector, payload, tokens=tokens, deadline=deadline, allow_loopback=allow_loopback
            )
            if outcome.report.code is not FailureCode.TIMEOUT:
                return

    def exchange_code(
        self,
        identifier: str,
        distribution: str,
        payload: Mapping[str, Any],
        code: str,
        code_verifier: str | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        deadline: float = 10.0,
        allow_loopback: bool = True,
    ) -> Outcome:
        """Validate `payload` and exchange an authorization code for tokens, which are `report.tokens` where that succeeds.

        Args:
            code: the code that the provider handed out after consent.
            code_verifier: what the challenge was made from; `None` without PKCE.

        Raises:
            SecretsInvalid: `payload` does not fit the connector's schema.
            LookupError, PluginBroken: the connector does not load.
        """
        connector = load_connector(identifier, distribution, settings)
        document = secrets_document(connector.secrets_model, dict(payload))
        exchange = Exchange(code, code_verifier)
        return self._loop.run(self._run(connector, document, self._terms(deadline, allow_loopback), exchange=exchange))

    def _terms(self, deadline: float, allow_loopback: bool) -> _Terms:
        environment = tuple(os.environ.get(name) for name in PASSED_ON)
        return _Terms(deadline, allow_loopback, _Surroundings(environment, tuple(sys.path)))

    async def _run(
        self,
        connector: LoadedConnector,
        document: Document,
        terms: _Terms,
        tokens: Mapping[str, Any] | None = None,
        exchange: Exchange | None = None,
    ) -> Outcome:
        runner = await self._runner(terms)
        never_joined = object()  # two tests of one connection are two tests here
        started = time.monotonic()
        report = await runner.run(never_joined, connector, lambda: document, GivenTokens(tokens), exchange)
        outcome = Outcome(report, time.monotonic() - started)
        print(f"{connector.identifier}, after {outcome.seconds:.2f} s: {report}")
        if report.code is FailureCode.INTERNAL_DRIVER_ERROR and report.traceback is not None:
            print(report.traceback)
        return outcome

    async def _runner(self, terms: _Terms) -> CheckRunner:
        runner = self._runners.get(terms)
        if runner is None:
            runner = self._runners[terms] = CheckRunner(
                policy=EgressPolicy(allow_loopback=terms.allow_loopback, deny=self._deny),
                deadline=terms.deadline,
                concurrency=_TURNS,
                queue=sys.maxsize,
                memory=self._memory,
                cleartext_unverified=self._cleartext_unverified,
                tracebacks=True,
                fork_servers=self._fork_servers.setdefault(terms.surroundings, ForkServers()),
            )
            await runner.start()
        return runner
