"""Look-ups of host names for callers who wait: bounded in time and in number, off the event loop and the store's threads."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from connectory.checks.egress_check import LOOKUP_TIME, Answer, start_lookup

_MOST = 16
"""Look-ups that go on at once. The system's resolver cannot be interrupted: where a name server is silent, each takes its
thread some ten seconds longer than anybody waits."""
_MOST_OF_ONE = 4
"""Of them, those of one client: names whose servers are silent on purpose must not shut out the others."""


class LookupsFull(Exception):
    """Too many look-ups go on."""


class HostLookups:
    """The look-ups that go on, of one event loop."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    async def find(self, client: str, host: str) -> Answer | None:
        """What the look-up of `host` comes to; `None` where it takes too long.

        Raises:
            LookupsFull: too many go on, in all or of this client.
        """
        if self._of[client] >= _MOST_OF_ONE or self._of.total() >= _MOST:
            raise LookupsFull
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Answer] = loop.create_future()

        def finish(answer: Answer) -> None:
            self._of -= Counter([client])  # and no client without any stays in it
            found.set_result(answer)

        def tell(answer: Answer) -> None:  # called in the look-up's thread
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, answer)

        start_lookup(host, tell)
        self._of[client] += 1
        await asyncio.wait([found], timeout=LOOKUP_TIME)
        return found.result() if found.done() else None
