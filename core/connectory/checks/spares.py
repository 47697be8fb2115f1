"""Processes forked ahead of the tests that they will run, so that those do not wait for it. Each still runs one test only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from connectory.checks.egress import EgressPolicy
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.forks import ForkServerHandle, ForkServerLost
from connectory.checks.process import CheckProcess

MOST = 16
"""Spares that wait at once, whatever they are for: as many processes as tests run at once by default."""
AGE = 300.0
"""Seconds that a spare waits before it is ended: longer than somebody takes to correct a form and test again."""


@dataclass(eq=False)
class _Spare:
    process: CheckProcess
    expiry: asyncio.TimerHandle = field(init=False)


class Spares:
    """The processes that wait for a test, for one event loop.

    Args:
        each: how many to keep for each connector in use; 0 keeps none.
        policy: where tests may connect.
    """

    def __init__(self, each: int, policy: EgressPolicy) -> None:
        self._each = each
        self._policy = policy
        self._waiting: list[_Spare] = []  # the one that waits longest comes first
        self._ending: set[asyncio.Task[None]] = set()

    def take(self, server: ForkServerHandle, name: ConnectorName) -> CheckProcess | None:
        """A process that waits for a test of this connector; the caller must kill it. `None` where there is none."""
        for spare in list(self._of(server, name)):
            self._remove(spare)
            if spare.process.waits:
                return spare.process
            self._end(spare.process)
        return None

    def fill(self, server: ForkServerHandle, name: ConnectorName) -> None:
        """Fork what is missing for this connector. Where too many wait for others, the oldest of them are ended."""
        with suppress(ForkServerLost, OSError):  # where descriptors are short, tests need them more
            for _ in range(self._each - len(list(self._of(server, name)))):
                self._add(CheckProcess(server, name, self._policy))
        while len(self._waiting) > MOST:
            self._retire(self._waiting[0])

    async def end_all(self) -> None:
        """End every spare, and wait until they are gone."""
        for spare in list(self._waiting):
            self._retire(spare)
        await asyncio.gather(*self._ending)

    def _of(self, server: ForkServerHandle, name: ConnectorName) -> Iterator[_Spare]:
        return (spare for spare in self._waiting if (spare.process.server, spare.process.name) == (server, name))

    def _add(self, process: CheckProcess) -> None:
        spare = _Spare(process)
        spare.expiry = asyncio.get_running_loop().call_later(AGE, self._retire, spare)
        self._waiting.append(spare)
        process.dead.add_done_callback(lambda _: self._retire(spare))

    def _retire(self, spare: _Spare) -> None:
        if spare in self._waiting:
            self._remove(spare)
            self._end(spare.process)

    def _remove(self, spare: _Spare) -> None:
        self._waiting.remove(spare)
        spare.expiry.cancel()

    def _end(self, process: CheckProcess) -> None:
        process.kill()
        ending = asyncio.get_running_loop().create_task(process.gone())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
