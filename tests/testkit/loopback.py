"""A TCP server on loopback for far ends that we write ourselves: it accepts, records, and stops for sure.

What it says is a function, `handle(peer)`, that runs in a thread of its own for each connection.
"""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

from connectory.testing.ports import IPV4_LOOPBACK, free_port, loopback_addresses

_CHUNK = 64 * 1024


class PeerLeft(Exception):
    """The other side closed the connection, or the server is stopping."""


class Peer:
    """One accepted connection. Reading and sending raise PeerLeft once the other side is gone.

    Everything read is recorded as the program sees it, so bytes that came through TLS are recorded in clear.
    """

    def __init__(self, connection: socket.socket, record: Callable[[bytes], None], stopping: threading.Event) -> None:
        self.socket = connection
        self.encrypted = False
        self.stopping = stopping
        self.record = record

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = b""
        while len(data) < count:
            data += self.read_some(count - len(data))
        return data

    def read_some(self, limit: int = _CHUNK) -> bytes:
        """At least one byte, at most `limit`."""
        data = self.receive(limit)
        self.record(data)
        return data

    def receive(self, limit: int = _CHUNK) -> bytes:
        """The same without a record, for a protocol that decrypts by itself and calls `record` with what it read."""
        try:
            data = self.socket.recv(limit)
        except OSError as error:  # ssl.SSLError is one
            raise PeerLeft from error
        if not data:
            raise PeerLeft
        return data

    def drain(self) -> None:
        """Read, record and answer nothing until the other side leaves."""
        with contextlib.suppress(PeerLeft):
            while True:
                self.read_some()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise PeerLeft from error

    def pause(self, seconds: float) -> None:
        """Wait, but not for a server that is stopping."""
        if self.stopping.wait(seconds):
            raise PeerLeft

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the server's side of a TLS handshake. A client that refuses our certificate leaves during it."""
        try:
            # In two steps, so that `disconnect` finds the socket while the handshake waits for the client.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.socket.do_handshake()
        except OSError as error:
            raise PeerLeft from error
        self.encrypted = True

    def disconnect(self) -> None:
        """End the connection from any thread: the thread that reads or writes it gets PeerLeft."""
        with contextlib.suppress(OSError):
            # The plain method also on a TLS socket, whose own one would take the TLS state away under the reading
            # thread.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def hang_up(self, patience: float = 1) -> None:
        """Say that no more comes, and give the other side a moment to read what it was sent before the socket closes.

        Closing at once with unread input makes the kernel send a reset, and the other side loses our last words.
        """
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            self.socket.settimeout(patience)
        self.drain()

    def relay(self, upstream: socket.socket) -> None:
        """Carry bytes both ways until either side leaves.

        One thread for both directions, because OpenSSL does not let two threads read and write one connection at once.
        """
        with contextlib.suppress(PeerLeft, OSError):
            while True:
                pending = self.encrypted and self.socket.pending()
                readable = [self.socket] if pending else select.select([self.socket, upstream], [], [])[0]
                if self.socket in readable:
                    upstream.sendall(self.read_some())
                if upstream in readable:
                    answer = upstream.recv(_CHUNK)
                    if not answer:
                        return
                    self.send(answer)


class LoopbackServer:
    """A server on 127.0.0.1 and (where the machine has it) ::1 that gives every connection to `handle(peer)`.

    `connections` counts what was accepted, `received` holds every byte that was read. An exception in `handle` that
    is not PeerLeft is a defect of the server and is raised again by `stop()`.
    """

    def __init__(
        self,
        handle: Callable[[Peer], None],
        *,
        name: str | None = None,
        addresses: tuple[str, ...] | None = None,
        port: int | None = None,
    ) -> None:
        self.host = IPV4_LOOPBACK
        self.port = port or 0  # 0 until start() chooses one
        self._addresses = loopback_addresses() if addresses is None else addresses
        self.connections = 0
        self._name = name or handle.__name__
        self._handle = handle
        self._received = bytearray()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._listeners: list[socket.socket] = []
        self._accepting: list[threading.Thread] = []
        self._serving: list[threading.Thread] = []
        self._peers: set[Peer] = set()
        self._defects: list[Exception] = []

    def __repr__(self) -> str:
        return f"LoopbackServer({self._name}, {self.host}:{self.port})"

    @property
    def received(self) -> bytes:
        """All bytes read so far, from all connections, in the order of arrival."""
        with self._changed:
            return bytes(self._received)

    def start(self) -> Self:
        self.port = self.port or free_port()
        for address in self._addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, self.port), family=family, backlog=128)
            self._listeners.append(listener)
            self._accepting.append(self._thread(self._accept, listener))
        return self

    def stop(self) -> None:
        """End all connections and wait until every thread has ended. Calling it again does nothing."""
        self._stopping.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept(); close alone would not
        self._join(self._accepting)  # from here on nobody new comes
        with self._changed:
            peers, serving = list(self._peers), list(self._serving)
        for peer in peers:
            peer.disconnect()
        self._join(serving)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._defects:
            raise self._defects.pop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for_connections(self, count: int = 1, seconds: float = 10) -> None:
        """Return once `count` connections have been accepted; raises TimeoutError."""
        self._wait(lambda: self.connections >= count, seconds, f"{count} connections, got {self.connections}")

    def wait_until_left(self, seconds: float = 10) -> None:
        """Return once no connection is open; raises TimeoutError."""
        self._wait(lambda: not self._peers, seconds, "all peers to leave")

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"{self!r} waited {seconds:g} s for {what}")

    def _thread(self, function: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, name=self._name, daemon=True)
        thread.start()
        return thread

    def _join(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(10)
            if thread.is_alive():
                raise RuntimeError(f"{self!r} did not stop: a thread still runs after 10 s")

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(connection, self._record, self._stopping)
            with self._changed:
                self.connections += 1
                self._peers.add(peer)
                self._serving = [thread for thread in self._serving if thread.is_alive()]
                self._serving.append(self._thread(self._serve, peer))
                self._changed.notify_all()

    def _serve(self, peer: Peer) -> None:
        try:
            self._handle(peer)
            peer.hang_up()
        except PeerLeft:
            pass
        except Exception as defect:  # raised again by stop(), in the thread of the test
            self._defects.append(defect)
        finally:
            peer.socket.close()
            with self._changed:
                self._peers.discard(peer)
                self._changed.notify_all()

    def _record(self, data: bytes) -> None:
        with self._changed:
            self._received += data


def connect_upstream(host: str, port: int) -> socket.socket:
    """A connection to the server behind a front. Raises PeerLeft where that server is gone."""
    try:
        upstream = socket.create_connection((host, port), timeout=10)
    except OSError as error:
        raise PeerLeft from error
    upstream.settimeout(None)
    upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return upstream


def forward_from_ipv6(port: int) -> LoopbackServer:
    """A forwarder from [::1]:`port` to 127.0.0.1:`port`, for servers that can listen on one address only."""

    def handle(peer: Peer) -> None:
        with connect_upstream(IPV4_LOOPBACK, port) as upstream:
            peer.relay(upstream)

    addresses = tuple(address for address in loopback_addresses() if address != IPV4_LOOPBACK)
    return LoopbackServer(handle, name="IPv6 forwarder", addresses=addresses, port=port)
