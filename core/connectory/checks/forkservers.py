"""The fork servers of a service: which there are, when they start and end, and how much memory they and the tests may take."""

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
from collections.abc import Iterable, Iterator
from contextlib import suppress

from connectory.checks import channel
from connectory.checks.fork_protocol import ConnectorName, Task
from connectory.checks.forks import ForkServerHandle, ForkServerLost
from connectory.checks.linux import kill_session
from connectory.checks.memory import BUDGET, Usage, usage

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
        if not any(server.processes("test", "session") for server in self._all()):
            return  # what tests can be forked from is small, and stays as it is
        if self._usage().total > self._budget:
            self._retire(0.0)
            used = self._usage()
            if used.total > self._budget and used.largest is not None:
                kill_session(used.largest)

    def _usage(self) -> Usage:
        servers = list(self._all())
        branches = [process for server in servers for process in server.processes("branch", "session_branch")]
        forks = [process for server in servers for process in server.processes("test", "session", "look_up")]
        return usage(self._root_process, branches, forks)

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
