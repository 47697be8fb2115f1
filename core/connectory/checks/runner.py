"""Admit connection tests, have each run in a process of its own, and end it at its deadline."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.confinement import WARNINGS, level
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import ForkServerLost, ForkServers
from connectory.checks.memory import BUDGET
from connectory.checks.process import CheckProcess
from connectory.checks.protocol import JOB_LIMIT, ConnectorName, Exchange, Job, encode_job
from connectory.checks.report import CheckReport
from connectory.checks.spares import Spares
from connectory.checks.transcript import Transcript
from connectory.contract.check import FailureCode
from connectory.documents.validation import Document

__all__ = ["MEMORY", "CheckRunner", "Exchange", "QueueFull", "ShuttingDown"]

_log = logging.getLogger(__name__)

MEMORY = 512 * 2**20
"""Bytes of address space that a test may use besides what its fork server has: room for any driver, none for a flood."""

_RESPITE = 0.002
"""Seconds from a test's end to the fork of the next spare: longer than the event loop takes to pass the report on."""


class QueueFull(Exception):
    """Too many tests run and wait. `retry_after` is when to try again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many connection tests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


class ShuttingDown(Exception):
    """The service is ending: no test starts, and those that run are ended."""


@dataclass(frozen=True)
class _Subject:
    """What one test is of. Secrets and tokens are opened when it starts, and not kept while it waits."""

    connector: LoadedConnector
    open_document: Callable[[], Document]
    open_tokens: Callable[[], Mapping[str, Any] | None] | None
    exchange: Exchange | None

    def job(self, policy: EgressPolicy, killed_at: float, memory: int, traceback: bool) -> bytes:
        """The job for its process."""
        return encode_job(
            Job(
                document=self.open_document(),
                settings=self.connector.settings_values or {},
                policy=policy,
                killed_at=killed_at,
                memory=memory,
                tokens=self.open_tokens() if self.open_tokens is not None else None,
                exchange=self.exchange,
                traceback=traceback,
            )
        )


@dataclass(eq=False)
class _SharedTest:
    """One test that waits or runs, and how many callers wait for its report; `task` ends when its process is gone."""

    report: asyncio.Future[CheckReport]
    task: asyncio.Task[None]
    callers: int = 0


class CheckRunner:
    """Runs connection tests, for one event loop. It starts no thread, and never blocks the loop.

    Args:
        policy: where tests may connect.
        deadline: seconds after which a test is killed. Default 10.
        concurrency: tests that run at once. Default 16.
        queue: tests that may wait for their turn. Default 64.
        memory: bytes of address space that a test may use more than before it began. Default 512 MiB.
        total_memory: bytes of memory that all tests, and what they are forked from, may take together; beyond that the test
            that takes most is ended. Default 2 GiB.
        closed: the service's own files and folders, as absolute paths: no test reads them, wherever they stand.
        spares: processes that wait, for each connector in use, for its next test. Default 1.
        tracebacks: whether reports tell the traceback of what the connector raised: for its author, never in the service.
            Default: no.

    Attributes:
        confinement: what keeps tests from the files of this machine.
    """

    def __init__(
        self,
        *,
        policy: EgressPolicy,
        deadline: float = 10.0,
        concurrency: int = 16,
        queue: int = 64,
        memory: int = MEMORY,
        total_memory: int = BUDGET,
        closed: Iterable[str] = (),
        spares: int = 1,
        tracebacks: bool = False,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._concurrency = concurrency
        self._queue = queue
        self._memory = memory
        self._tracebacks = tracebacks
        self._slots = asyncio.Semaphore(concurrency)
        self._shared: dict[Hashable, _SharedTest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Future[CheckReport]] = set()
        self._fork_servers = ForkServers(closed, total_memory)
        self._spares = Spares(spares)
        self.confinement = level()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False

    @property
    def in_flight(self) -> int:
        """Tests that run or wait."""
        return len(self._reports)

    @property
    def ending(self) -> bool:
        """Whether no further test is taken."""
        return self._ending

    async def start(self) -> None:
        """Start the root fork server. It becomes ready by itself; the first test waits for it."""
        self._loop = asyncio.get_running_loop()
        self._ending = False
        self._fork_servers.start()
        if self.confinement in WARNINGS:
            _log.warning(WARNINGS[self.confinement])

    async def stop(self) -> None:
        """Kill every running test and spare, then the fork servers, and wait for all. Calling it again does nothing."""
        self._ending = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._spares.end_all()
        await self._fork_servers.stop()

    def take_no_more(self) -> None:
        """Have callers of further tests get `ShuttingDown`; those that run or wait go on. May be called from a signal handler."""
        self._ending = True

    def kill_all(self) -> None:
        """Kill every test at once, and have its callers get `ShuttingDown`. May be called from a signal handler."""
        self._ending = True
        self._fork_servers.kill_tests()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    async def run(
        self,
        joins: Hashable,
        connector: LoadedConnector,
        open_document: Callable[[], Document],
        tokens: Callable[[], Mapping[str, Any] | None] | None = None,
        exchange: Exchange | None = None,
    ) -> CheckReport:
        """Test a connection, or join the test with the same `joins` that already waits or runs.

        When the last of its callers is cancelled, the test is killed.

        Args:
            joins: what is tested, e.g. the connection's key and the version of its secrets.
            connector: whose test to run.
            open_document: gives the secrets in plain text; called once, when the test starts. What it raises is raised
                here.
            tokens: gives what an earlier run handed over to be sealed; called and raising like `open_document`. Default:
                nothing.
            exchange: exchange this code for tokens instead of testing; a report of success then has tokens.

        Raises:
            QueueFull: too many tests wait.
            ShuttingDown: the service is ending.
        """
        if self._ending:
            raise ShuttingDown
        shared = self._shared.get(joins) or self._admit(joins, _Subject(connector, open_document, tokens, exchange))
        shared.callers += 1
        try:
            return await asyncio.shield(shared.report)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if shared.report.cancelled() and self._ending and not (caller and caller.cancelling()):
                raise ShuttingDown from None
            raise
        finally:
            shared.callers -= 1
            if shared.callers == 0 and not shared.report.done():
                shared.task.cancel()
                self._forget(joins, shared)  # who comes now starts another test

    def _admit(self, joins: Hashable, subject: _Subject) -> _SharedTest:
        waiting = self.in_flight - self._concurrency
        if waiting >= self._queue:
            # If every test takes its whole time, this is when the queue's last one starts.
            raise QueueFull(max(1, math.ceil(self._deadline * (waiting + 1) / self._concurrency)))
        loop = asyncio.get_running_loop()
        report: asyncio.Future[CheckReport] = loop.create_future()
        admitted = _SharedTest(report, loop.create_task(self._run_in_turn(subject, report)))
        self._shared[joins] = admitted
        self._reports.add(report)
        self._tasks.add(admitted.task)
        admitted.task.add_done_callback(self._tasks.discard)
        admitted.task.add_done_callback(lambda task: _pass_on(task, report))
        report.add_done_callback(self._reports.discard)
        report.add_done_callback(lambda _: self._forget(joins, admitted))
        return admitted

    def _forget(self, joins: Hashable, shared: _SharedTest) -> None:
        if self._shared.get(joins) is shared:
            del self._shared[joins]

    async def _run_in_turn(self, subject: _Subject, report: asyncio.Future[CheckReport]) -> None:
        async with self._slots:
            killed_at = time.monotonic() + self._deadline
            # A fork server that ends takes the tests of others with it, through no fault of theirs: once more. But a code is
            # good for one exchange, and a provider may revoke what it gave when it sees the code again (RFC 6749 §4.1.2).
            attempts = 2 if subject.exchange is None else 1
            for _ in range(attempts):
                with suppress(ForkServerLost):
                    await self._run_once(subject, killed_at, report)
                    return
            _log.error(
                "The process that connection tests are forked from ended %s in one test of the connector '%s'.",
                "twice" if attempts == 2 else "once",
                subject.connector.identifier,
            )
            report.set_result(Transcript().report_failed(FailureCode.CRASHED))

    async def _run_once(self, subject: _Subject, killed_at: float, report: asyncio.Future[CheckReport]) -> None:
        """Run one test in one process, and tell the report. When this ends, however it does, the process is gone.

        Raises:
            ForkServerLost: the process's fork server ended, and nothing was told.
        """
        transcript = Transcript()
        process: CheckProcess | None = None
        limit = asyncio.timeout(max(0.0, killed_at - time.monotonic()))
        try:
            async with limit:
                name = ConnectorName.of(subject.connector)
                server = await self._fork_servers.server_for(name)
                job = subject.job(self._policy, killed_at, self._memory, self._tracebacks)
                if len(job) > JOB_LIMIT:
                    too_large = (
                        f"The stored secrets are larger than a test takes ({JOB_LIMIT} bytes); send smaller ones."
                    )
                    report.set_result(transcript.report_failed(FailureCode.SECRETS_UNREADABLE, too_large))
                    return
                process = self._spares.take(server, name) or CheckProcess(server, name)
                process.begin(job, transcript)
                del job
                await process.finished
            report.set_result(self._report(transcript, process))
        except TimeoutError:
            if not limit.expired():
                raise
            report.set_result(transcript.report() or transcript.report_killed())
        finally:
            if process is not None:
                process.kill()
                # A little later, so that the answer need not share the processors with the fork.
                asyncio.get_running_loop().call_later(_RESPITE, self._replace, process)
                await process.gone()

    def _replace(self, process: CheckProcess) -> None:
        """Have a spare ready for the next test of the connector that `process` was for."""
        all_begun = self.in_flight < self._concurrency  # while tests queue, a spare would only cost them time
        if all_begun and not self._ending:
            self._spares.fill(process.server, process.name)

    def _report(self, transcript: Transcript, process: CheckProcess) -> CheckReport:
        """What came of a test that has finished."""
        report = transcript.report()
        if report is not None:
            return report
        if transcript.complete:
            return transcript.report_failed(FailureCode.CRASHED)
        if self._ending:
            raise ShuttingDown  # it was we who killed it
        if process.exit_status is None:
            raise ForkServerLost
        return transcript.report_dead(process.exit_status)


def _pass_on(task: asyncio.Task[None], report: asyncio.Future[CheckReport]) -> None:
    """Have who waits for the report of a test that told none learn why."""
    if report.done():
        return
    if task.cancelled():
        report.cancel()
    elif (error := task.exception()) is not None:
        report.set_exception(error)
