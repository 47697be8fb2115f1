"""The Ledger connector keeps the contract, against a real server on loopback."""

import hmac
import secrets
import socketserver
import threading
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from connectory import FailureCode
from connectory.data import CollectionRef, DataFailure, Read, Rows
from connectory.testing import ConnectorConformance, OperationFailed, Payload, Session

USERS = {"reader": "the right password"}
BOOKS = {
    "2025": ["1|2025-12-31|closed|0.00"],
    "2026": ["1|2026-01-03|rent|-900.00", "2|2026-01-04||12.50", "3|2026-01-04|paper|-3.10"],
}


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
            word, _, book = line.decode().strip().partition(" ")
            if word == "OPEN":
                self.say(book in BOOKS)
            elif word == "BOOKS" or book in BOOKS:
                self.list(BOOKS if word == "BOOKS" else BOOKS[book])
            else:
                self.say(False)

    def list(self, lines: Iterable[str]) -> None:
        self.wfile.write("".join(f"{line}\n" for line in (*lines, ".")).encode())

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

    def test_entries_are_read_by_what_they_hold(self, good_secrets: Payload) -> None:
        fields = (("text",), ("amount",), ("day",))
        by_key = Rows((("number",),), [(1,), (None,)])
        by_two = Rows((("day",), ("text",)), [(date(2026, 1, 4), "paper"), (date(2026, 1, 4), "rent")])

        async def read(session: Session) -> list[object]:
            query = Read(CollectionRef("2026"), fields, (by_key, by_two))
            return [row async for batch in session.read(query, batch=1) for row in batch.rows]

        assert self.use(good_secrets, read) == [
            ("rent", Decimal("-900.00"), date(2026, 1, 3)),
            ("paper", Decimal("-3.10"), date(2026, 1, 4)),
        ]

    def test_what_is_not_there_is_said(self, good_secrets: Payload) -> None:
        async def code(session: Session, query: Read) -> str:
            try:
                return str([batch async for batch in session.read(query)])
            except OperationFailed as failed:
                return failed.code

        async def codes(session: Session) -> list[str]:
            asked = [("1066", "text"), ("2026", "colour")]
            return [await code(session, Read(CollectionRef(book), ((field,),))) for book, field in asked]

        assert self.use(good_secrets, codes) == [DataFailure.COLLECTION_MISSING, DataFailure.FIELD_MISSING]
