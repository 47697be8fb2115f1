"""A relay between a console and its service, which notes when the service told what."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Passes bytes on, both ways.

    Attributes:
        port: on loopback.
        seen: when the service first wrote `watched` on a connection, in seconds since the epoch; the last is the newest.
    """

    def __init__(self, listener: socket.socket, to: int, watched: bytes) -> None:
        self.port: int = listener.getsockname()[1]
        self.seen: list[float] = []
        self._listener, self._to, self._watched = listener, to, watched

    def run(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, watch: bool) -> None:
        with suppress(OSError):
            noted = False
            while chunk := source.recv(1 << 16):
                if watch and not noted and self._watched in chunk:
                    noted = True
                    self.seen.append(time.time())
                sink.sendall(chunk)
                if chunk.endswith(b"0\r\n\r\n"):
                    noted = False  # the next answer of the connection
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def relay(to: int, watched: bytes) -> Iterator[Relay]:
    """A relay to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = Relay(listener, to, watched)
        threading.Thread(target=started.run, daemon=True).start()
        yield started
