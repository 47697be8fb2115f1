"""What the service does for a test, whose own process the kernel keeps from almost every TCP port, and from datagrams.

Where Landlock limits TCP, native code in a test reaches the ports of its own connection only (`native_ports`). Python code
learns of the refusal, and asks here: the service holds the address against the egress policy once more, out of the test's
reach, begins to connect, and passes the socket on. It waits for nothing and reads nothing; the test finds out who answers.
It also has names looked up (`lookups`), one at a time for each test.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol, TypeAlias

from connectory.checks.addresses import DNS_PORT, nameservers
from connectory.checks.egress import EgressPolicy
from connectory.checks.line import ERROR_SIZE, REQUEST_LIMIT, Dial, decode_request
from connectory.checks.lookups import Answer, encode_answer
from connectory.checks.wire import ProtocolViolation

_MOST = 256
"""Requests of one test or session: connections are as many as files that it may have open."""


class Closable(Protocol):
    """Something that goes on until it is closed."""

    def close(self) -> None: ...


StartLookup: TypeAlias = Callable[[str, Callable[[Answer], None]], Closable]
"""Begins to look a host up, and tells the answer unless it is closed before. It may raise `OSError`."""


class Dialler:
    """The service's end of the line by which one process asks (`connectory.checks.line`). It does not block.

    Args:
        line: that end; closed with this.
        policy: where the process may connect.
        start_lookup: looks names up.
    """

    def __init__(self, line: socket.socket, policy: EgressPolicy, start_lookup: StartLookup) -> None:
        self._line = line
        self._policy = policy
        self._start_lookup = start_lookup
        self._lookup: Closable | None = None
        self._left = _MOST
        self._loop = asyncio.get_running_loop()
        line.setblocking(False)
        self._loop.add_reader(line.fileno(), self._serve)

    def close(self) -> None:
        """Make no more connections, and look nothing up. Calling it again does nothing."""
        if self._line.fileno() >= 0:
            self._loop.remove_reader(self._line.fileno())
            self._line.close()
        self._end_lookup()

    def _end_lookup(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.close()

    def _serve(self) -> None:
        try:
            data = self._line.recv(REQUEST_LIMIT)
            if not data or self._left == 0:
                raise ConnectionAbortedError
            self._left -= 1
            request = decode_request(data)
            if isinstance(request, Dial):
                self._dial(request)
            else:
                self._loop.remove_reader(self._line.fileno())  # what it asks for next waits
                self._lookup = self._start_lookup(request.host, self._tell)
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):
            self.close()

    def _dial(self, dial: Dial) -> None:
        error, made = dialled(self._policy, dial)
        with made or nullcontext():
            descriptors = [] if made is None else [made.fileno()]
            socket.send_fds(self._line, [error.to_bytes(ERROR_SIZE, "big")], descriptors)

    def _tell(self, answer: Answer) -> None:
        self._end_lookup()
        try:
            self._line.send(encode_answer(answer))
        except OSError:
            self.close()
        else:
            self._loop.add_reader(self._line.fileno(), self._serve)


def dialled(policy: EgressPolicy, dial: Dial) -> tuple[int, socket.socket | None]:
    """An error's number, and the socket that connects, or has connected, where it is 0 or `EINPROGRESS`."""
    if not (
        dial.port == DNS_PORT and dial.ip in nameservers()
    ):  # the system's name servers are asked whatever the rules are
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
