"""Far ends that misbehave, each a function that returns a server to be used as a context manager.

    with hostile.postgres_floods_the_answer() as server:
        ...  # test a connection to server.host, server.port
    assert server.connections == 1 and b"the password" not in server.received

They listen on 127.0.0.1 and ::1, count connections, and record all bytes that reach them: those that came through
TLS in clear, so that a test can say that no secret got through. The ones named `postgres_` follow PostgreSQL's
protocol up to the point where they stop following it; given a `certificate` they grant TLS to clients that ask for
it, without one they refuse. The cases are those of the project's threat list: libpq bounds none of the waits after
login, and no size of an answer.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from connectory.testing.certificates import ServerCertificate
from connectory.testing.ports import IPV4_LOOPBACK, free_port, loopback_addresses
from servers.postgres import wire
from testkit.loopback import LoopbackServer, Peer

DRIP_SECONDS = 0.3  # well under any timeout that is counted per read
FLOOD_BYTES = 400 * 1024 * 1024

_ROW_BYTES = 64 * 1024


class Address(NamedTuple):
    host: str
    port: int


@contextmanager
def refused_port() -> Iterator[Address]:
    """A port that refuses connections. It stays bound (without listening), so that nobody else can start to listen on it."""
    port = free_port()
    holders = []
    try:
        for address in loopback_addresses():
            holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            holders.append(holder)
            holder.bind((address, port))
        yield Address(IPV4_LOOPBACK, port)
    finally:
        for holder in holders:
            holder.close()


def silent() -> LoopbackServer:
    """Accepts, reads, and never says a word. For any protocol."""
    return LoopbackServer(Peer.drain, name="silent")


def closes_at_once() -> LoopbackServer:
    """Accepts and hangs up. For any protocol."""
    return LoopbackServer(lambda _: None, name="closes at once")


def slow_drip(opening: bytes = b"") -> LoopbackServer:
    """Sends `opening`, then NUL bytes, one byte every 0.3 s without end. For any protocol.

    Choose an `opening` that promises a long message, so that the client keeps reading.
    """
    return LoopbackServer(lambda peer: _drip(peer, opening), name="slow drip")


def silent_after_tls(certificate: ServerCertificate) -> LoopbackServer:
    """Completes a TLS handshake that starts with the first byte (as https does), then says nothing."""
    context = certificate.server_context()

    def handle(peer: Peer) -> None:
        peer.start_tls(context)
        peer.drain()

    return LoopbackServer(handle, name="silent after TLS")


def speaks_http() -> LoopbackServer:
    """A web server: answers whatever comes with an HTTP error page."""

    def handle(peer: Peer) -> None:
        peer.read_some()
        page = b"<html><body>Bad Request</body></html>"
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
        peer.send(head.encode() + b"Connection: close\r\n\r\n" + page)

    return LoopbackServer(handle, name="speaks HTTP")


def speaks_ssh() -> LoopbackServer:
    """An SSH server: sends its banner at once (RFC 4253 section 4.2), then waits."""

    def handle(peer: Peer) -> None:
        peer.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
        peer.drain()

    return LoopbackServer(handle, name="speaks SSH")


def postgres_silent_after_tls(certificate: ServerCertificate) -> LoopbackServer:
    """Answers `SSLRequest` with yes, completes the handshake, then says nothing."""
    context = certificate.server_context(alpn=("postgresql",))

    def handle(peer: Peer) -> None:
        length, _ = struct.unpack("!II", peer.read(8))
        peer.read(length - 8)
        peer.send(b"S")
        peer.start_tls(context)
        peer.drain()

    return LoopbackServer(handle, name="PostgreSQL, silent after TLS")


def postgres_never_answers_a_query(certificate: ServerCertificate | None = None) -> LoopbackServer:
    """Lets anybody in without a password, then answers no query."""

    def session(peer: Peer) -> None:
        peer.send(wire.session_open())
        peer.drain()

    return _postgres("never answers a query", session, certificate)


def postgres_floods_the_answer(
    certificate: ServerCertificate | None = None, *, limit: int = FLOOD_BYTES
) -> LoopbackServer:
    """Lets anybody in and answers a SELECT with rows of 64 KiB until `limit` bytes are sent or the client is gone."""

    def session(peer: Peer) -> None:
        peer.send(wire.session_open())
        row = wire.data_row(b"x" * _ROW_BYTES)
        rows = limit // len(row)
        for statement in _queries(peer):
            if statement.upper().startswith("SELECT"):
                peer.send(wire.row_description("?column?"))
                for _ in range(rows):
                    peer.send(row)
                tag = f"SELECT {rows}"
            else:
                tag = statement.split(maxsplit=1)[0].upper()
            peer.send(wire.command_complete(tag) + wire.ready_for_query())

    return _postgres("floods the answer", session, certificate)


def postgres_drips(certificate: ServerCertificate | None = None) -> LoopbackServer:
    """Answers the start-up packet one byte every 0.3 s, with a message that takes ten minutes to complete."""
    # libpq takes an authentication message of up to 2000 bytes (fe-connect.c, MAX_AUTH_TOKEN_LENGTH is larger for
    # SASL).
    opening = b"R" + struct.pack("!I", 2000)
    return _postgres("drips", lambda peer: _drip(peer, opening), certificate)


def postgres_reflects_the_password(certificate: ServerCertificate | None = None) -> LoopbackServer:
    """Asks for the password in clear and puts what it gets into its error message."""

    def session(peer: Peer) -> None:
        peer.send(wire.authentication(wire.AUTHENTICATION_CLEARTEXT_PASSWORD))
        _, body = wire.read_message(peer)
        password = body.rstrip(b"\0").decode(errors="replace")
        peer.send(wire.error_response("28P01", f'password authentication failed, I got "{password}"'))

    return _postgres("reflects the password", session, certificate)


def postgres_asks_for_md5(salt: bytes) -> LoopbackServer:
    """Asks for a hash of the password with this salt, four bytes, and rejects what it gets."""

    def session(peer: Peer) -> None:
        peer.send(wire.message(b"R", struct.pack("!I", wire.AUTHENTICATION_MD5_PASSWORD) + salt))
        wire.read_message(peer)
        peer.send(wire.error_response("28P01", "password authentication failed"))

    return _postgres("asks for md5", session, None)


def postgres_rejects(
    sqlstate: str,
    text: str = "rejected by the test server",
    *,
    at: Literal["startup", "query"] = "startup",
    certificate: ServerCertificate | None = None,
) -> LoopbackServer:
    """Answers with an error of this SQLSTATE and this text, either instead of a login or to every query after it."""

    def session(peer: Peer) -> None:
        if at == "startup":
            peer.send(wire.error_response(sqlstate, text))
            return
        peer.send(wire.session_open())
        for _ in _queries(peer):
            peer.send(wire.error_response(sqlstate, text, severity="ERROR") + wire.ready_for_query())

    return _postgres(f"rejects with {sqlstate}", session, certificate)


def _postgres(behaviour: str, session: Callable[[Peer], None], certificate: ServerCertificate | None) -> LoopbackServer:
    context = certificate.server_context(alpn=("postgresql",)) if certificate else None

    def handle(peer: Peer) -> None:
        startup = wire.read_startup(peer, context)
        if startup.code == wire.PROTOCOL_3_0:  # a request to cancel a query gets no answer, as from PostgreSQL
            session(peer)

    return LoopbackServer(handle, name=f"PostgreSQL, {behaviour}")


def _queries(peer: Peer) -> Iterator[str]:
    """The texts of the client's simple queries, until it says goodbye."""
    while True:
        kind, body = wire.read_message(peer)
        if kind == b"X":
            return
        if kind == b"Q":
            yield body.rstrip(b"\0").decode()


def _drip(peer: Peer, opening: bytes) -> None:
    for byte in opening:
        peer.send(bytes([byte]))
        peer.pause(DRIP_SECONDS)
    while True:
        peer.send(b"\0")
        peer.pause(DRIP_SECONDS)
