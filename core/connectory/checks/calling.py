"""How Python code in a test connects where the kernel keeps its process from it: the service makes the connection.

What is replaced are methods of `socket.socket`, which every driver written in Python ends in. Native code does not pass here.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.checks.line import Dial, Line

_KEPT = ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE))
"""Options that drivers set before they connect, and that the service's socket is given too."""


def install(line: Line, addresses: VettedAddresses, relays: Sequence[int]) -> None:
    """From now on, have this process's Python code connect through the service where it may not do so itself.

    Args:
        line: to the service.
        addresses: what was looked up.
        relays: ports that native code may connect to: who listens on any free port of 127.0.0.1 gets one of them.
    """
    caller = _Caller(line, addresses)
    connect, connect_ex, bind = socket.socket.connect, socket.socket.connect_ex, socket.socket.bind

    def connect_or_call(self: socket.socket, address: Any) -> None:
        try:
            connect(self, address)
        except AddressDenied:
            raise
        except PermissionError:
            if not _is_tcp(self):
                raise
            _raise(caller.connect(self, address), self.gettimeout())

    def connect_ex_or_call(self: socket.socket, address: Any) -> int:
        error = connect_ex(self, address)
        return caller.connect(self, address) if error == errno.EACCES and _is_tcp(self) else error

    def bind_to_relay(self: socket.socket, address: Any) -> None:
        for port in relays if address == ("127.0.0.1", 0) and _is_tcp(self) else ():
            with suppress(OSError):
                return bind(self, ("127.0.0.1", port))
        return bind(self, address)

    replaced: dict[str, Callable[..., Any]] = {
        "connect": connect_or_call,
        "connect_ex": connect_ex_or_call,
        "bind": bind_to_relay,
    }
    for name, function in replaced.items():
        setattr(socket.socket, name, function)


def _is_tcp(one: socket.socket) -> bool:
    return one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM


def _raise(error: int, timeout: float | None) -> None:
    if error == errno.EACCES:
        raise AddressDenied
    if error == errno.EAGAIN and timeout:
        raise TimeoutError("timed out")
    if error:
        raise OSError(error, os.strerror(error))


class _Caller:
    def __init__(self, line: Line, addresses: VettedAddresses) -> None:
        self._line = line
        self._addresses = addresses

    def connect(self, one: socket.socket, address: Any) -> int:
        """Connect `one`, which stays the same file to whoever has it; the number of the error, as `connect_ex` gives it."""
        ip, port = str(address[0]), int(address[1])
        error, made = self._line.dial(Dial(ip, port, self._addresses.name_of_address(ip)))
        if made is None:
            return error
        options = [(level, name, one.getsockopt(level, name)) for level, name in _KEPT]
        timeout = one.gettimeout()
        try:
            os.dup2(made, one.fileno(), inheritable=False)
        finally:
            os.close(made)
        for level, name, value in options:
            one.setsockopt(level, name, value)
        if error and timeout != 0:
            error = _outcome(one, timeout)
        one.settimeout(timeout)  # whether it blocks is the file's, and the service's does not
        return error


def _outcome(one: socket.socket, timeout: float | None) -> int:
    poll = select.poll()
    poll.register(one, select.POLLOUT)
    if not poll.poll(None if timeout is None else max(1, timeout * 1000)):
        return errno.EAGAIN
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
