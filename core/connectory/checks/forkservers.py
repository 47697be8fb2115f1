"""The service's side of the fork servers: starting them, asking them for processes, noticing that they are gone."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
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
from connectory.checks.memory import BUDGET, usage
from connectory.checks.wire import ProtocolViolation

_log = logging.getLogger(__name__)

IDLE_LIMIT = 300.0
"""Seconds that a branch without tests is kept. The next test of its connectors then imports them again."""
_WATCH_INTERVAL = 0.2
"""Seconds between looks at the memory that tests take. A process that does nothing else fills some 100 MiB in that time."""
_REPLACE_INTERVAL = 2.0
"""Seconds, at least, from one replacement of a root that was lost to the next, where no test asks for it."""
PRELOAD_LIMIT = 10.0
"""Seconds that importing a connector and its drivers may take in a branch. The slowest driver known takes 0.6 s."""
_PATIENCE = 2.0
"""Seconds that killed processes get to disappear."""

_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    # glibc reserves 64 MiB of address space for each arena, up to eight for each core; the tests' limit counts that.
    "MALLOC_ARENA_MAX": "2",
}
PASSED_ON = ("LD_LIBRARY_PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ")
"""Where the machine keeps libraries, trusted certificates and its clock's zone: no secrets, and no driver's defaults."""
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from connectory.checks.forkserver import main; main()"
)


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

    @property
    def tests(self) -> list[int]:
        """The process ids of the tests and sessions that were forked here and not ended yet."""
        forks = self._forks.values()
        return [
            fork.pid for fork in forks if fork.task in ("test", "session") and fork.pid is not None and not fork.ended
        ]

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
        for test in self.tests:
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


class ForkServers:
    """The root, and a branch for each distribution whose connectors are tested, and one more where its sessions need more.

    Args:
        closed: the service's own files and folders, as absolute paths, that no test may read.
        budget: bytes of memory that all of them and the tests may take together. Beyond that idle branches end, and then the
            test that takes most.
    """

    def __init__(self, closed: Iterable[str] = (), budget: int = BUDGET) -> None:
        self._closed = tuple(closed)
        self._budget = budget
        self._watch: asyncio.TimerHandle | None = None
        self._replaced_at = -math.inf
        self._root: ForkServerHandle | None = None
        self._root_process = 0
        self._branches: dict[tuple[str, Task], ForkServerHandle] = {}
        self._not_preloaded: set[tuple[ConnectorName, Task]] = set()
        self._discarded: list[subprocess.Popen[bytes]] = []

    @property
    def able(self) -> bool:
        """Whether the root forks, or is only just starting; one that follows a root that was lost has to show it first."""
        root = self._root
        return root is not None and not root.failed and (root.ready.done() or not self._discarded)

    def start(self) -> None:
        """Start the root, where it does not run."""
        self._living_root()
        if self._watch is None:
            self._look()

    def _look(self) -> None:
        """End branches that have been idle for long, see to the budget, and replace a root that was lost."""
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(_WATCH_INTERVAL, self._look)
        if self._root is not None and self._root.lost and loop.time() >= self._replaced_at + _REPLACE_INTERVAL:
            self._replaced_at = loop.time()
            with suppress(OSError):  # no room for a process now
                self._living_root()
        self._retire(IDLE_LIMIT)
        tests = [test for server in self._all() for test in server.tests]
        if not tests:  # what they can be forked from is small, and stays as it is
            return
        used = usage(self._root_process, tests)
        if used.total > self._budget:
            self._retire(0.0)
            if used.largest is not None and usage(self._root_process, tests).total > self._budget:
                kill_session(used.largest)

    def _retire(self, limit: float) -> None:
        for key, branch in list(self._branches.items()):
            if branch.lost or (branch.ready.done() and branch.idle > limit):
                del self._branches[key]
                branch.lose()

    async def stop(self) -> None:
        """End every fork server and wait for the processes. Calling it again does nothing."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for branch in self._branches.values():
            branch.lose()
        self._branches.clear()
        root, self._root = self._root, None
        if root is not None:
            await root.end_all()
            root.lose()
        await self._wait_for_discarded()

    def kill_tests(self) -> None:
        """Kill every test, at once. May be called from a signal handler."""
        for server in self._all():
            server.kill_tests()

    async def server_for(self, name: ConnectorName, kind: Task = "branch") -> ForkServerHandle:
        """The fork server for a test of a connector: its branch, or the root where it could not be imported ahead.

        Args:
            kind: `session_branch` for one that has also imported what only sessions need. Default: `branch`.

        Raises:
            ForkServerLost: the root ended while this waited for it.
            OSError: it cannot be started: this process, or the machine, has no more descriptors, processes or memory.
        """
        root = self._living_root()
        if not await asyncio.shield(root.ready):
            raise ForkServerLost
        if (name, kind) in self._not_preloaded:
            return root
        key = name.distribution, kind
        while True:
            branch = self._branches.get(key)
            if branch is None or branch.failed:
                branch = self._branches[key] = _start_branch(root, kind, name)
            if await asyncio.shield(branch.ready):
                return branch
            if root.lost:
                raise ForkServerLost
            if branch.first == name:  # else it is another connector of the distribution that cannot be imported
                break
        if (name, kind) not in self._not_preloaded:
            self._not_preloaded.add((name, kind))
            _log.warning(
                "The connector '%s' (%s) cannot be imported ahead of its tests; each test imports it.",
                name.identifier,
                name.distribution,
            )
        return root

    def _all(self) -> Iterator[ForkServerHandle]:
        yield from list(self._branches.values())
        if self._root is not None:
            yield self._root

    def _living_root(self) -> ForkServerHandle:
        if self._root is None or self._root.lost:
            ours, theirs = channel.channel()
            try:
                with theirs:
                    process = _start_root(theirs, self._closed)
            except BaseException:
                ours.close()
                raise
            self._root = ForkServerHandle(ours, on_lost=lambda: self._discard(process))
            self._root_process = process.pid
        return self._root

    def _discard(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        self._discarded = [*(old for old in self._discarded if old.poll() is None), process]

    async def _wait_for_discarded(self) -> None:
        give_up = time.monotonic() + _PATIENCE
        # Only threads and signal handlers are told of a child's end, so this has to look.
        while any(process.poll() is None for process in self._discarded) and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def _start_branch(root: ForkServerHandle, kind: Task, name: ConnectorName) -> ForkServerHandle:
    ours, theirs = channel.channel()
    with theirs:
        try:
            fork = root.fork(kind, name, theirs.fileno())
        except ForkServerLost:
            ours.close()
            raise
    branch = ForkServerHandle(ours, on_lost=lambda: root.end(fork), first=name)
    patience = asyncio.get_running_loop().call_later(PRELOAD_LIMIT, branch.lose)
    branch.ready.add_done_callback(lambda _: patience.cancel())
    return branch


def _start_root(control: socket.socket, closed: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environment = _ENVIRONMENT | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    path = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]  # noqa: PTH100 - '' stands for the current folder
    return subprocess.Popen(  # noqa: S603 - a constant program, by this interpreter
        [sys.executable, "-I", "-c", _PROGRAM, json.dumps(path), json.dumps(closed)],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
    )


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Give `future` its result, unless it is done."""
    if not future.done():
        future.set_result(value)
