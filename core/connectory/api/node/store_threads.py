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
from threading import Lock, Thread
from typing import Any, TypeVar, TypeVarTuple, cast

from connectory.store.engine import Store
from connectory.store.errors import StoreUnavailable
from connectory.store.patience import PATIENCE, patient_until

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

HELD_UP = 0.1
"""Seconds after which a job that waits is given to another thread, if all that should do it are at one job for as long."""


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


class _Job:
    """Work for whichever thread takes it first."""

    __slots__ = ("answer", "arguments", "taken", "work")

    def __init__(self, answer: asyncio.Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.answer, self.work, self.arguments = answer, work, arguments
        self.taken = Lock()


class _Line:
    """Jobs in the order of their arrival, and the threads that do them.

    Not a `ThreadPoolExecutor`, which takes 60 to 100 µs more of each job for a future with a lock that nobody waits for: a fifth
    of what reading a connection takes.

    One more thread stands in where all others are held up, as by a plugin that imports slowly, or by a search through a million
    rows: it takes what has waited for `HELD_UP`. It sleeps while they only have much to do.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._held_up: SimpleQueue[_Job | None] = SimpleQueue()
        self._began = [0.0] * threads  # when each thread began what it does
        self._threads = [
            *(Thread(target=self._work, args=(number,), name=f"{name}-{number}") for number in range(threads)),
            Thread(target=self._stand_in, name=f"{name}-stand-in"),
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    async def run(self, work: Callable[..., _Result], arguments: tuple[Any, ...]) -> _Result:
        loop = asyncio.get_running_loop()
        job = _Job(loop.create_future(), work, arguments)
        self._jobs.put(job)
        timer = loop.call_later(HELD_UP, self._look_after, job)
        try:
            return cast("_Result", await job.answer)
        finally:
            timer.cancel()

    def close(self) -> None:
        for _ in self._began:
            self._jobs.put(None)
        self._held_up.put(None)
        for thread in self._threads:
            thread.join()

    def _look_after(self, job: _Job) -> None:
        if job.answer.done() or job.taken.locked():
            return
        if max(self._began) <= time.monotonic() - HELD_UP:
            self._held_up.put(job)
        else:
            job.answer.get_loop().call_later(HELD_UP, self._look_after, job)

    def _work(self, number: int) -> None:
        while (job := self._jobs.get()) is not None:
            self._began[number] = time.monotonic()
            _do(job)
            del job  # its arguments and its result may be megabytes, and the next one may take hours

    def _stand_in(self) -> None:
        while (job := self._held_up.get()) is not None:
            _do(job)
            del job


def _do(job: _Job) -> None:
    if not job.taken.acquire(blocking=False) or job.answer.cancelled():
        return
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
