"""Admit connection tests, have each run in a process of its own, and end it at its deadline."""

from __future__ import annotations

import array
import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from connectory.catalog.connector import Connector
from connectory.contract.check import FAILURE_REASONS, FailureCode
from connectory.contract.secrets import Document
from connectory.probe.child import RESULT_LIMIT
from connectory.probe.context import TIMEOUT_CODES
from connectory.probe.egress import EgressPolicy
from connectory.probe.report import CheckReport, StepReport

MEMORY = 512 * 2**20
"""Bytes of address space that a test may use more than its template: room for any driver, none for a flood."""

# The certificates that the machine trusts are no secret and no default of a driver's; nothing else is handed on.
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PASSED_ON = ("SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")
_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from connectory.probe.template import main; main()"


class QueueFull(Exception):
    """Too many tests run and wait. `retry_after` is when to try again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"retry after {retry_after} s")
        self.retry_after = retry_after


class ShuttingDown(Exception):
    """The service is ending; no test is started, and those that run are ended."""


@dataclass(eq=False)
class _Run:
    """One child: what the template says of it. `pid` is known from its start until it is reaped."""

    pid: int | None = None
    status: int | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    exited: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _Flight:
    """One test that is waiting or running, and how many callers wait for it."""

    task: asyncio.Task[CheckReport]
    callers: int = 0


@dataclass(eq=False)
class _Progress:
    """What a child has reported so far."""

    data: bytes = b""
    verdict: dict[str, Any] | None = None
    loaded: bool = False
    steps: list[StepReport] = field(default_factory=list)
    open_step: tuple[str, float] | None = None

    def feed(self, chunk: bytes) -> None:
        *lines, self.data = (self.data + chunk).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "verdict":
            self.verdict = event
        elif event["event"] == "loaded":
            self.loaded = True
        elif event["event"] == "step":
            self.open_step = (event["name"], time.monotonic())
        elif event["event"] == "end":
            self.open_step = None
            self.steps.append(StepReport(event["name"], event["status"], event["elapsed_ms"]))

    def fail_open_step(self) -> None:
        if self.open_step is not None:
            name, started = self.open_step
            self.open_step = None
            self.steps.append(StepReport(name, "failed", round((time.monotonic() - started) * 1000, 3)))


class ProbeRunner:
    """Runs connection tests for one event loop.

    Args:
        policy: where tests may connect.
        deadline: seconds after which a test is ended. Default 10.
        concurrency: tests that run at once. Default 16.
        queue: tests that may wait for their turn. Default 64.
    """

    def __init__(self, *, policy: EgressPolicy, deadline: float = 10.0, concurrency: int = 16, queue: int = 64) -> None:
        self._policy = policy
        self._deadline = deadline
        self._concurrency = concurrency
        self._queue = queue
        self._slots = asyncio.Semaphore(concurrency)
        self._flights: dict[Hashable, _Flight] = {}
        self._runs: dict[int, _Run] = {}
        self._next = 0
        self._template: _Template | None = None
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """Tests that run or wait."""
        return len(self._flights)

    async def start(self) -> None:
        """Start the template process."""
        self._stopping = False
        await self._ready_template()

    async def stop(self) -> None:
        """End every test and the template. Calling it again does nothing."""
        self.kill_all()
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._template is not None:
            template, self._template = self._template, None
            await asyncio.get_running_loop().run_in_executor(None, template.close)

    def kill_all(self) -> None:
        """End every test at once; their callers get `ShuttingDown`. For signal handlers."""
        self._stopping = True
        for run in list(self._runs.values()):
            _kill(run)
        for flight in self._flights.values():
            flight.task.get_loop().call_soon_threadsafe(flight.task.cancel)

    async def run(self, flight: Hashable, connector: Connector, open_document: Callable[[], Document]) -> CheckReport:
        """Test a connection, or join the test of the same `flight` that is already waiting or running.

        Args:
            flight: what is tested, e.g. the connection's id and the version of its secrets.
            connector: whose test to run.
            open_document: gives the secrets in plain text; called once, when the test starts.

        Raises:
            QueueFull: too many tests wait.
            ShuttingDown: the service is ending.
        """
        if self._stopping:
            raise ShuttingDown
        current = self._flights.get(flight)
        if current is None:
            waiting = len(self._flights) - self._concurrency
            if waiting >= self._queue:
                raise QueueFull(math.ceil(self._deadline * max(1, waiting / self._concurrency)))
            current = _Flight(asyncio.get_running_loop().create_task(self._admit(connector, open_document)))
            self._flights[flight] = current
            current.task.add_done_callback(lambda _: self._flights.pop(flight, None))
        current.callers += 1
        try:
            return await asyncio.shield(current.task)
        except asyncio.CancelledError:
            if self._stopping:
                raise ShuttingDown from None
            raise
        finally:
            current.callers -= 1
            if current.callers == 0 and not current.task.done():
                current.task.cancel()

    async def _admit(self, connector: Connector, open_document: Callable[[], Document]) -> CheckReport:
        async with self._slots:
            return await self._execute(connector, open_document)

    async def _execute(self, connector: Connector, open_document: Callable[[], Document]) -> CheckReport:
        started = time.monotonic()
        template = await self._ready_template()
        progress = _Progress()
        run = _Run()
        number, self._next = self._next, self._next + 1
        self._runs[number] = run
        try:
            try:
                job_writer, result_reader = _hand_over(template, number)
            except TemplateGone:
                template = await self._ready_template()
                job_writer, result_reader = _hand_over(template, number)
            try:
                async with asyncio.timeout(self._deadline):
                    await job_writer.write(self._job(connector, open_document()))
                    job_writer.close()
                    await _follow(result_reader, progress)
            except TimeoutError:
                step = progress.open_step[0] if progress.open_step else ""
                progress.verdict = {"status": "failed", "code": TIMEOUT_CODES.get(step, FailureCode.TIMEOUT)}
            finally:
                job_writer.close()
                result_reader.close()
            status = await self._end(run, template)
        finally:
            _kill(run)
            del self._runs[number]
        progress.fail_open_step()
        if progress.loaded:
            template.load(connector)
        return _report(progress, status, (time.monotonic() - started) * 1000)

    def _job(self, connector: Connector, document: Document) -> bytes:
        settings = connector.settings.model_dump(mode="json") if connector.settings is not None else {}
        job = {
            "identifier": connector.identifier,
            "distribution": connector.record.distribution,
            "document": document,
            "deadline": self._deadline,
            "allow_loopback": self._policy.allow_loopback,
            "deny": self._policy.deny,
            "settings": settings,
            "memory": MEMORY,
        }
        return json.dumps(job).encode()

    async def _end(self, run: _Run, template: _Template) -> int | None:
        """Kill what is left of the test, and return how its child ended; `None` where the template is gone too."""
        with suppress(TemplateGone):
            await template.wait(run.started)
            _kill(run)
            await template.wait(run.exited)
            return run.status
        return None

    async def _ready_template(self) -> _Template:
        if self._template is None or not self._template.alive:
            loop = asyncio.get_running_loop()
            refused = self._template.refused if self._template is not None else set()
            self._template = _Template(loop, self._runs, refused)
        return self._template


class TemplateGone(Exception):
    """The template process ended."""


class _Template:
    """The runner's side of the template process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runs: dict[int, _Run], refused: set[tuple[str, str]]) -> None:
        self._loop = loop
        self._runs = runs
        self._loaded: set[tuple[str, str]] = set()
        self._loading: tuple[str, str] | None = None
        self.refused = refused
        """Connectors whose import ended a template; they are imported by each child instead."""
        self.gone = asyncio.Event()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            environment = _ENVIRONMENT | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            command = [sys.executable, "-I", "-c", _START, json.dumps(sys.path)]
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
            )
        self._control = ours
        self._control.setblocking(False)
        loop.add_reader(ours, self._receive)

    @property
    def alive(self) -> bool:
        return not self.gone.is_set()

    def send(self, request: dict[str, Any], *descriptors: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._control.sendmsg([json.dumps(request).encode()], rights)
        except OSError as error:
            raise TemplateGone from error

    def load(self, connector: Connector) -> None:
        """Have later children start with `connector` and its drivers imported, once it has worked in a child."""
        name = (connector.identifier, connector.record.distribution)
        if self._loading is not None or name in self._loaded | self.refused or not self.alive:
            return
        with suppress(TemplateGone):
            self._loading = name
            self.send({"op": "load", "identifier": name[0], "distribution": name[1]})

    def _receive(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        event = json.loads(data)
        if event["event"] == "loaded":
            self._loaded.add((event["identifier"], event["distribution"]))
            self._loading = None
            return
        run = self._runs.get(event.get("id", -1))
        if run is not None and event["event"] == "started":
            run.pid = event["pid"]
            run.started.set()
        elif run is not None and event["event"] == "exited":
            run.pid, run.status = None, event["status"]
            run.exited.set()

    def _lost(self) -> None:
        self._loop.remove_reader(self._control)
        if self._loading is not None:
            self.refused.add(self._loading)
        self.gone.set()

    async def wait(self, event: asyncio.Event) -> None:
        """Wait for `event`, or raise `TemplateGone` when the template ends first."""
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.gone.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise TemplateGone

    def close(self) -> None:
        """End the process and wait for it."""
        self._loop.remove_reader(self._control)
        self.gone.set()
        self._control.close()
        self._process.kill()
        self._process.wait()


def _hand_over(template: _Template, number: int) -> tuple[_Pipe, _Pipe]:
    """Have the template fork a child, and return our ends of its two pipes."""
    job_reader, job_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    pipes = _Pipe(job_writer), _Pipe(result_reader)
    try:
        template.send({"op": "run", "id": number}, job_reader, result_writer)
    except TemplateGone:
        for pipe in pipes:
            pipe.close()
        raise
    finally:
        os.close(job_reader)
        os.close(result_writer)
    return pipes


class _Pipe:
    """One end of a pipe, read or written without blocking the event loop."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes) -> None:
        """Write all of `data`, or what the other end takes before it closes."""
        assert self._descriptor is not None
        view = memoryview(data)
        with suppress(BrokenPipeError):
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def read(self) -> bytes:
        """What there is, at least one byte; empty at the end."""
        assert self._descriptor is not None
        while True:
            try:
                return os.read(self._descriptor, RESULT_LIMIT)
            except BlockingIOError:
                await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _ready(self, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
        ready = self._loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        add(self._descriptor, wake)
        try:
            await ready
        finally:
            remove(self._descriptor)

    def close(self) -> None:
        """Close this end. Calling it again does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def _follow(reader: _Pipe, progress: _Progress) -> None:
    """Take in what a child reports, until its verdict or its end."""
    total = 0
    while progress.verdict is None and (chunk := await reader.read()):
        total += len(chunk)
        if total > RESULT_LIMIT:
            return
        progress.feed(chunk)


def _kill(run: _Run) -> None:
    """End the child and everything of its session."""
    if run.pid is not None:
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(run.pid, signal.SIGKILL)


def _report(progress: _Progress, status: int | None, elapsed_ms: float) -> CheckReport:
    verdict = progress.verdict or {"status": "failed", "code": _code_of_death(status)}
    steps = tuple(progress.steps)
    if verdict["status"] != "failed":
        return CheckReport(status=verdict["status"], steps=steps, elapsed_ms=round(elapsed_ms, 3))
    code = FailureCode(verdict["code"])
    return CheckReport(
        status="failed",
        code=code,
        reason=verdict.get("remedy") or FAILURE_REASONS[code],
        steps=steps,
        elapsed_ms=round(elapsed_ms, 3),
        retry_after=verdict.get("retry_after"),
        error_type=verdict.get("error_type"),
    )


def _code_of_death(status: int | None) -> FailureCode:
    """Why a child that gave no verdict ended, by its wait status."""
    if status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGKILL, signal.SIGXFSZ}:
        return FailureCode.RESOURCE_LIMIT
    return FailureCode.CRASHED
