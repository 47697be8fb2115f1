"""Callers: keep-alive connections that send requests at the same time, from one thread and with little work of their own."""

import selectors
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple


class Load(NamedTuple):
    """What a number of requests took on the caller's side.

    Attributes:
        seconds: from the first request to the last answer.
        requests: how many were answered.
    """

    seconds: float
    requests: int

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def send_all(port: int, requests: Iterator[bytes], callers: int) -> Load:
    """Send `requests` from `callers` connections; each sends its next one when it has the answer to the last.

    Raises:
        SystemExit: an answer is not a 200.
    """
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(callers)]
    received = {connection: bytearray() for connection in connections}
    answered = 0
    with selectors.DefaultSelector() as waiting:
        started = time.perf_counter()
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (request := next(requests, None)) is not None:
                connection.sendall(request)
                waiting.register(connection, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                buffer = received[connection]
                chunk = connection.recv(1 << 18)
                buffer += chunk
                if not chunk:
                    raise SystemExit("the server closed a connection")
                if not _complete(buffer):
                    continue
                if not buffer.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"unexpected answer: {bytes(buffer[:500])!r}")
                answered += 1
                buffer.clear()
                if (request := next(requests, None)) is None:
                    waiting.unregister(connection)
                else:
                    connection.sendall(request)
        seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Load(seconds, answered)


def _complete(answer: bytearray) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request."""
    sent = {"Host": "127.0.0.1", **headers}
    if body:
        sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
