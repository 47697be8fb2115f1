"""Frames: how messages lie one behind the other in a session's pipes. Four bytes of length, then so many bytes of message."""

from __future__ import annotations

import os

from connectory.checks.wire import ProtocolViolation

FRAME_LIMIT = 2**20
"""Bytes of a message: thousands of rows, and what a process may be made to hold by another."""
LARGEST_FRAME = 64 * 2**20
"""Bytes of a message that is one row and no more, where whoever opens the session allows that."""
_HEADER = 4
_CHUNK = 2**16


def framed(message: bytes, limit: int = FRAME_LIMIT) -> bytes:
    """`message` as a frame.

    Raises:
        ProtocolViolation: it is longer than `limit`.
    """
    if len(message) > limit:
        raise ProtocolViolation(f"a frame has {limit} bytes")
    return len(message).to_bytes(_HEADER, "big") + message


class Unframing:
    """Takes bytes in and makes messages of them, of at most `limit` bytes; never holds more than one unfinished one."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._length: int | None = None

    @property
    def wanted(self) -> int:
        """How many bytes to read next, so that none of a further frame is among them."""
        missing = (_HEADER if self._length is None else self._length) - len(self._buffer)
        return min(missing, _CHUNK)

    def feed(self, data: bytes) -> bytes | None:
        """Take in `data`, at most as many bytes as `wanted`; the message where that completes one.

        Raises:
            ProtocolViolation: the frame is longer than the limit.
        """
        self._buffer += data
        if self._length is None:
            if len(self._buffer) < _HEADER:
                return None
            self._length = int.from_bytes(self._buffer, "big")
            self._buffer.clear()
            if self._length > self._limit:
                raise ProtocolViolation(f"a frame has {self._limit} bytes")
        if len(self._buffer) < self._length:
            return None
        message, self._buffer, self._length = bytes(self._buffer), bytearray(), None
        return message


def read_frame(descriptor: int) -> bytes | None:
    """The next message of a pipe that blocks; `None` where its other end is closed.

    Raises:
        ProtocolViolation: what is there is not a frame.
    """
    unframing = Unframing()
    while data := os.read(descriptor, unframing.wanted):
        message = unframing.feed(data)
        if message is not None:
            return message
    return None


def write_frame(descriptor: int, message: bytes, limit: int = FRAME_LIMIT) -> None:
    """Write `message` as a frame to a pipe that blocks: wait until the other end has room for it."""
    rest = memoryview(framed(message, limit))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
