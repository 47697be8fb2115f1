"""Open sessions, each in a process of its own, and end them: when they are left, at their deadline, or with the service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.fork_protocol import ConnectorName, Task
from connectory.checks.forks import ForkServerLost
from connectory.checks.forkservers import ForkServers
from connectory.checks.native_ports import native_ports
from connectory.checks.protocol import JOB_LIMIT, Job, encode_job
from connectory.checks.refusals import ShuttingDown, no_process
from connectory.checks.report import CheckReport
from connectory.checks.sessions.frames import FRAME_LIMIT, LARGEST_FRAME
from connectory.checks.sessions.process import SessionProcess
from connectory.checks.sessions.session import OperationFailed, Session
from connectory.checks.transcript import Transcript
from connectory.checks.turns import Turns
from connectory.contract.check import FailureCode
from connectory.documents.roles import fields_to_blame
from connectory.documents.validation import Document

_log = logging.getLogger(__name__)

_AFTERWARDS = 3.0
"""Seconds that it may take to have a server end what a killed process has left running there."""
AT_ONCE = 4
"""Sessions at the same time. Each has a process that may work for a minute; tests have turns of their own."""
_QUEUE = 16
_PATIENCE = 10.0
_OPENING = 10.0
"""Seconds that logging in may take, as long as a test may by default."""
_LONGEST = 60.0


class SessionNotOpened(Exception):
    """There is no session; `report` says why, as a test's report would."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(report.code)
        self.report = report


@dataclass(frozen=True)
class Terms:
    """How a session may be used.

    Attributes:
        read_only: whether the server should refuse writes.
        seconds: that the whole session may take, from its turn on. Default 60.
        patience: seconds that each operation may take for each part of its answer. Default 60.
        largest_row: bytes that a single row may have, from 1 MiB, which is the default, to 64 MiB. The service holds at most one
            that has more than 1 MiB.
    """

    read_only: bool = True
    seconds: float = _LONGEST
    patience: float = _LONGEST
    largest_row: int = FRAME_LIMIT

    def __post_init__(self) -> None:
        if not FRAME_LIMIT <= self.largest_row <= LARGEST_FRAME:
            raise ValueError(f"a row has from {FRAME_LIMIT} to {LARGEST_FRAME} bytes")


