"""Small messages with file descriptors between the service and its fork servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TypeVar

from connectory.checks.fork_protocol import MESSAGE_LIMIT
from connectory.checks.wire import ProtocolViolation

_MOST_DESCRIPTORS = 3
_MessageT = TypeVar("_MessageT")


def channel() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel. A message arrives whole or not at all."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: bytes, *descriptors: int) -> None:
    """Send `message`, and copies of `descriptors`.

    Raises:
        OSError: the other end is closed, or (where `end` does not block) does not read.
    """
    socket.send_fds(end, [message], descriptors)


def receive(end: socket.socket, decode: Callable[[bytes], _MessageT]) -> tuple[_MessageT, list[int]] | None:
    """The next message, decoded, and its descriptors; `None` where the other end is closed.

    Raises:
        BlockingIOError: there is none, and `end` does not block.
        ProtocolViolation: the other end sent what is not a message.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(end, MESSAGE_LIMIT, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    if not data:
        return None
    try:
        return decode(data), descriptors
    except ProtocolViolation:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
