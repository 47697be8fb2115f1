"""Connections of HTTP clients: bounded in their number, and in the time for which one may keep the service waiting.

Uvicorn waits without end for the rest of a request, or for a client to read its answer. Each such connection keeps a file
descriptor, of which a process has few. Between two requests a client may be idle for longer: reverse proxies keep their
connections, and one that the service closes first, just as a request is sent on it, loses that request.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterable
from functools import partial

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from connectory.api.http.logs import log

_OWN = 64
"""File descriptors of the service itself: its database, its log, its fork servers."""
_OF_A_TEST = 4
"""File descriptors of a connection test that runs."""
_FEWEST = 16
"""Connections that are taken however few file descriptors there are."""

KEPT_ALIVE = 75
"""Seconds that a connection may be idle between two requests. Proxies keep theirs for less: nginx and Amazon's balancers 60."""

_LATE = orjson.dumps({"detail": "The request did not arrive in time (CONNECTORY_REQUEST_TIMEOUT)."})
_ANSWER = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_LATE), _LATE)
)


class BoundedConnection(HttpToolsProtocol):
    """One connection. Something has to call `end_if_late` on it now and then.

    Args:
        patience: seconds that a request may take to arrive, and an answer to be taken on by the client.
        most: connections at once; one more is closed when it is made.
    """

    def __init__(self, *, patience: float, most: int, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self._patience, self._most = patience, most
        self._due: float | None = None  # when the request that the client owes has to be there
        self._within_request = False
        self._unsent = 0
        self._unsent_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            self._due = self.loop.time() + self._patience

    def data_received(self, data: bytes) -> None:
        """Something arrives: from now on the client may not be idle for long."""
        if self._due is not None:
            self._due = min(self._due, self.loop.time() + self._patience)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins to arrive."""
        super().on_message_begin()
        self._due, self._within_request = self.loop.time() + self._patience, True

    def on_message_complete(self) -> None:
        """A request is there."""
        super().on_message_complete()
        self._due, self._within_request = None, False

    def on_response_complete(self) -> None:
        """A request is answered; the next may follow."""
        super().on_response_complete()
        if self._due is None:
            self._due = self.loop.time() + max(self._patience, KEPT_ALIVE)

    def end_if_late(self, now: float) -> None:
        """Close the connection if the client has kept us waiting for too long.

        Args:
            now: the loop's time.
        """
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif unsent:
            if now - self._unsent_since >= self._patience:
                self.transport.abort()
        elif self._due is not None and now >= self._due:
            self._end()

    def _end(self) -> None:
        if self.flow.read_paused:  # it is we who keep the client waiting
            self._due = self.loop.time() + self._patience
            return
        cycle = self.cycle
        if self._within_request and (cycle is None or cycle.response_complete or not cycle.response_started):
            self.transport.write(_ANSWER)
        self.transport.close()
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()


def bounded_connections(*, patience: float, most: int, tests: int) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, for uvicorn's `http`.

    Raises the soft limit on file descriptors as far as needed, and bounds the number of connections by it.

    Args:
        patience: seconds that a request may take to arrive.
        most: connections at once that are wanted.
        tests: connection tests at once.
    """
    reserved = _OWN + _OF_A_TEST * tests
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < most + reserved:
        soft = most + reserved if hard == resource.RLIM_INFINITY else min(hard, most + reserved)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        possible = max(_FEWEST, soft - reserved)
        if possible < most:
            log.warning(
                "Fewer connections are taken than CONNECTORY_MAX_CONNECTIONS says; raise the limit on open files (ulimit -n).",
                taken=possible,
                open_files=soft,
            )
            most = possible
    return partial(BoundedConnection, patience=patience, most=most)


def end_late(connections: Iterable[object], now: float) -> None:
    """Close those whose clients have kept us waiting for too long."""
    for connection in list(connections):
        if isinstance(connection, BoundedConnection):
            connection.end_if_late(now)
