"""The threads that talk to the database: few, and apart for reading and for writing.

Any number of threads is slower than a few. Each needs the interpreter's lock for most of its work, so the forty that the
framework offers spend their time on handing it to each other: eight callers got half of what one got (`benchmarks/RESULTS.md`).
And where writers wait for a lock of the database, readers must not stand in line behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from connectory.store.engine import Store
from connectory.store.errors import StoreUnavailable
from connectory.store.patience import PATIENCE, patient_until

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class StoreThreads:
    """Runs functions that use the store, so that the event loop never waits for a database.

    Args:
        store: says how many threads its database makes use of.
    """

    def __init__(self, store: Store) -> None:
        self._readers = _Line("connectory-read", store.readers)
        self._writers = _Line("connectory-write", store.writers)

    async def read(self, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """The result of `work`, which only reads from the store."""
        return await self._readers.run(work, arguments)

    async def write(self, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """The result of `work`, which may write. Once begun it is finished, whatever becomes of the caller.

        Raises:
            StoreUnavailable: others wrote for all of `PATIENCE`; nothing was done.
        """
        deadline = time.monotonic() + PATIENCE

        def in_time() -> _Result:
            if time.monotonic() > deadline:
                raise StoreUnavailable("Others write to the database for too long; try again later.")
            with patient_until(deadline):
                return work(*arguments)

        return await self._writers.run(in_time, ())

    def close(self) -> None:
        """Finish what is begun, and end the threads."""
        self._readers.close()
        self._writers.close()


class _Job(NamedTuple):
    answer: asyncio.Future[Any]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


class _Line:
    """Jobs in the order of their arrival, and the threads that do them.

    Not a `ThreadPoolExecutor`, which takes 60 to 100 µs more of each job for a future with a lock that nobody waits for: a fifth
    of what reading a connection takes.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[..., _Result], arguments: tuple[Any, ...]) -> _Result:
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(answer, work, arguments))
        return await answer

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.answer.cancelled():
                continue
            try:
                result = job.work(*job.arguments)
            except BaseException as error:  # whatever it is, it belongs to the one who waits
                _tell(job.answer, _fail, error)
            else:
                _tell(job.answer, _succeed, result)


def _tell(answer: asyncio.Future[Any], how: Callable[[asyncio.Future[Any], Any], None], what: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        answer.get_loop().call_soon_threadsafe(how, answer, what)


def _succeed(answer: asyncio.Future[_Result], result: _Result) -> None:
    if not answer.done():  # the caller may have left
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
