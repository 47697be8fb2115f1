"""One test, in a process of its own: from its job to its report, and to the end of the process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.forks import ForkServerHandle, ForkServerLost
from connectory.checks.forkservers import ForkServers
from connectory.checks.process import CheckProcess
from connectory.checks.progress import Progress
from connectory.checks.protocol import JOB_LIMIT, encode_job
from connectory.checks.refusals import ShuttingDown, no_process
from connectory.checks.report import CheckReport
from connectory.checks.respite import Respite
from connectory.checks.spares import Spares
from connectory.checks.subject import Subject, Terms
from connectory.checks.transcript import Transcript
from connectory.contract.check import FailureCode
from connectory.documents.roles import fields_to_blame

_log = logging.getLogger(__name__)

_BEFORE_FORK = 0.002
"""Seconds from a test's end to the fork of the next spare: longer than the event loop takes to pass the report on."""

_LOST = "The process that the service starts tests from ended, and the test with it; try again. The service's log says more."


class Performer:
    """Performs tests that have their turn, for one event loop.

    Args:
        fork_servers: what their processes are forked from.
        spares: those that were forked ahead.
        terms: what holds for every test.
        respite: what a test that told its report waits for.
        others_wait: whether tests wait for their turn.
        has_room: whether a further test would have its turn at once.
        is_ending: whether the service ends.
    """

    def __init__(
        self,
        fork_servers: ForkServers,
        spares: Spares,
        terms: Terms,
        respite: Respite,
        *,
        others_wait: Callable[[], bool],
        has_room: Callable[[], bool],
        is_ending: Callable[[], bool],
    ) -> None:
        self._fork_servers = fork_servers
        self._spares = spares
        self._terms = terms
        self._respite = respite
        self._others_wait = others_wait
        self._has_room = has_room
        self._is_ending = is_ending

    async def perform(
        self, subject: Subject, killed_at: float, report: asyncio.Future[CheckReport], progress: Progress
    ) -> None:
        """Run one test, and tell the report. When this ends, however it does, its process is gone.

        Args:
            subject: what to test.
            killed_at: when the test is killed, on the clock `time.monotonic`.
            report: is given the report.
            progress: is told of each step.

        Raises:
            NoProcess: there is no process to be had.
            ShuttingDown: the service killed it.
        """
        # A fork server that ends takes the tests of others with it, through no fault of theirs: once more.
        for _ in range(2):
            with suppress(ForkServerLost):
                await self._run_once(subject, killed_at, report, progress)
                return
        report.set_result(_lost(subject, Transcript()))

    async def _run_once(
        self, subject: Subject, killed_at: float, report: asyncio.Future[CheckReport], progress: Progress
    ) -> None:
        """The same in one process.

        Raises:
            ForkServerLost: the process's fork server ended, nothing was told, and the test may be run again.
        """
        progress.begin()
        transcript = Transcript(subject.connector.description.sentences, progress.step)
        process: CheckProcess | None = None
        given: Collection[str] = ()

        def tell(found: CheckReport) -> None:
            fields = fields_to_blame(subject.connector.fields, found.code, given)
            report.set_result(replace(found, failure_fields=fields))

        limit = asyncio.timeout(max(0.0, killed_at - time.monotonic()))
        try:
            async with limit:
                name = ConnectorName.of(subject.connector)
                server = await self._server_for(name)
                job = await subject.job(self._terms, killed_at)
                given = tuple(job.document)
                encoded = encode_job(job)
                if len(encoded) > JOB_LIMIT:
                    too_large = (
                        f"The stored secrets are larger than a test takes ({JOB_LIMIT} bytes); send smaller ones."
                    )
                    tell(transcript.report_failed(FailureCode.SECRETS_UNREADABLE, too_large))
                    return
                process = self._process(server, name)
                process.begin(encoded, transcript)
                once_only = job.exchange is not None or job.tokens is not None
                del job, encoded
                await process.finished
            try:
                tell(self._report(transcript, process))
            except ForkServerLost:
                # A provider that sees a code or a refresh token twice may revoke all it gave (RFC 6749 §4.1.2, RFC 9700 §4.14).
                if not once_only:
                    raise
                report.set_result(_lost(subject, transcript))
        except TimeoutError:
            if not limit.expired():
                raise
            tell(transcript.report() or transcript.report_killed())
        finally:
            try:
                if process is not None:
                    try:
                        # With tokens the report waits until their turn is over, which is after the end of the process.
                        if transcript.complete and report.done() and subject.turn is None and not self._others_wait():
                            await self._respite.take()
                    finally:
                        process.kill()
                        asyncio.get_running_loop().call_later(_BEFORE_FORK, self._replace, process)
                        await process.gone()
            finally:
                if subject.turn is not None:
                    subject.turn.end(transcript.tokens)

    async def _server_for(self, name: ConnectorName) -> ForkServerHandle:
        try:
            return await self._fork_servers.server_for(name)
        except OSError as error:
            raise no_process(error) from None

    def _process(self, server: ForkServerHandle, name: ConnectorName) -> CheckProcess:
        try:
            return self._spares.take(server, name) or CheckProcess(server, name, self._terms.policy)
        except OSError as error:
            raise no_process(error) from None

    def _replace(self, process: CheckProcess) -> None:
        """Have a spare ready for the next test of the connector that `process` was for."""
        if self._has_room() and not self._is_ending():  # while tests queue, a spare would only cost them time
            self._spares.fill(process.server, process.name)

    def _report(self, transcript: Transcript, process: CheckProcess) -> CheckReport:
        """What came of a test that has finished."""
        report = transcript.report()
        if report is not None:
            return report
        if transcript.complete:
            return transcript.report_failed(FailureCode.CRASHED)
        if self._is_ending():
            raise ShuttingDown  # it was we who killed it
        if process.exit_status is None:
            raise ForkServerLost
        return transcript.report_dead(process.exit_status)


def _lost(subject: Subject, transcript: Transcript) -> CheckReport:
    """The report of a test that ended with its fork server."""
    _log.error(
        "The process that connection tests are forked from ended during a test of the connector '%s'.",
        subject.connector.identifier,
    )
    report = Transcript().report_failed(FailureCode.CRASHED, _LOST)
    return replace(report, service_failed=True, tokens=transcript.tokens)
