"""Far ends on loopback that no connector may be impressed by: one that says nothing, one that hangs up, one that refuses.

Each is a context manager that yields where it listens:

    with silent_server() as server:
        ...  # test a connection to server.host, server.port
        assert server.connections == 1
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

LOOPBACK = "127.0.0.1"

UNKNOWN_HOST = "connectory-conformance.invalid"
"""A host name that no resolver knows: `.invalid` is reserved for that (RFC 6761 §6.4)."""

_POLL_SECONDS = 0.1


class FarEnd:
    """Where a far end listens, and what happened there.

    Attributes:
        host, port: its address.
        connections: how many connections were accepted so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connections = 0


def silent_server() -> contextlib.AbstractContextManager[FarEnd]:
    """Accepts, and never says a word."""
    return _listening(lambda _: None)


def closing_server() -> contextlib.AbstractContextManager[FarEnd]:
    """Accepts, and hangs up at once."""
    return _listening(socket.socket.close)


@contextlib.contextmanager
def refused_port() -> Iterator[FarEnd]:
    """A port that refuses connections. It stays bound without listening, so that nobody else can start to listen on it."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        yield FarEnd(LOOPBACK, holder.getsockname()[1])


@contextlib.contextmanager
def _listening(treat: Callable[[socket.socket], None]) -> Iterator[FarEnd]:
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener, contextlib.ExitStack() as accepted:
        listener.settimeout(_POLL_SECONDS)
        far_end = FarEnd(LOOPBACK, listener.getsockname()[1])
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    accepted.callback(connection.close)
                    far_end.connections += 1
                    treat(connection)

        thread = threading.Thread(target=serve, name="far-end", daemon=True)
        thread.start()
        try:
            yield far_end
        finally:
            stopping.set()
            thread.join()
