"""Connections that the service makes for a test, whose own process the kernel keeps from almost every TCP port.

Where Landlock limits TCP, native code in a test reaches the ports of its own connection only (`native_ports`). Python code
learns of the refusal, and asks here: the service holds the address against the egress policy once more, out of the test's
reach, begins to connect, and passes the socket on. It waits for nothing and reads nothing; the test finds out who answers.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import nullcontext
from dataclasses import dataclass

from connectory.checks.egress import EgressPolicy
from connectory.checks.wire import ProtocolViolation, decoded, encoded, is_whole, plain, require

MESSAGE_LIMIT = 2**10
"""Bytes of a request: a name, an address, a port."""
_MOST = 256
"""Connections that are made for one test or session: as many as files that it may have open."""
_ADDRESS_LIMIT = 50
_NAME_LIMIT = 255
_ERROR_SIZE = 4


@dataclass(frozen=True)
class Dial:
    """Connect to a port of an address, which was looked up for the host `name`; empty where none was."""

    ip: str
    port: int
    name: str

    def __post_init__(self) -> None:
        require(isinstance(self.ip, str) and len(self.ip) <= _ADDRESS_LIMIT, "an address is a short text")
        require(is_whole(self.port) and 1 <= self.port <= 65535, "a port is a number from 1 to 65535")
        require(isinstance(self.name, str) and len(self.name) <= _NAME_LIMIT, "a host has a name")


class Dialler:
    """The service's end of the line by which one process asks. It does not block.

    Args:
        line: that end; closed with this.
        policy: where the process may connect.
    """

    def __init__(self, line: socket.socket, policy: EgressPolicy) -> None:
        self._line = line
        self._policy = policy
        self._left = _MOST
        self._loop = asyncio.get_running_loop()
        line.setblocking(False)
        self._loop.add_reader(line.fileno(), self._serve)

    def close(self) -> None:
        """Make no more connections. Calling it again does nothing."""
        if self._line.fileno() >= 0:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()

    def _serve(self) -> None:
        try:
            data = self._line.recv(MESSAGE_LIMIT)
            if not data or self._left == 0:
                raise ConnectionAbortedError
            self._left -= 1
            error, made = dialled(self._policy, decoded("request", {"dial": plain(Dial)}, data))
            with made or nullcontext():
                descriptors = [] if made is None else [made.fileno()]
                socket.send_fds(self._line, [error.to_bytes(_ERROR_SIZE, "big")], descriptors)
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):
            self.close()


def dialled(policy: EgressPolicy, dial: Dial) -> tuple[int, socket.socket | None]:
    """An error's number, and the socket that connects, or has connected, where it is 0 or `EINPROGRESS`."""
    denied = policy.denial_of(dial.name, dial.port) if dial.name else None
    if denied is not None or not policy.decide(dial.ip, dial.port, dial.name).allowed:
        return errno.EACCES, None
    made = socket.socket(socket.AF_INET6 if ":" in dial.ip else socket.AF_INET)
    made.setblocking(False)
    error = made.connect_ex((dial.ip, dial.port))
    if error in (0, errno.EINPROGRESS):
        return error, made
    made.close()
    return error, None


def ask(line: socket.socket, dial: Dial) -> tuple[int, int | None]:
    """What `dialled` answers in the service, with a descriptor of ours.

    Raises:
        OSError: the service makes no more connections.
    """
    line.send(encoded("request", {Dial: "dial"}, dial))
    data, descriptors, _, _ = socket.recv_fds(line, _ERROR_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
    if len(data) != _ERROR_SIZE:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
    return int.from_bytes(data, "big"), descriptors[0] if descriptors else None
