"""Do what is due, some of it at once, beside the requests: what runs by schedule, and calls of webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from connectory.api.http.logs import frames, log
from connectory.store.errors import StoreFailed, StoreUnavailable

POLL = 5.0
"""Seconds from one look for what is due to the next, while nothing ends."""
_LAST_WORDS = 3.0
"""Seconds that the end of the service waits for those that are being ended."""

Item = TypeVar("Item")


class DueWork(Generic[Item]):
    """Claims what is due and does it, for one event loop.

    Args:
        name: for the log.
        at_once: items at the same time.
        count: says how many items there are to claim; asked every `POLL`, and not each time that there is room.
        claim: gives up to so many items that nobody else does.
        do: does one. What it raises is logged, and the item is left to whoever claims it next.
    """

    def __init__(
        self,
        name: str,
        at_once: int,
        count: Callable[[], Awaitable[int]],
        claim: Callable[[int], Awaitable[Sequence[Item]]],
        do: Callable[[Item], Awaitable[None]],
    ) -> None:
        self._name, self._at_once = name, at_once
        self._count, self._claim, self._do = count, claim, do
        self._due, self._count_at = 0, 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for what is due, again and again."""
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def round(self) -> int:
        """Begin what is due, as far as there is room; returns how many that are.

        Raises:
            StoreUnavailable, StoreFailed: nothing could be claimed.
        """
        if time.monotonic() >= self._count_at:
            self._due = await self._count()
            self._count_at = time.monotonic() + POLL
        room = self._at_once - len(self._tasks)
        if room <= 0 or self._due <= 0:
            return 0
        items = await self._claim(room)
        self._due = self._due - len(items) if len(items) == room else 0
        for item in items:
            task = asyncio.get_running_loop().create_task(self._done(item))
            self._tasks.add(task)
            task.add_done_callback(self._over)
        return len(items)

    async def idle(self) -> None:
        """Wait until all that was begun has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def take_no_more(self) -> None:
        """Begin nothing any more; what was begun goes on."""
        if self._looking is not None:
            self._looking.cancel()

    async def finish(self) -> None:
        """Begin nothing any more, wait a little for what was begun, and give the rest up."""
        self.take_no_more()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_WORDS)
        ended = [*self._tasks, *([] if self._looking is None else [self._looking])]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            try:
                await self.round()
            except (StoreUnavailable, StoreFailed) as error:
                log.warning("due_work_not_claimed", work=self._name, reason=str(error))
            self._ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._count_at - time.monotonic()) or POLL):
                    await self._ended.wait()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.set()  # there is room for the next

    async def _done(self, item: Item) -> None:
        try:
            await self._do(item)
        except (StoreUnavailable, StoreFailed) as error:
            log.warning("due_work_not_done", work=self._name, reason=str(error))
        except Exception as error:
            log.error("due_work_failed", work=self._name, error=type(error).__name__, frames=frames(error))
