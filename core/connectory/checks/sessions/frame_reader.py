"""Frames of a session's pipe for an event loop: read as somebody wants them, and few ahead."""

from __future__ import annotations

import asyncio
import os
from collections import deque

from connectory.checks.sessions.frames import FRAME_LIMIT, Unframing
from connectory.checks.wire import ProtocolViolation

AHEAD = 2
"""Whole frames that are read before somebody wants them: one to work on, one to come. The pipe holds back the rest."""


class FrameReader:
    """Reads frames from a pipe for an event loop: never more than `AHEAD` of them before somebody wants one.

    Args:
        descriptor: the pipe's end, which does not block. It stays its owner's, who closes it after `stop`.
        limit: bytes of a frame. Nothing is read ahead of one that is over `FRAME_LIMIT`.
    """

    def __init__(self, descriptor: int, limit: int = FRAME_LIMIT) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._unframing = Unframing(limit)
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._reads = False

    async def next(self) -> bytes | None:
        """The next message; `None` where the pipe has ended, or what is in it is not a frame."""
        while not self._messages and not self._ended:
            self._watch()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._watch()
        return message

    def stop(self) -> None:
        """Read no more."""
        self._ended = True
        if self._reads:
            self._reads = False
            self._loop.remove_reader(self._descriptor)
        self._wake()

    def _watch(self) -> None:
        if not self._reads and not self._ended:
            self._reads = True
            self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        try:
            while self._has_room():
                data = os.read(self._descriptor, self._unframing.wanted)
                message = self._unframing.feed(data) if data else None
                if not data:
                    self.stop()
                    break
                if message is not None:
                    self._messages.append(message)
            else:
                self._reads = False
                self._loop.remove_reader(self._descriptor)
        except BlockingIOError:
            pass
        except ProtocolViolation:
            self.stop()
        if self._messages:
            self._wake()

    def _has_room(self) -> bool:
        return len(self._messages) < AHEAD and not any(len(message) > FRAME_LIMIT for message in self._messages)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
