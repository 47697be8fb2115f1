"""Admit connection tests, have each run in a process of its own, and end it at its deadline."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.child import JOB_LIMIT, RESULT_LIMIT, ConnectorName
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import ForkServerHandle, ForkServerLost, ForkServers
from connectory.checks.report import CheckReport
from connectory.checks.transcript import Transcript
from connectory.contract.check import FailureCode
from connectory.documents.validation import Document

_log = logging.getLogger(__name__)

MEMORY = 512 * 2**20
"""Bytes of address space that a test may use besides what its template has: room for any driver, none for a flood."""

_OpenJob = Callable[[], dict[str, Any]]
"""Gives what of a job is secret."""
_BURIAL_LIMIT = 1.0
"""Seconds to wait for a killed process to disappear before the report is given anyway."""


class QueueFull(Exception):
    """Too many tests run and wait. `retry_after` is when to try again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many connection tests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


class ShuttingDown(Exception):
    """The service is ending: no test starts, and those that run are ended."""


@dataclass(frozen=True)
class Exchange:
    """An authorization code to exchange for tokens. `code_verifier` is `None` without PKCE."""

    code: str = field(repr=False)
    code_verifier: str | None = field(repr=False)


@dataclass(eq=False)
class _Flight:
    """One test that waits or runs, and how many callers wait for it."""

    task: asyncio.Task[CheckReport]
    callers: int = 0


