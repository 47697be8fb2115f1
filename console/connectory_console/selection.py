"""Which connections an action is for: those that are ticked, or all that filters find, however many.

What is found is read while the action is under way, some at a time, so that a list of all of it is never held.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from connectory_console.api import ApiFailed
from connectory_console.web import Visit

LARGEST_PAGE = 100
_LONGEST_WAIT = 60

_Answer = TypeVar("_Answer")


class Selection:
    """Connections to be taken one after the other, each once.

    Attributes:
        total: how many there were when it was made.
    """

    def __init__(self, total: int, keys: AsyncIterator[list[str]]) -> None:
        self.total = total
        self._keys, self._ready = keys, deque[str]()

    async def take(self, most: int) -> list[str]:
        """The keys of the next ones; none at the end.

        Raises:
            ApiFailed: the list cannot be read.
        """
        if not self._ready:
            self._ready.extend(await anext(self._keys, []))
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]


def ticked(keys: list[str]) -> Selection:
    """Those of these keys."""

    async def once() -> AsyncIterator[list[str]]:
        yield keys

    return Selection(len(keys), once())


async def found_by(visit: Visit, filters: Mapping[str, str]) -> Selection:
    """Those that the filters of the list find.

    Raises:
        ApiFailed: the list cannot be read.
    """
    first = await visit.api.get("/connection", **filters, size=1)
    return Selection(first["total"], _found(visit, filters, first["total"]))


async def _found(visit: Visit, filters: Mapping[str, str], ahead: int) -> AsyncIterator[list[str]]:
    """The keys in their order, from the end of the list that descends: what an action changes of them moves none that is ahead.

    Others may add and delete meanwhile. So each page reaches into what was read already, or to the end of the list: then nothing
    between is left out.

    Args:
        ahead: connections of the list that were not read yet.
    """
    last = ""
    while ahead > 0:
        size = max(range(1, LARGEST_PAGE + 1), key=lambda size: ahead % size)
        number = ahead // size + 1
        query = {**filters, "sort": "-key", "page": number, "size": size}
        listed = await patiently(partial(visit.api.get, "/connection", **query))
        keys = [connection["key"] for connection in listed["items"]]
        fresh = [key for key in reversed(keys) if key > last]
        if len(fresh) == len(keys) and number < listed["pages"]:
            ahead += size  # others added some
            continue
        ahead = (number - 1) * size
        if fresh:
            last = fresh[-1]
            yield fresh


async def patiently(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """The answer to a call of the API, made again after as many seconds as the API asks for.

    Raises:
        ApiFailed: for another reason, or it asks for over a minute.
    """
    while True:
        try:
            return await call()
        except ApiFailed as failed:
            if failed.status == 401 or not failed.retry_after or failed.retry_after > _LONGEST_WAIT:
                raise
            wait = failed.retry_after
        await asyncio.sleep(wait)
