"""What must get into the store, however long the store is away: tokens that a provider gave in place of others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from connectory.api.http.logs import log
from connectory.api.node.store_threads import StoreThreads
from connectory.store.errors import StoreUnavailable
from connectory.store.patience import PATIENCE

RECORDING = 30.0
"""Seconds that recording is tried while the store does not answer. The provider has forgotten the old tokens, so giving up costs
a person's consent. A failover of PostgreSQL takes less."""
LAST_WORDS = 3.0
"""Seconds that the end of the service waits for what is still to be recorded."""
_RETRY = 0.25

_Result = TypeVar("_Result")


class Recordings:
    """Work that goes on without the request that began it.

    Args:
        threads: do the work.
    """

    def __init__(self, threads: StoreThreads) -> None:
        self._threads = threads
        self._tasks: set[asyncio.Task[Any]] = set()

    def keep(
        self, work: Callable[[], _Result], what: str, *, after: asyncio.Future[Any] | None = None
    ) -> asyncio.Task[_Result]:
        """Do `work` on a thread that writes, again and again for `RECORDING` while the store does not answer.

        Args:
            work: done once more, where the store did it and could not say so.
            what: for the log, should it be given up.
            after: begin when this is done. Default: at once.
        """
        task = asyncio.get_running_loop().create_task(self._until_done(work, what, after))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # which is logged
        return task

    async def _until_done(self, work: Callable[[], _Result], what: str, after: asyncio.Future[Any] | None) -> _Result:
        loop = asyncio.get_running_loop()
        if after is not None:
            await asyncio.wait([after])
        give_up = loop.time() + RECORDING
        try:
            while True:
                try:
                    return await self._threads.write(work)
                except StoreUnavailable:
                    if loop.time() >= give_up:
                        raise
                await asyncio.sleep(_RETRY)
        except BaseException as error:
            log.error("not recorded", what=what, error=type(error).__name__)
            raise

    async def finish(self) -> None:
        """Wait for what is still to be recorded, for `LAST_WORDS`; give the rest up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def recorded(recording: asyncio.Future[_Result]) -> _Result:
    """What came of a recording, for a caller who waits for it.

    Raises:
        StoreUnavailable: it takes longer than a caller should wait; it is still tried.
    """
    await asyncio.wait([recording], timeout=PATIENCE)
    if not recording.done():
        raise StoreUnavailable("The database does not take what is to be recorded; try again later.")
    return recording.result()
