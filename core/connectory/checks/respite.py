"""Answers first: ending processes and forking others waits until reports are recorded and about to be answered."""

from __future__ import annotations

import asyncio

from connectory.checks.forks import settle


class Respite:
    """Has tests that told their reports wait before they end their processes, for one event loop.

    Args:
        seconds: that one waits at most; 0 for not at all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._resting: set[asyncio.Future[None]] = set()

    async def take(self) -> None:
        """Wait until it is `over`."""
        if not self._seconds:
            return
        loop = asyncio.get_running_loop()
        rest: asyncio.Future[None] = loop.create_future()
        self._resting.add(rest)
        limit = loop.call_later(self._seconds, settle, rest, None)
        try:
            await rest
        finally:
            limit.cancel()
            self._resting.discard(rest)

    def over(self) -> None:
        """Have all go on that wait."""
        for rest in self._resting:
            settle(rest, None)
