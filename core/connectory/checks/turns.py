"""Whose test runs next: a limited number at once, in fair shares, and nobody waits without end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

LONE_SHARE = 0.75
"""Of all turns, what one client may have at once. The rest is there for whoever comes next, so that a client whose tests all
hang cannot keep others waiting."""


class QueueFull(Exception):
    """Too many tests run and wait. `retry_after` is when to try again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many connection tests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


class Turns:
    """Turns for work that takes up to `length` seconds, for one event loop.

    A free turn goes to the client that has the fewest, and among those to the one that waits longest. Of the places to wait one
    client may take half.

    Args:
        at_once: turns at the same time.
        queue: requests that may wait.
        patience: seconds that one may wait.
        length: seconds that a turn may take; for `retry_after` only.
    """

    def __init__(self, *, at_once: int, queue: int, patience: float, length: float) -> None:
        self._at_once, self._queue, self._patience, self._length = at_once, queue, patience, length
        self._share = max(1, math.floor(at_once * LONE_SHARE))
        self._running: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, client: Hashable) -> AsyncIterator[None]:
        """Wait for a turn of `client`, and have it for the block.

        Raises:
            QueueFull: too many wait, of this client or in all, or this one waited too long.
        """
        if not self._may_run(client):
            await self._wait(client)
        else:
            self._running[client] += 1
        try:
            yield
        finally:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]
            self._call_next()

    def _may_run(self, client: Hashable) -> bool:
        return self._running.total() < self._at_once and self._running[client] < self._share

    async def _wait(self, client: Hashable) -> None:
        mine = self._waiting.get(client, deque())
        if self.waiting >= self._queue or len(mine) >= max(1, self._queue // 2):
            raise QueueFull(self._retry_after())
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, mine).append(called)
        try:
            async with asyncio.timeout(self._patience):
                await called
        except BaseException as error:
            if called.done() and not called.cancelled():  # the turn came, and nobody is there to take it
                self._running[client] -= 1
                self._call_next()
            else:
                self._leave(client, called)
            if isinstance(error, TimeoutError):
                raise QueueFull(self._retry_after()) from None
            raise

    def _leave(self, client: Hashable, called: asyncio.Future[None]) -> None:
        mine = self._waiting.get(client)
        if mine is not None and called in mine:
            mine.remove(called)
            if not mine:
                del self._waiting[client]

    def _call_next(self) -> None:
        while able := [client for client in self._waiting if self._may_run(client)]:
            client = min(able, key=lambda one: self._running[one])  # the first of those with the fewest
            mine = self._waiting.pop(client)
            called = mine.popleft()
            if mine:
                self._waiting[client] = mine  # behind the others
            if not called.done():
                self._running[client] += 1
                called.set_result(None)

    def _retry_after(self) -> int:
        # If every test takes its whole time, this is when the queue's last one starts.
        return max(1, math.ceil(self._length * (self.waiting + 1) / self._at_once))
