"""Open sessions, each in a process of its own, and end them: when they are left, at their deadline, or with the service."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import ForkServerLost, ForkServers
from connectory.checks.protocol import JOB_LIMIT, ConnectorName, Job, Task, encode_job
from connectory.checks.refusals import ShuttingDown, no_process
from connectory.checks.report import CheckReport
from connectory.checks.sessions.process import SessionProcess
from connectory.checks.sessions.session import Session
from connectory.checks.transcript import Transcript
from connectory.checks.turns import Turns
from connectory.contract.check import FailureCode
from connectory.documents.roles import fields_to_blame
from connectory.documents.validation import Document

_log = logging.getLogger(__name__)

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
    """

    read_only: bool = True
    seconds: float = _LONGEST
    patience: float = _LONGEST


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
        self._ending = False

    def start(self) -> None:
        """Take sessions, again."""
        self._ending = False

    def take_no_more(self) -> None:
        """Have callers of further sessions get `ShuttingDown`. May be called from a signal handler."""
        self._ending = True

    async def stop(self) -> None:
        """Kill every session, and wait until all are gone."""
        self._ending = True
        processes = list(self._processes)
        for process in processes:
            process.kill()
        await asyncio.gather(*(process.gone() for process in processes))

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
        encoded = encode_job(self._job(connector, document, killed_at, terms))
        if len(encoded) > JOB_LIMIT:
            too_large = f"The stored secrets are larger than a session takes ({JOB_LIMIT} bytes); send smaller ones."
            raise SessionNotOpened(Transcript().report_failed(FailureCode.SECRETS_UNREADABLE, too_large))
        # A fork server that ends takes the sessions of others with it, through no fault of theirs: once more.
        for _ in range(2):
            with suppress(ForkServerLost):
                process, report = await self._open(connector, encoded, killed_at)
                if process is None:
                    blamed = fields_to_blame(connector.fields, report.code, tuple(document))
                    raise SessionNotOpened(replace(report, failure_fields=blamed))
                return process, report
        _log.error("The process that sessions are forked from ended while one was opened.")
        raise SessionNotOpened(replace(Transcript().report_failed(FailureCode.CRASHED), service_failed=True))

    def _job(self, connector: LoadedConnector, document: Document, killed_at: float, terms: Terms) -> Job:
        return Job(
            document=document,
            settings=connector.settings_values or {},
            policy=self._policy,
            killed_at=killed_at,
            memory=self._memory,
            cleartext_unverified=self._cleartext_unverified,
            read_only=terms.read_only,
        )

    async def _open(
        self, connector: LoadedConnector, job: bytes, killed_at: float
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
                process = SessionProcess(server, name)
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
        process.kill()
        try:
            await process.gone()
        finally:
            self._processes.discard(process)
