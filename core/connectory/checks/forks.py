"""One fork server as the service sees it: asking it for processes, and noticing that they, or it, are gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from connectory.checks import channel
from connectory.checks.fork_protocol import (
    Answer,
    ConnectorName,
    EndRequest,
    Exited,
    Forked,
    ForkRequest,
    Ready,
    Request,
    Task,
    decode_answer,
    encode_request,
)
from connectory.checks.linux import kill_session
from connectory.checks.wire import ProtocolViolation

_PATIENCE = 2.0
"""Seconds that killed processes get to disappear."""


class ForkServerLost(Exception):
    """A fork server ended, and every process that it had forked with it."""


class Fork:
    """One process that a fork server was asked for.

    Attributes:
        task: what it is for.
        pid: its process id, once known; valid until the process is ended by `ForkServerHandle.end`.
        exit: its exit code, or the number of the signal that ended it, negated; `None` where it ended with its fork server.
        gone: done when it and whatever it started are waited for.
    """

    def __init__(self, number: int, task: Task, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.task = task
        self.pid: int | None = None
        self.ended = False
        self.exit: asyncio.Future[int | None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()


class ForkServerHandle:
    """One fork server, root or branch, by the channel to it.

    Attributes:
        first: the connector that a branch imports before it is ready; `None` for the root.
        ready: done when it can fork tests: `True`; or cannot, or is lost before it could: `False`.
    """

    def __init__(self, control: socket.socket, on_lost: Callable[[], None], first: ConnectorName | None = None) -> None:
        self.first = first
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._on_lost = on_lost
        self._forks: dict[int, Fork] = {}
        self._count = 0
        self._used = self._loop.time()
        self.lost = False
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        control.setblocking(False)
        self._loop.add_reader(control.fileno(), self._receive)

    def fork(self, task: Task, name: ConnectorName, *descriptors: int) -> Fork:
        """Ask for a process, which gets copies of `descriptors`.

        Raises:
            ForkServerLost: this fork server is gone.
        """
        self._count += 1
        fork = self._forks[self._count] = Fork(self._count, task, self._loop)
        self._send(ForkRequest(fork.number, task, name), *descriptors)
        if self.lost:
            raise ForkServerLost
        return fork

    @property
    def failed(self) -> bool:
        """Whether nothing can be forked here: it is lost, or could not be made ready."""
        return self.lost or (self.ready.done() and not self.ready.result())

    @property
    def idle(self) -> float:
        """Seconds for which nothing that was forked here has run."""
        return 0.0 if self._forks else self._loop.time() - self._used

    def processes(self, *tasks: Task) -> list[int]:
        """The process ids of what was forked here for these tasks and not ended yet."""
        forks = self._forks.values()
        return [fork.pid for fork in forks if fork.task in tasks and fork.pid is not None and not fork.ended]

    def end(self, fork: Fork) -> None:
        """Have `fork` killed, with whatever it started, and waited for; then `fork.gone` is done."""
        if not fork.ended and not self.lost:
            fork.ended = True
            self._send(EndRequest(fork.number))

    async def end_all(self) -> None:
        """End every process that was forked here, and wait until they are gone, within reason."""
        forks = list(self._forks.values())
        for fork in forks:
            self.end(fork)
        if forks:
            await asyncio.wait([fork.gone for fork in forks], timeout=_PATIENCE)

    def kill_tests(self) -> None:
        """Kill every test that was forked here, at once. May be called from a signal handler."""
        for test in self.processes("test", "session"):
            kill_session(test)

    def lose(self) -> None:
        """Close the channel, on which the process ends. Calling it again does nothing."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for fork in self._forks.values():
            fork.ended = True
            settle(fork.exit, None)
            settle(fork.gone, None)
        self._forks.clear()
        settle(self.ready, False)
        self._on_lost()

    def _send(self, request: Request, *descriptors: int) -> None:
        try:
            channel.send(self._control, encode_request(request), *descriptors)
        except OSError:  # closed, or full: then it has stopped reading, which is as bad
            self.lose()

    def _receive(self) -> None:
        while not self.lost:
            try:
                received = channel.receive(self._control, decode_answer)
            except BlockingIOError:
                return
            except (OSError, ProtocolViolation):
                received = None
            if received is None or not self._note(received[0]):
                self.lose()

    def _note(self, answer: Answer) -> bool:
        """Take in an answer; whether it is one about something that was asked for."""
        if isinstance(answer, Ready):
            settle(self.ready, answer.can_fork)
            return True
        fork = self._forks.get(answer.number)
        if fork is None:
            return False
        if isinstance(answer, Forked):
            fork.pid = answer.pid
        elif isinstance(answer, Exited):
            settle(fork.exit, answer.status)
        else:
            del self._forks[fork.number]
            self._used = self._loop.time()
            settle(fork.gone, None)
        return True


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Give `future` its result, unless it is done."""
    if not future.done():
        future.set_result(value)
