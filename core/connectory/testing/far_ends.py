"""Far ends on loopback that no connector may be impressed by, whatever its protocol.

Each is a context manager that yields where it listens:

    with silent_server() as server:
        ...  # test a connection to server.host, server.port
        assert server.connections == 1
        assert b"the password" not in server.received

Those that say something wait a moment for the client to speak first. To an HTTP request they say it in HTTP, to others after
`greeting`: what a server of your protocol says first, so that a client reads on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import zlib
from collections.abc import Callable, Iterator

LOOPBACK = "127.0.0.1"

UNKNOWN_HOST = "connectory-conformance.invalid"
"""A host name that no resolver knows: `.invalid` is reserved for that (RFC 6761 §6.4)."""

DRIP_SECONDS = 0.3
"""Seconds between two bytes of a server that drips: well under any timeout that is counted for each read."""
RECORD_LIMIT = 2**20
"""Bytes that a far end records."""

_POLL_SECONDS = 0.1
_QUIET_SECONDS = 0.2  # after which a client has said what it says unasked
_CHUNK = 2**16
_BOMB_MEBIBYTES = 1024
# A length of about 2 GiB wherever a binary protocol has one, whichever its byte order.
_HUGE_LENGTHS = b"\x7f\xff\xff\xff" * 16


class FarEnd:
    """Where a far end listens, and what happened there.

    Attributes:
        host, port: its address.
        connections: how many connections were accepted so far.
        received: what they sent so far, in the order of arrival; the first MiB.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connections = 0
        self.received = b""


class _ClientLeft(Exception):
    """The client closed the connection, or the far end is stopping."""


class _Client:
    """One accepted connection."""

    def __init__(self, connection: socket.socket, far_end: FarEnd, stopping: threading.Event) -> None:
        self._connection, self._far_end, self._stopping = connection, far_end, stopping

    def listen(self) -> bytes:
        """What it says before it waits for an answer."""
        heard = b""
        self._connection.settimeout(_QUIET_SECONDS)
        with contextlib.suppress(TimeoutError):
            while len(heard) < RECORD_LIMIT:
                heard += self._receive()
        self._connection.settimeout(None)
        return heard

    def drain(self) -> None:
        """Listen until it leaves."""
        while True:
            self._receive()

    def say(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            raise _ClientLeft from None

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _ClientLeft

    def leave(self) -> None:
        """End the connection, from any thread."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> bytes:
        try:
            data = self._connection.recv(_CHUNK)
        except TimeoutError:
            raise
        except OSError:
            raise _ClientLeft from None
        if not data:
            raise _ClientLeft
        self._far_end.received = (self._far_end.received + data)[:RECORD_LIMIT]
        return data


_Server = contextlib.AbstractContextManager[FarEnd]


def silent_server(greeting: bytes = b"") -> _Server:
    """Accepts, says `greeting` (default: nothing), and then never a word."""

    def treat(client: _Client) -> None:
        client.say(greeting)
        client.drain()

    return _listening(treat)


def closing_server() -> _Server:
    """Accepts, and hangs up at once."""
    return _listening(_Client.leave)


def dripping_server(greeting: bytes = b"") -> _Server:
    """Answers with a byte now and then, and never ends."""

    def treat(client: _Client) -> None:
        http = _is_http(client.listen())
        client.say(_http_head("Content-Length: 100000") if http else greeting)
        while True:
            client.say(b" " if http else b"\0")
            client.pause(DRIP_SECONDS)

    return _listening(treat)


def flooding_server(greeting: bytes = b"") -> _Server:
    """Answers at full speed, and never ends."""

    def treat(client: _Client) -> None:
        data = b"x" * _CHUNK
        if _is_http(client.listen()):
            client.say(_http_head("Transfer-Encoding: chunked"))
            data = b"%x\r\n%s\r\n" % (len(data), data)
        else:
            client.say(greeting)
        while True:
            client.say(data)

    return _listening(treat)


def bombing_server(greeting: bytes = b"") -> _Server:
    """Answers little that claims to be much: to HTTP, 1 GiB compressed to 1 MiB; to others, lengths of 2 GiB."""

    def treat(client: _Client) -> None:
        if _is_http(client.listen()):
            bomb = _compressed_zeros(_BOMB_MEBIBYTES)
            client.say(_http_head("Content-Encoding: gzip", f"Content-Length: {len(bomb)}") + bomb)
        else:
            client.say(greeting + _HUGE_LENGTHS)
        client.drain()

    return _listening(treat)


def reflecting_server(greeting: bytes = b"") -> _Server:
    """Answers with what it was sent: to HTTP as the text of an error."""

    def treat(client: _Client) -> None:
        client.say(greeting)
        while True:
            heard = client.listen()
            if _is_http(heard):
                heard = _http_head(f"Content-Length: {len(heard)}", status="401 Unauthorized") + heard
            client.say(heard)

    return _listening(treat)


def redirecting_server(elsewhere: FarEnd) -> _Server:
    """Answers, in HTTP whatever it was asked, that the client should go `elsewhere`."""

    def treat(client: _Client) -> None:
        client.listen()
        location = f"Location: http://{elsewhere.host}:{elsewhere.port}/"
        client.say(_http_head(location, "Content-Length: 0", status="307 Temporary Redirect"))
        client.drain()

    return _listening(treat)


@contextlib.contextmanager
def refused_port() -> Iterator[FarEnd]:
    """A port that refuses connections. It stays bound without listening, so that nobody else can start to listen on it."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        yield FarEnd(LOOPBACK, holder.getsockname()[1])


@contextlib.contextmanager
def black_hole() -> Iterator[FarEnd]:
    """A port where connecting is never answered, as behind a firewall that drops: its line of those who wait is full."""
    with socket.create_server((LOOPBACK, 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        far_end = FarEnd(LOOPBACK, listener.getsockname()[1])
        for _ in range(16):  # Linux lets one wait; others may let more
            try:
                waiting.enter_context(socket.create_connection((far_end.host, far_end.port), timeout=_QUIET_SECONDS))
            except TimeoutError:
                break
        yield far_end


def _is_http(heard: bytes) -> bool:
    return b" HTTP/1." in heard.partition(b"\r\n")[0]


def _http_head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, "", ""]).encode()


def _compressed_zeros(mebibytes: int) -> bytes:
    """A gzip stream, without the checksum at its end, which nobody should come to."""
    packer = zlib.compressobj(9, wbits=31)
    first = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    return first + again * (mebibytes - 1)


@contextlib.contextmanager
def _listening(treat: Callable[[_Client], None]) -> Iterator[FarEnd]:
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener, contextlib.ExitStack() as accepted:
        listener.settimeout(_POLL_SECONDS)
        far_end = FarEnd(LOOPBACK, listener.getsockname()[1])
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                with contextlib.suppress(OSError):  # nobody came, or the listener was shut
                    connection, _ = listener.accept()
                    connection.settimeout(None)
                    far_end.connections += 1
                    client = _Client(connection, far_end, stopping)
                    thread = threading.Thread(target=attend, args=(client, connection), name="far-end", daemon=True)
                    thread.start()
                    accepted.callback(thread.join)
                    accepted.callback(client.leave)

        def attend(client: _Client, connection: socket.socket) -> None:
            with connection, contextlib.suppress(_ClientLeft):
                treat(client)

        thread = threading.Thread(target=serve, name="far-end", daemon=True)
        thread.start()
        try:
            yield far_end
        finally:
            stopping.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept(), where the system does that
            thread.join()
