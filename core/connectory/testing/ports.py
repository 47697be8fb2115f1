"""Loopback addresses and free ports."""

import random
import socket
from functools import cache

IPV4_LOOPBACK = "127.0.0.1"
IPV6_LOOPBACK = "::1"

# Below Linux's default ephemeral range (32768-60999, ip(7) ip_local_port_range), so that no outgoing connection and no
# server that asks for port 0 can take a port between our look at it and the server's own bind.
_FIRST_PORT, _LAST_PORT = 20000, 32000


@cache
def loopback_addresses() -> tuple[str, ...]:
    """The loopback addresses of this machine: always 127.0.0.1, and ::1 where IPv6 is there."""
    try:
        with socket.create_server((IPV6_LOOPBACK, 0), family=socket.AF_INET6):
            return (IPV4_LOOPBACK, IPV6_LOOPBACK)
    except OSError:
        return (IPV4_LOOPBACK,)


def free_port() -> int:
    """A TCP port nobody listens on, on any loopback address. Raises OSError after 200 taken ports."""
    for _ in range(200):
        port = random.randint(_FIRST_PORT, _LAST_PORT)  # noqa: S311 - nothing secret
        if all(_can_bind(address, port) for address in loopback_addresses()):
            return port
    raise OSError(f"200 ports between {_FIRST_PORT} and {_LAST_PORT} were all taken: stop the servers left running")


def _can_bind(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