class CheckRunner:
    """Runs connection tests, for one event loop. It starts no thread, and never blocks the loop.

    Args:
        policy: where tests may connect.
        deadline: seconds after which a test is killed. Default 10.
        concurrency: tests that run at once. Default 16.
        queue: tests that may wait for their turn. Default 64.
        memory: bytes of address space that a test may use more than before it began. Default 512 MiB.
    """

    def __init__(
        self,
        *,
        policy: EgressPolicy,
        deadline: float = 10.0,
        concurrency: int = 16,
        queue: int = 64,
        memory: int = MEMORY,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._concurrency = concurrency
        self._queue = queue
        self._memory = memory
        self._slots = asyncio.Semaphore(concurrency)
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[CheckReport]] = set()
        self._templates = ForkServers()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = False

    @property
    def in_flight(self) -> int:
        """Tests that run or wait."""
        return len(self._tasks)

    async def start(self) -> None:
        """Start the root template. It becomes ready by itself; the first test waits for it."""
        self._loop = asyncio.get_running_loop()
        self._ending = False
        self._templates.start()

    async def stop(self) -> None:
        """Kill every running test, then the templates, and wait for all of them. Calling it again does nothing."""
        self._ending = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._templates.stop()

    def kill_all(self) -> None:
        """Kill every test at once, and have its callers get `ShuttingDown`. May be called from a signal handler."""
        self._ending = True
        self._templates.kill_tests()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    async def run(
        self,
        flight: Hashable,
        connector: LoadedConnector,
        open_document: Callable[[], Document],
        tokens: Callable[[], Mapping[str, Any] | None] | None = None,
        exchange: Exchange | None = None,
    ) -> CheckReport:
        """Test a connection, or join the test of the same `flight` that already waits or runs.

        When the last of its callers is cancelled, the test is killed.

        Args:
            flight: what is tested, e.g. the connection's key and the version of its secrets.
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
        current = self._flights.get(flight)
        if current is None:

            def open_job() -> dict[str, Any]:
                return {
                    "document": open_document(),
                    "tokens": tokens() if tokens is not None else None,
                    "exchange": asdict(exchange) if exchange is not None else None,
                }

            current = self._flights[flight] = self._take_off(flight, connector, open_job, repeatable=exchange is None)
        current.callers += 1
        try:
            return await asyncio.shield(current.task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if current.task.cancelled() and self._ending and not (caller and caller.cancelling()):
                raise ShuttingDown from None
            raise
        finally:
            current.callers -= 1
            if current.callers == 0 and not current.task.done():
                current.task.cancel()
                self._land(flight, current)  # who comes now starts another test

    def _take_off(
        self, flight: Hashable, connector: LoadedConnector, open_job: _OpenJob, *, repeatable: bool
    ) -> _Flight:
        waiting = len(self._tasks) - self._concurrency
        if waiting >= self._queue:
            # If every test takes its whole time, this is when the queue's last one starts.
            raise QueueFull(max(1, math.ceil(self._deadline * (waiting + 1) / self._concurrency)))
        started = _Flight(asyncio.get_running_loop().create_task(self._fly(connector, open_job, repeatable=repeatable)))
        self._tasks.add(started.task)
        started.task.add_done_callback(self._tasks.discard)
        started.task.add_done_callback(lambda _: self._land(flight, started))
        return started

    def _land(self, flight: Hashable, landed: _Flight) -> None:
        if self._flights.get(flight) is landed:
            del self._flights[flight]

    async def _fly(self, connector: LoadedConnector, open_job: _OpenJob, *, repeatable: bool) -> CheckReport:
        async with self._slots:
            killed_at = time.monotonic() + self._deadline
            with suppress(ForkServerLost):
                return await self._test(connector, open_job, killed_at)
            # A template that ends takes the tests of others with it, through no fault of theirs: once more. But a code is
            # good for one exchange, and a provider may revoke what it gave when it sees the code again (RFC 6749 §4.1.2).
            if repeatable:
                with suppress(ForkServerLost):
                    return await self._test(connector, open_job, killed_at)
            _log.error(
                "The process that connection tests are forked from ended %s in one test of the connector '%s'.",
                "twice" if repeatable else "once",
                connector.identifier,
            )
            return Transcript().report_failed(FailureCode.CRASHED)

    async def _test(self, connector: LoadedConnector, open_job: _OpenJob, killed_at: float) -> CheckReport:
        """Run one test in one process; when this ends, however it does, so has the process.

        Raises:
            ForkServerLost: the test's template ended.
        """
        transcript = Transcript()
        process: _TestProcess | None = None
        limit = asyncio.timeout(max(0.0, killed_at - time.monotonic()))
        try:
            async with limit:
                template = await self._templates.fit_for(connector)
                job = self._job(connector, open_job(), killed_at)
                if len(job) > JOB_LIMIT:
                    too_large = (
                        f"The stored secrets are larger than a test takes ({JOB_LIMIT} bytes); send smaller ones."
                    )
                    return transcript.report_failed(FailureCode.SECRETS_UNREADABLE, too_large)
                process = _TestProcess(template, connector, transcript)
                process.write(job)
                del job
                await process.finished
        except TimeoutError:
            if not limit.expired():
                raise
            return transcript.report() or transcript.report_killed()
        finally:
            if process is not None:
                await process.end()
        report = transcript.report()
        if report is not None:
            return report
        if transcript.complete:
            return transcript.report_failed(FailureCode.CRASHED)
        if self._ending:
            raise ShuttingDown  # it was we who killed it
        status = process.exit_status
        if status is None:
            raise ForkServerLost
        return transcript.report_dead(status)

    def _job(self, connector: LoadedConnector, opened: dict[str, Any], killed_at: float) -> bytes:
        job = {
            **opened,
            "settings": connector.settings_values or {},
            "killed_at": killed_at,
            "allow_loopback": self._policy.allow_loopback,
            "deny": self._policy.deny,
            "memory": self._memory,
        }
        return json.dumps(job).encode()


class _TestProcess:
    """One test's process, by the pipe that its job goes down and the pipe that its report comes up.

    Attributes:
        finished: done when the transcript is complete, or the process is dead.
    """

    def __init__(self, template: ForkServerHandle, connector: LoadedConnector, transcript: Transcript) -> None:
        self._loop = asyncio.get_running_loop()
        self._template = template
        self._transcript = transcript
        self._unwritten = memoryview(b"")
        self.finished: asyncio.Future[None] = self._loop.create_future()
        job_reader, self._job = os.pipe()
        self._result, result_writer = os.pipe()
        try:
            self._fork = template.fork("test", ConnectorName.of(connector), job_reader, result_writer)
        except BaseException:
            os.close(self._job)
            os.close(self._result)
            raise
        finally:
            os.close(job_reader)
            os.close(result_writer)
        os.set_blocking(self._job, False)
        os.set_blocking(self._result, False)
        self._loop.add_reader(self._result, self._read)
        self._fork.exit.add_done_callback(self._exited)

    @property
    def exit_status(self) -> int | None:
        """How the process ended by itself; `None` where its template ended."""
        return self._fork.exit.result() if self._fork.exit.done() else None

    def write(self, job: bytes) -> None:
        """Send the job, as far as the pipe takes it; the rest follows when the process reads."""
        self._unwritten = memoryview(job)
        self._loop.add_writer(self._job, self._write)
        self._write()

    def _write(self) -> None:
        try:
            self._unwritten = self._unwritten[os.write(self._job, self._unwritten) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it died; its exit says so
            self._unwritten = memoryview(b"")
        if not self._unwritten:
            self._close_job()

    def _close_job(self) -> None:
        if self._job >= 0:
            self._loop.remove_writer(self._job)
            os.close(self._job)
            self._job = -1

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while not self._transcript.complete:
                data = os.read(self._result, RESULT_LIMIT)
                if not data:  # its exit follows, and says how it ended
                    self._loop.remove_reader(self._result)
                    return
                self._transcript.feed(data)
            self._finish()

    def _exited(self, _: asyncio.Future[int | None]) -> None:
        if not self.finished.done():
            self._read()  # it may have had the last word
            self._finish()

    def _finish(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    async def end(self) -> None:
        """Kill the process and whatever it has started, and return when they are gone."""
        self._fork.exit.remove_done_callback(self._exited)
        self._close_job()
        self._loop.remove_reader(self._result)
        os.close(self._result)
        self._template.end(self._fork)
        await asyncio.wait([self._fork.gone], timeout=_BURIAL_LIMIT)
        if not self._fork.gone.done():
            self._template.lose()  # it does not do as it is told; another one takes its place
