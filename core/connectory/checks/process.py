"""The process of one test or session, as the service sees it: the pipe that jobs go down, and the pipe that answers come up."""

from __future__ import annotations

import asyncio
import os
import select
from contextlib import ExitStack, suppress
from functools import partial

from connectory.checks import channel
from connectory.checks.dialling import Dialler
from connectory.checks.egress import EgressPolicy
from connectory.checks.fork_protocol import ConnectorName, Task
from connectory.checks.forks import ForkServerHandle
from connectory.checks.lookup_process import LookupProcess
from connectory.checks.protocol import RESULT_LIMIT
from connectory.checks.transcript import Transcript

_END_LIMIT = 3.0
"""Seconds to wait for a killed process to disappear before its fork server is given up. The test's turn waits, and no answer;
a fork server that has a process to end that forks on and on needs its time, on a busy machine."""


def _pipe(readers: ExitStack, writers: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    return reader, writer


class PipedProcess:
    """A process of a fork server, with a pipe down to it, a pipe up from it, and a line by which it asks for connections.

    Whoever makes it must see to its end.

    Args:
        server: forks it.
        task: what it is for.
        name: the connector to work with.
        policy: where it may connect.

    Attributes:
        server: that fork server.
        name: that connector.

    Raises:
        ForkServerLost: `server` is gone.
        OSError: this process has no more descriptors.
    """

    def __init__(self, server: ForkServerHandle, task: Task, name: ConnectorName, policy: EgressPolicy) -> None:
        self._loop = asyncio.get_running_loop()
        self.server = server
        self.name = name
        with ExitStack() as theirs, ExitStack() as ours:
            job_reader, self._job = _pipe(theirs, ours)
            result_writer, self._result = reversed(_pipe(ours, theirs))
            line, other_end = channel.channel()
            ours.callback(line.close)
            theirs.callback(other_end.close)
            self._fork = server.fork(task, name, job_reader, result_writer, other_end.fileno())
            ours.pop_all()
        self._dialler = Dialler(line, policy, partial(LookupProcess, server, name))
        os.set_blocking(self._job, False)
        os.set_blocking(self._result, False)

    @property
    def exit_status(self) -> int | None:
        """How the process ended by itself; `None` where its fork server ended."""
        return self._fork.exit.result() if self._fork.exit.done() else None

    async def gone(self) -> None:
        """Return when the killed process, and whatever it has started, are gone."""
        await asyncio.wait([self._fork.gone], timeout=_END_LIMIT)
        if not self._fork.gone.done():
            self.server.lose()  # it does not do as it is told; another one takes its place

    def _close_job(self) -> None:
        if self._job >= 0:
            self._loop.remove_writer(self._job)
            os.close(self._job)
            self._job = -1


class CheckProcess(PipedProcess):
    """One test's process, from its fork on: it waits until it is told to `begin`. Whoever makes it must `kill` it.

    Args:
        server: forks it.
        name: the connector to test with.
        policy: where the test may connect.

    Attributes:
        server: that fork server.
        name: that connector.
        dead: done when the process is dead.
        finished: done when it has begun, and the transcript is complete or the process is dead.

    Raises:
        ForkServerLost: `server` is gone.
        OSError: this process has no more descriptors.
    """

    def __init__(self, server: ForkServerHandle, name: ConnectorName, policy: EgressPolicy) -> None:
        super().__init__(server, "test", name, policy)
        self._transcript: Transcript
        self._unwritten = memoryview(b"")
        self.finished: asyncio.Future[None] = self._loop.create_future()

    @property
    def dead(self) -> asyncio.Future[int | None]:
        return self._fork.exit

    @property
    def waits(self) -> bool:
        """Whether it can take a job: it has not ended, as far as the kernel knows."""
        poll = select.poll()
        poll.register(self._job, 0)  # errors are told without being asked for, and nobody reads the pipe of the dead
        return not poll.poll(0)

    def begin(self, job: bytes, transcript: Transcript) -> None:
        """Send the job, as far as the pipe takes it; the rest follows when the process reads.

        Args:
            job: what to do.
            transcript: takes in what the process reports.
        """
        self._transcript = transcript
        self._loop.add_reader(self._result, self._read)
        self._fork.exit.add_done_callback(self._exited)
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

    def kill(self) -> None:
        """Have the process killed, with whatever it has started. Once: then wait until it is `gone`."""
        self._fork.exit.remove_done_callback(self._exited)
        self._dialler.close()
        self._close_job()
        self._loop.remove_reader(self._result)
        os.close(self._result)
        self.server.end(self._fork)