class SessionRunner:
    """Opens sessions, for one event loop.

    Args:
        fork_servers: fork their processes.
        policy: where they may connect.
        memory: bytes of address space that one may use more than before it began.
        cleartext_unverified: whether a password may travel in clear through TLS whose certificate was not verified.
    """

    def __init__(
        self, fork_servers: ForkServers, *, policy: EgressPolicy, memory: int, cleartext_unverified: bool
    ) -> None:
        self._fork_servers = fork_servers
        self._policy = policy
        self._memory = memory
        self._cleartext_unverified = cleartext_unverified
        self._turns = Turns(at_once=AT_ONCE, queue=_QUEUE, patience=_PATIENCE, length=_LONGEST)
        self._processes: set[SessionProcess] = set()
        self._used: dict[SessionProcess, Callable[[str], Coroutine[Any, Any, None]]] = {}
        self._afterwards: set[asyncio.Task[None]] = set()
        self._ending = False

    def start(self) -> None:
        """Take sessions, again."""
        self._ending = False

    def take_no_more(self) -> None:
        """Have callers of further sessions get `ShuttingDown`. May be called from a signal handler."""
        self._ending = True

    async def stop(self) -> None:
        """Kill every session, and wait until all are gone, and what they did at their far ends."""
        self._ending = True
        for process in list(self._used):
            self._kill(process)
        await self.settled()
        processes = list(self._processes)
        for process in processes:
            self._kill(process)
        await asyncio.gather(*(process.gone() for process in processes))

    async def settled(self) -> None:
        """Return when the far ends of sessions that were left in the middle have been told so."""
        await asyncio.gather(*self._afterwards)

    @asynccontextmanager
    async def open_session(
        self,
        connector: LoadedConnector,
        open_document: Callable[[], Document],
        terms: Terms = Terms(),
        client: Hashable = None,
    ) -> AsyncIterator[Session]:
        """Log in, and give the session; when the block is left, its process is gone.

        Args:
            connector: opens it; one whose `opens_sessions` is true.
            open_document: gives the secrets in plain text; called when the session starts. What it raises is raised here.
            terms: how the session may be used.
            client: whose share of the turns this takes.

        Raises:
            SessionNotOpened: there is none; its report says why.
            QueueFull: too many sessions wait, of this client or in all, or this one waited too long.
            NoProcess: there is no process to be had for it.
            ShuttingDown: the service is ending.
        """
        if self._ending:
            raise ShuttingDown
        turn = self._turns.ask(client)
        try:
            await self._turns.called(turn)
            over_at = time.monotonic() + terms.seconds
            process, report = await self._opened(connector, open_document, terms, over_at)
            self._used[process] = partial(self._end_login, connector, open_document)
            try:
                yield Session(process, report, patience=terms.patience, over_at=over_at)
            finally:
                await self._end(process)
        finally:
            self._turns.end(turn)

    async def _opened(
        self, connector: LoadedConnector, open_document: Callable[[], Document], terms: Terms, over_at: float
    ) -> tuple[SessionProcess, CheckReport]:
        killed_at = min(over_at, time.monotonic() + _OPENING)
        document = open_document()
        encoded = encode_job(self._job(connector, document, terms, killed_at=killed_at, over_at=over_at))
        if len(encoded) > JOB_LIMIT:
            too_large = f"The stored secrets are larger than a session takes ({JOB_LIMIT} bytes); send smaller ones."
            raise SessionNotOpened(Transcript().report_failed(FailureCode.SECRETS_UNREADABLE, too_large))
        # A fork server that ends takes the sessions of others with it, through no fault of theirs: once more.
        for _ in range(2):
            with suppress(ForkServerLost):
                process, report = await self._open(connector, encoded, killed_at, terms.largest_row)
                if process is None:
                    blamed = fields_to_blame(connector.fields, report.code, tuple(document))
                    raise SessionNotOpened(replace(report, failure_fields=blamed))
                return process, report
        _log.error("The process that sessions are forked from ended while one was opened.")
        raise SessionNotOpened(replace(Transcript().report_failed(FailureCode.CRASHED), service_failed=True))

    def _job(
        self, connector: LoadedConnector, document: Document, terms: Terms, *, killed_at: float, over_at: float
    ) -> Job:
        return Job(
            document=document,
            settings=connector.settings_values or {},
            policy=self._policy,
            killed_at=killed_at,
            memory=self._memory,
            cleartext_unverified=self._cleartext_unverified,
            read_only=terms.read_only,
            over_at=over_at,
            largest_row=terms.largest_row,
            native_ports=native_ports(connector, document),
            datagrams=connector.description.asks_name_servers,
        )

    async def _open(
        self, connector: LoadedConnector, job: bytes, killed_at: float, largest_row: int
    ) -> tuple[SessionProcess | None, CheckReport]:
        """The process that has opened the session, or none; and the report of that."""
        name = ConnectorName.of(connector)
        transcript = Transcript(connector.description.sentences)
        process: SessionProcess | None = None
        report: CheckReport | None = None
        try:
            async with asyncio.timeout(max(0.0, killed_at - time.monotonic())):
                kind: Task = "session_branch" if connector.description.session_modules else "branch"
                server = await self._fork_servers.server_for(name, kind)
                process = SessionProcess(server, name, self._policy, largest_row)
                self._processes.add(process)
                await process.send(job)
                report = await self._told(process, transcript)
        except TimeoutError:
            report = transcript.report() or transcript.report_killed()
        except OSError as error:
            raise no_process(error) from None
        finally:
            if process is not None and (report is None or report.status != "succeeded"):
                await self._end(process)
                process = None
        return process, report

    async def _told(self, process: SessionProcess, transcript: Transcript) -> CheckReport:
        """What the process tells of the opening."""
        while not transcript.complete:
            message = await process.receive()
            if message is None:
                status = await process.ended()
                if self._ending:
                    raise ShuttingDown
                if status is None:
                    raise ForkServerLost
                return transcript.report_dead(status)
            transcript.feed(message)
        return transcript.report() or transcript.report_failed(FailureCode.CRASHED)

    async def _end(self, process: SessionProcess) -> None:
        self._kill(process)
        try:
            await process.gone()
        finally:
            self._processes.discard(process)

    def _kill(self, process: SessionProcess) -> None:
        """Kill a process, and have its far end told where that would not notice."""
        process.kill()
        end_login, login = self._used.pop(process, None), process.abandoned_login()
        if end_login is not None and login is not None:
            # Whoever used the session need not wait for this.
            task = asyncio.get_running_loop().create_task(end_login(login))
            self._afterwards.add(task)
            task.add_done_callback(self._afterwards.discard)

    async def _end_login(self, connector: LoadedConnector, open_document: Callable[[], Document], login: str) -> None:
        """Have the far end stop what a killed process did there, by another session, whose process is killed as any other."""
        over_at = time.monotonic() + _AFTERWARDS
        terms = Terms(seconds=_AFTERWARDS, patience=_AFTERWARDS)
        try:
            process, report = await self._opened(connector, open_document, terms, over_at)
            try:
                await Session(process, report, patience=_AFTERWARDS, over_at=over_at).end_login(login)
            finally:
                await self._end(process)
        except Exception as error:  # nobody waits for an answer; the server's own limit is what is left
            told = isinstance(error, OperationFailed | SessionNotOpened)
            _log.warning(
                "The connector '%s' could not end what a session has left running at its server (%s).",
                connector.identifier,
                str(error) if told else type(error).__name__,
            )
