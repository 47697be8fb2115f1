"""The process of one session, as the service sees it: frames down, frames up."""

from __future__ import annotations

import asyncio
import os

from connectory.checks.egress import EgressPolicy
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.forks import ForkServerHandle, settle
from connectory.checks.process import PipedProcess
from connectory.checks.sessions.frame_reader import FrameReader
from connectory.checks.sessions.frames import FRAME_LIMIT, framed
from connectory.checks.sessions.messages import decode_login


class SessionProcess(PipedProcess):
    """One session's process. Whoever makes it must `kill` it, and then wait until it is `gone`.

    Args:
        server: forks it.
        name: the connector to work with.
        policy: where it may connect.
        limit: bytes of a frame that it may send.

    Attributes:
        killed: whether it was we who ended it.
        busy: whether an operation runs: for whoever uses the process to say.

    Raises:
        ForkServerLost: `server` is gone.
        OSError: this process has no more descriptors.
    """

    def __init__(
        self, server: ForkServerHandle, name: ConnectorName, policy: EgressPolicy, limit: int = FRAME_LIMIT
    ) -> None:
        super().__init__(server, "session", name, policy)
        self._reader = FrameReader(self._result, limit)
        self.killed = False
        self.busy = False
        self._login: str | None = None

    async def send(self, message: bytes) -> None:
        """Write a message, as fast as the process reads. Where it is dead this does nothing: `receive` tells that."""
        rest = memoryview(framed(message))
        while rest and not self.killed:
            try:
                rest = rest[os.write(self._job, rest) :]
            except BlockingIOError:
                await self._writable()
            except BrokenPipeError:
                return

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._job, settle, ready, None)
        try:
            await ready
        finally:
            if not self.killed:
                self._loop.remove_writer(self._job)

    async def receive(self) -> bytes | None:
        """The next message; `None` where the process has ended, or what it writes is not a frame."""
        while (message := await self._reader.next()) is not None and (login := decode_login(message)) is not None:
            self._login = login.name
        return message

    def abandoned_login(self) -> str | None:
        """The login that still does something for this process at the far end, once it is dead. Told once; `None` for none."""
        login, self._login = self._login, None
        return login if self.busy else None

    async def ended(self) -> int | None:
        """Kill the process, where it has not ended by itself; how it ended, and `None` where its fork server did."""
        done, _ = await asyncio.wait([self._fork.exit], timeout=_LAST_WORDS)
        exit_status = self._fork.exit.result() if done else 0
        self.kill()
        return exit_status

    def kill(self) -> None:
        """Have the process killed, with whatever it has started. Calling it again does nothing."""
        if self.killed:
            return
        self.killed = True
        self._reader.stop()
        self._dialler.close()
        self._close_job()
        os.close(self._result)
        self.server.end(self._fork)


_LAST_WORDS = 1.0
"""Seconds from the end of a process's pipe to the news of its own end."""
