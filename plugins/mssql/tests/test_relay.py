"""The port that the driver is led to is the relay's as long as it lives: whoever else had it would get the driver's login."""

import queue
import socket
from typing import Any

import pytest

import connectory_mssql_tds as relay_module
from connectory_mssql_tds import Relay


class MockSession:
    """Records what is sent to the server, which never answers."""

    version = bytes(6)

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.sent: queue.Queue[bytes] = queue.Queue()

    def send(self, data: bytes) -> None:
        self.sent.put(data)

    def receive(self, limit: int = 1) -> bytes:
        if not (data := self.socket.recv(limit)):
            raise EOFError
        return data


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_strangers_that_come_first_change_nothing_with_a_mock_session(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    session: Any = MockSession(ours)
    with theirs, Relay(session, "db.example") as relay:
        with socket.create_connection(("127.0.0.1", relay.port)) as stranger:
            stranger.sendall(said)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", relay.port))
        with socket.create_connection(("127.0.0.1", relay.port), timeout=30) as driver:
            driver.sendall(relay_module._packets(relay_module._PRELOGIN, relay_module._prelogin({})))
            assert driver.recv(1) == bytes([relay_module._RESPONSE])
            driver.sendall(relay_module._packets(relay_module._LOGIN7, bytes(100)))
            login = session.sent.get(timeout=30)
        assert "db.example".encode("utf-16-le") in login
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", relay.port))
