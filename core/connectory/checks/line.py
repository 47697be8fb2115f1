"""The line by which a test's process has the service connect somewhere or look a name up: what is said on it, and how to ask.

The service's end is in `connectory.checks.dialling`. No event loop is imported here: tests have none, and are forked from this.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from dataclasses import dataclass
from typing import TypeAlias

from connectory.checks.addresses import Found, look_up
from connectory.checks.lookups import ANSWER_LIMIT, HOST_LIMIT, LookUp, Unresolved, decode_answer
from connectory.checks.wire import Maker, decoded, encoded, is_whole, plain, require

REQUEST_LIMIT = 2**12
"""Bytes of a request: a name, twelve bytes each character in JSON, an address, a port."""
ERROR_SIZE = 4
"""Bytes of the answer to `Dial`: the error's number, 0 for none."""
_ADDRESS_LIMIT = 50


@dataclass(frozen=True)
class Dial:
    """Connect to a port of an address, which was looked up for the host `name`; empty where none was."""

    ip: str
    port: int
    name: str

    def __post_init__(self) -> None:
        require(isinstance(self.ip, str) and len(self.ip) <= _ADDRESS_LIMIT, "an address is a short text")
        require(is_whole(self.port) and 1 <= self.port <= 65535, "a port is a number from 1 to 65535")
        require(isinstance(self.name, str) and len(self.name) <= HOST_LIMIT, "a host has a name")


Request: TypeAlias = Dial | LookUp
_WORDS: dict[type[Request], str] = {Dial: "dial", LookUp: "look_up"}
_REQUESTS: dict[str, Maker[Request]] = {"dial": plain(Dial), "look_up": plain(LookUp)}


def decode_request(data: bytes) -> Request:
    """What a test's process asks for.

    Raises:
        ProtocolViolation: it is not a request.
    """
    return decoded("request", _REQUESTS, data)


class Line:
    """The end of it in the process of a test.

    Args:
        end: that end.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._one_at_a_time = threading.Lock()

    def dial(self, dial: Dial) -> tuple[int, int | None]:
        """An error's number, and a descriptor of the socket that connects, or has connected, where it is 0 or `EINPROGRESS`.

        Raises:
            OSError: the service makes no more connections.
        """
        with self._one_at_a_time:
            self._end.send(encoded("request", _WORDS, dial))
            data, descriptors, _, _ = socket.recv_fds(self._end, ERROR_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
        if len(data) != ERROR_SIZE:
            for descriptor in descriptors:
                os.close(descriptor)
            raise _aborted()
        return int.from_bytes(data, "big"), descriptors[0] if descriptors else None

    def look_up(self, host: str) -> Found:
        """The addresses of `host`: what this process finds without a network, or else what the service does.

        Raises:
            OSError: there is none, or the service looks nothing up any more.
        """
        try:
            return look_up(host)
        except socket.gaierror:
            if len(host) > HOST_LIMIT:
                raise
        with self._one_at_a_time:
            self._end.send(encoded("request", _WORDS, LookUp(host)))
            data = self._end.recv(ANSWER_LIMIT)
        if not data:
            raise _aborted()
        answer = decode_answer(data)
        if isinstance(answer, Unresolved):
            raise answer.exception
        return Found(answer.ips, answer.canonical)


def _aborted() -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
