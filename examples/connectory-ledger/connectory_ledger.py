"""A connector for Ledger, an imaginary server of account books that speaks in lines of text.

The server greets with `LEDGER <challenge>`. The client answers `LOGIN <user> <proof>`, where the proof is the HMAC-SHA256
of the challenge under the password, and then `OPEN <book>`. The server says `OK`, or `NO`.
"""

import hmac
from socket import SocketIO
from typing import Annotated

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
            with context.step("authenticate"):
                greeting, _, challenge = _ask(stream).partition(b" ")
                if greeting != b"LEDGER":
                    raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
                proof = hmac.new(secrets.password.get_secret_value().encode(), challenge, "sha256").hexdigest()
                if _ask(stream, f"LOGIN {secrets.username} {proof}") != b"OK":
                    raise CheckFailed(FailureCode.AUTH_FAILED)
            if secrets.book is not None:
                with context.step("query"):
                    if _ask(stream, f"OPEN {secrets.book}") != b"OK":
                        raise CheckFailed(
                            FailureCode.DATABASE_NOT_FOUND, remedy="There is no such book; create it first."
                        )


def _ask(stream: SocketIO, line: str = "") -> bytes:
    """Send `line`, if there is one, and return the line that the server says next."""
    if line:
        stream.write(line.encode() + b"\n")
    answer = stream.readline(1024)
    if not answer.endswith(b"\n"):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    return answer.rstrip()
