"""For drivers that take a host by its name only, because they need the name for TLS: the name means what was vetted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectory.contract.check import Address


@contextmanager
def pinned(host: str, *addresses: Address) -> Iterator[None]:
    """While inside, Python code of this process that resolves `host` gets `addresses`, and finds no other name.

    It replaces `socket.getaddrinfo`, so it is only for a connection test, which has its process for itself, and only
    for drivers written in Python. A driver that takes an address should be given one instead.

    Args:
        host: the name that the driver is given; letter case does not matter.
        addresses: what `CheckContext.resolve` or `CheckContext.connect` returned for it.
    """

    def getaddrinfo(name: Any, port: Any, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        asked = (name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)).lower()
        meant = [address for address in addresses if asked in {host.lower(), address.ip}]
        if not meant:
            raise socket.gaierror(socket.EAI_NONAME, "Only the host of the connection can be resolved in its test.")
        return [_entry(address.ip, int(port or address.port)) for address in meant]

    original = socket.getaddrinfo
    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = original


def _entry(ip: str, port: int) -> tuple[Any, ...]:
    """One answer of `getaddrinfo` for TCP; an IPv6 socket address also holds flow and scope."""
    if ":" in ip:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port)
