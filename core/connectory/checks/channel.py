"""Small messages with file descriptors between the runner and its templates."""

from __future__ import annotations

import json
import socket
from typing import Any

MESSAGE_LIMIT = 2**14
"""Bytes of one message: names (the longest is a target of 1000 characters) and numbers. Secrets have a pipe of their own."""
_MAX_DESCRIPTORS = 2


def channel() -> tuple[socket.socket, socket.socket]:
    """Both ends of a channel. A message arrives whole or not at all."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: dict[str, Any], *descriptors: int) -> None:
    """Send `message`, and copies of `descriptors`.

    Raises:
        OSError: the other end is closed, or (where `end` does not block) does not read.
    """
    socket.send_fds(end, [json.dumps(message).encode()], descriptors)


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; `None` where the other end is closed.

    Raises:
        BlockingIOError: there is none, and `end` does not block.
    """
    try:
        data, descriptors, _, _ = socket.recv_fds(end, MESSAGE_LIMIT, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    return message, descriptors
