"""The discoveries that run on this node."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

MOST_AT_ONCE = 20
"""Discoveries of one node that run and wait: as many as sessions do."""
_T = TypeVar("_T")
_LAST_WORDS = 3.0
"""Seconds that the end of the service waits for those that are being ended."""


class Discoveries:
    """Those that run on this node, for one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def full(self) -> bool:
        """Whether no further one is taken."""
        return len(self._tasks) >= MOST_AT_ONCE

    def start(self, run: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin one, which goes on without the request that asked for it."""
        task = asyncio.get_running_loop().create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # which is logged
        return task

    async def finish(self) -> None:
        """Wait a little for those whose sessions were ended; give the rest up."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
