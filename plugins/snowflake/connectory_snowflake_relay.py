"""A proxy inside the process of a test that leads to one vetted address, and nowhere else.

The native core of Snowflake's driver resolves names by itself and follows redirects, a 307 with the password in it, and no
option keeps it from either (snowflake-connector-python 5.2.0). It does use a proxy for everything it sends. Proxies are spoken
to as RFC 9110 §9.3.6 (CONNECT) and RFC 9112 §3.2.2 (the absolute form of a request) say.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from connectory.toolkit import Address

_HEAD_LIMIT = 2**16
_DEFAULT_PORTS = {"http": 80, "https": 443}


@contextmanager
def relay(scheme: str, host: str, port: int, address: Address) -> Iterator[int]:
    """Carry what is meant for `scheme://host:port` to `address` while inside, and refuse the rest.

    Yields:
        The port on 127.0.0.1 where it listens.
    """
    name = f"[{host}]" if ":" in host else host
    names = {f"{name}:{port}", name} if _DEFAULT_PORTS[scheme] == port else {f"{name}:{port}"}
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener, scheme, names, address), daemon=True).start()
    with closing(listener):
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, scheme: str, names: set[str], address: Address) -> None:
    with suppress(OSError):  # closed: the test is over
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_carry, args=(client, scheme, names, address), daemon=True).start()


def _carry(client: socket.socket, scheme: str, names: set[str], address: Address) -> None:
    with client, suppress(OSError):
        head, rest = _read_head(client)
        opening = _opening(head, scheme, names)
        if opening is None:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with socket.create_connection(address) as server:
            if scheme == "https":
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            server.sendall(opening + rest)
            _exchange(client, server)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _HEAD_LIMIT:
        chunk = client.recv(_HEAD_LIMIT)
        if not chunk:
            break
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _opening(head: bytes, scheme: str, names: set[str]) -> bytes | None:
    """What the server is to be sent instead of `head`; `None` where that is meant for another server."""
    line, _, fields = head.decode("latin-1").partition("\r\n")
    method, target, version = line.split(" ") if line.count(" ") == 2 else ("", "", "")
    if scheme == "https":
        return b"" if method == "CONNECT" and target in names else None
    for name in names:
        if target.startswith(f"http://{name}/"):
            path = target.removeprefix(f"http://{name}")
            # One request per connection, so that each is looked at.
            return f"{method} {path} {version}\r\nConnection: close\r\n{fields}\r\n\r\n".encode("latin-1")
    return None


def _exchange(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until either side is done."""
    while True:
        readable, _, _ = select.select([client, server], [], [])
        for source, sink in ((client, server), (server, client)):
            if source in readable:
                data = source.recv(2**16)
                if not data:
                    return
                sink.sendall(data)
