"""Admit connection tests: one of each connection at a time, some at once, and some that wait. Callers join and leave them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.confinement import NATIVE_WARNINGS, WARNINGS, level, native_connections
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import ForkServers
from connectory.checks.memory import BUDGET
from connectory.checks.performer import Performer
from connectory.checks.progress import Observer, Progress
from connectory.checks.protocol import Exchange
from connectory.checks.refusals import NoProcess, ShuttingDown
from connectory.checks.report import CheckReport
from connectory.checks.respite import Respite
from connectory.checks.sessions.runner import SessionRunner
from connectory.checks.spares import Spares
from connectory.checks.subject import Subject, Terms
from connectory.checks.token_turn import TokenTurn
from connectory.checks.turns import QueueFull, Turn, Turns
from connectory.documents.validation import Document

__all__ = ["MEMORY", "CheckRunner", "Exchange", "NoProcess", "QueueFull", "ShuttingDown"]

_log = logging.getLogger(__name__)

MEMORY = 512 * 2**20
"""Bytes of address space that a test may use besides what its fork server has: room for any driver, none for a flood."""


@dataclass(eq=False)
class _SharedTest:
    """One test that waits or runs, and how many callers wait for its report; `task` ends when its process is gone."""

    turn: Turn
    report: asyncio.Future[CheckReport]
    task: asyncio.Task[None]
    progress: Progress
    callers: int = 0


class CheckRunner:
    """Runs connection tests, for one event loop. It starts no thread, and never blocks the loop.

    Args:
        policy: where tests may connect.
        deadline: seconds after which a test is killed. Default 10.
        concurrency: tests that run at once; one client's take up to three quarters of what others leave. Default 16.
        queue: tests that may wait for their turn. Default 64.
        queue_wait: seconds that a test may wait for its turn. Default 10. So `run` takes up to `queue_wait` and `deadline`.
        memory: bytes of address space that a test may use more than before it began. Default 512 MiB.
        total_memory: bytes of memory that all tests, and what they are forked from, may take together; beyond that the test
            that takes most is ended. Default 2 GiB.
        closed: the service's own files and folders, as absolute paths: no test reads them, wherever they stand.
        spares: processes that wait, for each connector in use, for its next test. Default 1.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified. Default: no.
        respite: seconds, at most, from a test's report to the end of its process, for who records the report meanwhile and
            says `answered`; the loop has to go on for it. Default: none.
        tracebacks: whether reports tell the traceback of what the connector raised: for its author, never in the service.
            Default: no.
        fork_servers: what its tests are forked from, where runners that differ in other terms share that; whichever stops
            first stops them. Default: its own, with `closed` and `total_memory`.

    Attributes:
        confinement: what keeps tests from the files of this machine.
        native_connections: what native code in them may connect to.
        sessions: opens data sessions, under the same rules as tests.
    """

    def __init__(
        self,
        *,
        policy: EgressPolicy,
        deadline: float = 10.0,
        concurrency: int = 16,
        queue: int = 64,
        queue_wait: float = 10.0,
        memory: int = MEMORY,
        total_memory: int = BUDGET,
        closed: Iterable[str] = (),
        spares: int = 1,
        cleartext_unverified: bool = False,
        respite: float = 0.0,
        tracebacks: bool = False,
        fork_servers: ForkServers | None = None,
    ) -> None:
        self._deadline = deadline
        self._concurrency = concurrency
        self._turns = Turns(at_once=concurrency, queue=queue, patience=queue_wait, length=deadline)
        self._shared: dict[Hashable, _SharedTest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Future[CheckReport]] = set()
        self._fork_servers = fork_servers or ForkServers(closed, total_memory)
        self._spares = Spares(spares, policy)
        self._respite = Respite(respite)
        self._performer = Performer(
            self._fork_servers,
            self._spares,
            Terms(policy, memory, cleartext_unverified, tracebacks),
            self._respite,
            others_wait=lambda: bool(self._turns.waiting),
            has_room=lambda: self.in_flight < self._concurrency,
            is_ending=lambda: self._ending,
        )
        self.sessions = SessionRunner(
            self._fork_servers, policy=policy, memory=memory, cleartext_unverified=cleartext_unverified
        )
        self.confinement = level()
        self.native_connections = native_connections()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False

    @property
    def in_flight(self) -> int:
        """Tests that run or wait."""
        return len(self._reports)

    @property
    def able(self) -> bool:
        """Whether tests are taken, and there is something to fork them from."""
        return not self._ending and self._fork_servers.able

    async def start(self) -> None:
        """Start the root fork server. It becomes ready by itself; the first test waits for it."""
        self._loop = asyncio.get_running_loop()
        self._ending = False
        self.sessions.start()
        self._fork_servers.start()
        for warning in filter(None, (WARNINGS.get(self.confinement), NATIVE_WARNINGS.get(self.native_connections))):
            _log.warning(warning)

    async def stop(self) -> None:
        """Kill every running test and spare, then the fork servers, and wait for all. Calling it again does nothing."""
        self._ending = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sessions.stop()
        await self._spares.end_all()
        await self._fork_servers.stop()

    def take_no_more(self) -> None:
        """Have callers of further tests get `ShuttingDown`; those that run or wait go on. May be called from a signal handler."""
        self._ending = True
        self.sessions.take_no_more()

    def kill_all(self) -> None:
        """Kill every test at once, and have its callers get `ShuttingDown`. May be called from a signal handler."""
        self.take_no_more()
        self._fork_servers.kill_tests()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    def answered(self) -> None:
        """Say that a report is recorded and about to be answered: what gave way to that follows at once."""
        self._respite.over()

    async def run(
        self,
        joins: Hashable,
        connector: LoadedConnector,
        open_document: Callable[[], Document],
        turn: TokenTurn | None = None,
        exchange: Exchange | None = None,
        client: Hashable = None,
        observer: Observer | None = None,
    ) -> CheckReport:
        """Test a connection, or join the test with the same `joins` that already waits or runs.

        When the last of its callers is cancelled, the test is killed.

        Args:
            joins: what is tested, e.g. the connection's key and the version of its secrets.
            connector: whose test to run.
            open_document: gives the secrets in plain text; called once, when the test starts. What it raises is raised
                here.
            turn: gives what an earlier run handed over to be sealed, when the test starts, and takes what this one hands over.
                What it raises is raised here. Default: nothing.
            exchange: exchange this code for tokens instead of testing; a report of success then has tokens.
            client: whose share of the turns this takes. Default: that of all who are not told apart.
            observer: is told how the test proceeds, until this returns: first what it missed, where it joins.

        Raises:
            QueueFull: too many tests wait, of this client or in all, or this one waited too long.
            NoProcess: there is no process to be had for a test.
            ShuttingDown: the service is ending.
        """
        if self._ending:
            raise ShuttingDown
        shared = self._shared.get(joins)
        if shared is None:
            shared = self._admit(joins, Subject(connector, open_document, turn, exchange), client)
        else:
            self._turns.share(shared.turn, client)
        shared.callers += 1
        if observer is not None:
            shared.progress.attach(observer)
        try:
            return await asyncio.shield(shared.report)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if shared.report.cancelled() and self._ending and not (caller and caller.cancelling()):
                raise ShuttingDown from None
            raise
        finally:
            if observer is not None:
                shared.progress.detach(observer)
            shared.callers -= 1
            if shared.callers == 0 and not shared.report.done():
                shared.task.cancel()
                self._forget(joins, shared)  # who comes now starts another test

    def _admit(self, joins: Hashable, subject: Subject, client: Hashable) -> _SharedTest:
        turn = self._turns.ask(client)
        loop = asyncio.get_running_loop()
        report: asyncio.Future[CheckReport] = loop.create_future()
        progress = Progress()
        progress.stand(self._turns.position(turn))
        task = loop.create_task(self._run_in_turn(turn, subject, report, progress))
        admitted = _SharedTest(turn, report, task, progress)
        self._shared[joins] = admitted
        self._reports.add(report)
        self._tasks.add(admitted.task)
        admitted.task.add_done_callback(self._tasks.discard)
        admitted.task.add_done_callback(lambda _: self._end(turn))  # a task that is cancelled at once never runs
        admitted.task.add_done_callback(lambda task: _pass_on(task, report))
        report.add_done_callback(self._reports.discard)
        report.add_done_callback(lambda _: self._turns.over(turn))
        report.add_done_callback(lambda _: self._forget(joins, admitted))
        return admitted

    def _end(self, turn: Turn) -> None:
        self._turns.end(turn)
        for shared in self._shared.values():
            if shared.progress.waited_for:
                shared.progress.stand(self._turns.position(shared.turn))

    def _forget(self, joins: Hashable, shared: _SharedTest) -> None:
        if self._shared.get(joins) is shared:
            del self._shared[joins]

    async def _run_in_turn(
        self, turn: Turn, subject: Subject, report: asyncio.Future[CheckReport], progress: Progress
    ) -> None:
        await self._turns.called(turn)
        progress.start(self._deadline)
        await self._performer.perform(subject, time.monotonic() + self._deadline, report, progress)


def _pass_on(task: asyncio.Task[None], report: asyncio.Future[CheckReport]) -> None:
    """Have who waits for the report of a test that told none learn why."""
    if report.done():
        return
    if task.cancelled():
        report.cancel()
    elif (error := task.exception()) is not None:
        report.set_exception(error)
