"""A connector for Ledger, an imaginary server of account books that speaks in lines of text.

The server greets with `LEDGER <challenge>`. The client answers `LOGIN <user> <proof>`, where the proof is the HMAC-SHA256
of the challenge under the password, and then `OPEN <book>`. The server says `OK`, or `NO`. To `BOOKS` it answers with the names
of the books, to `ENTRIES <book>` with `number|day|text|amount` of each entry, or `NO`; the last line of both is a dot.
"""

import hmac
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from socket import SocketIO, socket
from typing import Annotated, Any

from pydantic import Field

from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    Description,
    FailureCode,
    Host,
    Name,
    Port,
    Secrets,
    SecretText,
    Text,
)
from connectory.data import (
    Batch,
    CollectionInfo,
    CollectionRef,
    DataFailure,
    DataSession,
    FieldInfo,
    Kind,
    Path,
    Read,
    Rows,
    SessionContext,
    SessionFailed,
)

User = Annotated[str, Text("one word", max_length=100, pattern=r"[A-Za-z0-9_.\-]+")]


class LedgerSecrets(Secrets):
    """The fields of a connection, in the order to show them."""

    host: Host = Field(title="Host", description="Name or address of the Ledger server.")
    port: Port = Field(default=7000, title="Port", description="TCP port of the server.")
    username: User = Field(title="User name", description="A user with the right to read.")
    password: SecretText = Field(title="Password", description="Password of the user.")
    book: Name | None = Field(
        default=None, title="Book", description="A book that must exist; left out, none is opened."
    )


class Ledger(Connector[LedgerSecrets]):
    """What the entry point names."""

    identifier = "ledger"
    type = "database"
    description = Description(
        human_readable="Ledger",
        icon='<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M1 0h6v8H1zM2 2h4v1H2z"/></svg>',
        user_guide="https://ledger.example/guide",
        category="DATABASE",
    )

    def test(self, secrets: LedgerSecrets, context: CheckContext) -> None:
        """Log in, and open the book. A driver would be imported here, inside."""
        with (
            context.open(secrets.host, secrets.port) as link,
            link.socket.makefile("rwb", buffering=0) as stream,
        ):
            _log_in(stream, secrets, context)
            if secrets.book is not None:
                with context.step("query"):
                    if _ask(stream, f"OPEN {secrets.book}") != b"OK":
                        raise CheckFailed(
                            FailureCode.DATABASE_NOT_FOUND, remedy="There is no such book; create it first."
                        )

    def open_session(self, secrets: LedgerSecrets, context: SessionContext) -> DataSession:
        """Log in, and stay. What a connection holds is found out, and read, in such a session."""
        connection, _ = context.connect(secrets.host, secrets.port)
        stream = connection.makefile("rwb", buffering=0)
        _log_in(stream, secrets, context)
        return LedgerSession(connection, stream, secrets.book, context)


FIELDS = (
    FieldInfo(("number",), Kind.INTEGER, "number", nullable=False, unique=True),
    FieldInfo(("day",), Kind.DATE, "day", nullable=False),
    FieldInfo(("text",), Kind.STRING, "text", max_length=200),
    FieldInfo(("amount",), Kind.DECIMAL, "money", nullable=False),
)


class LedgerSession(DataSession):
    """Each book is a collection, and each entry a row."""

    def __init__(self, connection: socket, stream: SocketIO, book: str | None, context: SessionContext) -> None:
        self._connection, self._stream, self._book, self._context = connection, stream, book, context

    def discover(self, namespace: object = None, sample: int = 1000) -> Iterator[CollectionInfo]:
        """The books, all of the same fields."""
        del namespace, sample  # books are in nothing, and nothing about them has to be guessed
        for name in sorted(self._lines("BOOKS")):
            if self._book in (None, name):
                yield CollectionInfo(CollectionRef(name), FIELDS, primary_key=(("number",),), kind="book")

    def read(self, query: Read, batch: int) -> Iterator[Batch]:
        """The server gives whole books; which entries were asked for is seen here."""
        found = {info.path: info.kind for info in FIELDS}
        if not found.keys() >= set(query.fields):
            raise SessionFailed(DataFailure.FIELD_MISSING)
        kinds, rows = tuple(found[path] for path in query.fields), []
        for line in self._lines(f"ENTRIES {query.ref.name}"):
            entry = _entry(line)
            if not query.any_of or any(_matches(entry, some) for some in query.any_of):
                rows.append(tuple(map(entry.get, query.fields)))
            if len(rows) == batch:
                yield Batch(kinds, rows)
                rows = []
        yield Batch(kinds, rows)

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._connection.close()

    def _lines(self, request: str) -> Iterator[str]:
        self._connection.settimeout(self._context.timeout)
        answer = _ask(self._stream, request)
        if answer == b"NO":
            raise SessionFailed(DataFailure.COLLECTION_MISSING)
        while answer != b".":
            yield answer.decode(errors="replace")
            answer = _ask(self._stream)


def _matches(entry: dict[Path, Any], wanted: Rows) -> bool:
    held = tuple(map(entry.get, wanted.fields))
    return None not in held and held in wanted.values


def _entry(line: str) -> dict[Path, Any]:
    try:
        number, day, text, amount = line.split("|")
        values = int(number), date.fromisoformat(day), text or None, Decimal(amount)
    except (ValueError, ArithmeticError):
        raise SessionFailed(FailureCode.PROTOCOL_MISMATCH) from None
    return dict(zip((info.path for info in FIELDS), values, strict=True))


def _log_in(stream: SocketIO, secrets: LedgerSecrets, context: CheckContext) -> None:
    with context.step("authenticate"):
        greeting, _, challenge = _ask(stream).partition(b" ")
        if greeting != b"LEDGER":
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        proof = hmac.new(secrets.password.get_secret_value().encode(), challenge, "sha256").hexdigest()
        if _ask(stream, f"LOGIN {secrets.username} {proof}") != b"OK":
            raise CheckFailed(FailureCode.AUTH_FAILED)


def _ask(stream: SocketIO, line: str = "") -> bytes:
    """Send `line`, if there is one, and return the line that the server says next."""
    if line:
        stream.write(line.encode() + b"\n")
    answer = stream.readline(1024)
    if not answer.endswith(b"\n"):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    return answer.rstrip()
