"""The few messages of PostgreSQL's protocol 3.0 that our fronts and hostile servers speak.

Formats: PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "Message Formats".
"""

import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from testkit.loopback import Peer

PROTOCOL_3_0 = 196608
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

AUTHENTICATION_OK = 0
AUTHENTICATION_CLEARTEXT_PASSWORD = 3
AUTHENTICATION_MD5_PASSWORD = 5

_TEXT_TYPE = 25  # pg_type.oid of text


@dataclass(frozen=True)
class Startup:
    """The packet that opens a session (or asks to cancel a query), and whether TLS was on when it came."""

    code: int
    body: bytes
    encrypted: bool

    @property
    def parameters(self) -> dict[str, str]:
        """What the client asked for: `user`, `database`, `options`, `application_name`..."""
        words = self.body.split(b"\0")
        return {name.decode(): value.decode() for name, value in zip(words[::2], words[1::2], strict=False) if name}


def read_startup(peer: Peer, tls: ssl.SSLContext | None = None) -> Startup:
    """Read until the startup packet. A request for TLS is granted where `tls` is given, and refused otherwise."""
    while True:
        length, code = struct.unpack("!II", peer.read(8))
        body = peer.read(length - 8)
        if code == SSL_REQUEST and tls and not peer.encrypted:
            peer.send(b"S")
            peer.start_tls(tls)
        elif code in (SSL_REQUEST, GSSENC_REQUEST):
            peer.send(b"N")
        else:
            return Startup(code, body, peer.encrypted)


def startup_packet(code: int, body: bytes) -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def startup_body(parameters: Mapping[str, str]) -> bytes:
    pairs = (word.encode() + b"\0" for pair in parameters.items() for word in pair)
    return b"".join(pairs) + b"\0"


def read_message(peer: Peer) -> tuple[bytes, bytes]:
    """The type byte and body of the client's next message after start-up."""
    kind, length = struct.unpack("!cI", peer.read(5))
    return kind, peer.read(length - 4)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def authentication(code: int) -> bytes:
    return message(b"R", struct.pack("!I", code))


def error_response(sqlstate: str, text: str, severity: str = "FATAL") -> bytes:
    """An ErrorResponse. `severity` FATAL ends the session; ERROR only the query."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": text}
    return message(b"E", b"".join(f"{code}{value}\0".encode() for code, value in fields.items()) + b"\0")


def session_open() -> bytes:
    """Authentication succeeded, the settings that drivers look at, and "ready for query"."""
    settings = {
        "server_version": "18.0",
        "server_encoding": "UTF8",
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "integer_datetimes": "on",
        "standard_conforming_strings": "on",
        "TimeZone": "UTC",
    }
    status = (message(b"S", f"{name}\0{value}\0".encode()) for name, value in settings.items())
    backend_key = message(b"K", struct.pack("!II", 1, 1))
    return authentication(AUTHENTICATION_OK) + b"".join(status) + backend_key + ready_for_query()


def ready_for_query() -> bytes:
    return message(b"Z", b"I")


def command_complete(tag: str) -> bytes:
    return message(b"C", tag.encode() + b"\0")


def row_description(column: str, *, kind: int = _TEXT_TYPE) -> bytes:
    """One column, of type text unless `kind` (pg_type.oid) is another."""
    field = column.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, kind, -1, -1, 0)
    return message(b"T", struct.pack("!h", 1) + field)


def data_row(value: bytes) -> bytes:
    """One row of one column."""
    return message(b"D", struct.pack("!hi", 1, len(value)) + value)
