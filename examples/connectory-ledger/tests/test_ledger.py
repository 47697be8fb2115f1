"""The Ledger connector keeps the contract, against a real server on loopback."""

import hmac
import secrets
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance, Payload

USERS = {"reader": "the right password"}
BOOKS = {"2026"}


class Ledger(socketserver.StreamRequestHandler):
    """One conversation of the imaginary server."""

    def handle(self) -> None:
        challenge = secrets.token_hex(8).encode()
        self.wfile.write(b"LEDGER " + challenge + b"\n")
        _, user, proof = self.rfile.readline().decode().split()
        password = USERS.get(user, secrets.token_hex(8))
        expected = hmac.new(password.encode(), challenge, "sha256").hexdigest()
        self.say(hmac.compare_digest(proof, expected))
        for line in self.rfile:
            self.say(line.decode().strip().removeprefix("OPEN ") in BOOKS)

    def say(self, agreed: bool) -> None:
        self.wfile.write(b"OK\n" if agreed else b"NO\n")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """A Ledger server, and where it listens."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ledger) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield "127.0.0.1", running.server_address[1]
        running.shutdown()
        thread.join()


class TestLedgerConformance(ConnectorConformance):
    identifier = "ledger"
    distribution = "connectory-ledger"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, server: tuple[str, int]) -> Payload:
        host, port = server
        return {"host": host, "port": port, "username": "reader", "password": USERS["reader"], "book": "2026"}

    @pytest.fixture
    def bad_secrets(self, good_secrets: Payload) -> dict[FailureCode, Payload]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "another password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"book": "1066"},
        }

    def secrets_for_server(self, host: str, port: int) -> Payload:
        return {"host": host, "port": port, "username": "reader", "password": "any password"}
