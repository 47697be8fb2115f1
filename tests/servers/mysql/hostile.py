"""Far ends that speak MySQL's protocol up to the point where they misbehave, to be used like those of `testkit.hostile`.

Given a `certificate` they offer TLS. Whoever gets that far has logged in without a password. The cases are those of the
project's threat list for MySQL and MariaDB.
"""

import struct
from collections.abc import Callable
from typing import Literal

from connectory.testing.certificates import ServerCertificate
from servers.mysql import wire
from testkit.hostile import DRIP_SECONDS, FLOOD_BYTES
from testkit.loopback import LoopbackServer, Peer

_VERSION = "8.0.42"
_NONCE = b"0123456789abcdefghij"
_ROW_BYTES = 64 * 1024
_CAPABILITIES = wire.PROTOCOL_41 | wire.SECURE_CONNECTION | wire.PLUGIN_AUTH


def _greeting_packet() -> bytes:
    payload = wire.greeting(_VERSION, _CAPABILITIES, _NONCE, "caching_sha2_password")
    return len(payload).to_bytes(3, "little") + b"\0" + payload


GREETING = _greeting_packet()
"""What a server without TLS says first."""


def chooses_login(
    method: str, data: bytes = _NONCE + b"\0", *, certificate: ServerCertificate | None = None
) -> LoopbackServer:
    """Whatever the client offers, asks for a login by `method` with `data`, and lets in whoever answers."""

    def session(client: wire.Packets) -> None:
        client.write(wire.switch_to(method, data))
        client.read()
        client.write(wire.ok())
        _answer(client, lambda _: _result(client, b"1", rows=1))

    return _mysql(f"chooses {method}", session, certificate)


def greets_with(method: str, data: bytes) -> LoopbackServer:
    """Has `method` as its default, and answers the client's first try with `data` for that method."""

    def session(client: wire.Packets) -> None:
        client.write(wire.more_data(data))
        client.read()

    return _mysql(f"greets with {method}", session, None, method=method)


def asks_for_file(path: str, *, at: Literal["login", "query"] = "query") -> LoopbackServer:
    """Answers a query, or the login, with a request for the client's file `path`."""

    def session(client: wire.Packets) -> None:
        if at == "login":
            client.write(wire.request_for_file(path))
            client.read()
            return
        client.write(wire.ok())
        _answer(client, lambda _: client.write(wire.request_for_file(path)))

    return _mysql("asks for a file", session, None)


def rejects(
    number: int,
    sqlstate: str = "HY000",
    text: str = "rejected by the test server",
    *,
    at: Literal["greeting", "login", "query"] = "login",
) -> LoopbackServer:
    """Answers with this error instead of a greeting, instead of a login, or to every SELECT after it."""

    def refuse(peer: Peer) -> None:
        wire.Packets(peer).write(wire.error(number, sqlstate, text))

    def session(client: wire.Packets) -> None:
        if at == "login":
            client.write(wire.error(number, sqlstate, text))
            return
        client.write(wire.ok())
        _answer(client, lambda _: client.write(wire.error(number, sqlstate, text)))

    name = f"rejects with {number}"
    return LoopbackServer(refuse, name=name) if at == "greeting" else _mysql(name, session, None)


def never_answers_a_query() -> LoopbackServer:
    """Lets anybody in, then answers no SELECT."""

    def session(client: wire.Packets) -> None:
        client.write(wire.ok())
        _answer(client, lambda _: client.peer.drain())

    return _mysql("never answers a query", session, None)


def floods_the_answer(limit: int = FLOOD_BYTES) -> LoopbackServer:
    """Lets anybody in and answers a SELECT with rows of 64 KiB until `limit` bytes are sent or the client is gone."""

    def session(client: wire.Packets) -> None:
        client.write(wire.ok())
        _answer(client, lambda _: _result(client, b"x" * _ROW_BYTES, rows=limit // _ROW_BYTES))

    return _mysql("floods the answer", session, None)


def malformed_answer(answer: bytes) -> LoopbackServer:
    """Lets anybody in and answers a SELECT with one packet of these bytes."""

    def session(client: wire.Packets) -> None:
        client.write(wire.ok())
        _answer(client, lambda _: client.write(answer))

    return _mysql("malformed answer", session, None)


def drips_the_greeting() -> LoopbackServer:
    """Sends its greeting one byte every 0.3 s, and promises one that takes hours."""

    def handle(peer: Peer) -> None:
        for byte in b"\xff\xff\x00\x00\x0a8.0.42\0":
            peer.send(bytes([byte]))
            peer.pause(DRIP_SECONDS)
        while True:
            peer.send(b"\0")
            peer.pause(DRIP_SECONDS)

    return LoopbackServer(handle, name="MySQL, drips the greeting")


def silent_after_tls(certificate: ServerCertificate) -> LoopbackServer:
    """Greets, completes the TLS handshake, then says nothing."""
    return _mysql("silent after TLS", lambda client: client.peer.drain(), certificate)


def greets_and_hangs_up() -> LoopbackServer:
    """Greets, and closes the connection when the client has answered."""
    return _mysql("greets and hangs up", lambda _: None, None)


def _mysql(
    behaviour: str,
    session: Callable[[wire.Packets], None],
    certificate: ServerCertificate | None,
    *,
    method: str = "caching_sha2_password",
) -> LoopbackServer:
    """A server that greets, sets up TLS where client and certificate allow, reads the login, and goes on with `session`."""
    tls = certificate.server_context() if certificate else None
    capabilities = _CAPABILITIES | (wire.SSL if tls else 0)

    def handle(peer: Peer) -> None:
        client = wire.Packets(peer)
        client.write(wire.greeting(_VERSION, capabilities, _NONCE, method))
        answer = client.read()
        if tls and struct.unpack_from("<I", answer)[0] & wire.SSL:
            peer.start_tls(tls)
            client.read()
        session(client)

    return LoopbackServer(handle, name=f"MySQL, {behaviour}")


def _answer(client: wire.Packets, select: Callable[[str], None]) -> None:
    """Answer commands with OK, and a SELECT as `select` does, until the client says goodbye."""
    while (command := client.read())[0] != wire.COM_QUIT:
        statement = command[1:].decode(errors="replace")
        if command[0] == wire.COM_QUERY and statement.upper().startswith("SELECT"):
            select(statement)
        else:
            client.write(wire.ok())


def _result(client: wire.Packets, value: bytes, *, rows: int) -> None:
    """A result of one column that holds `value` in every row."""
    client.write(b"\x01")  # the number of columns
    client.write(wire.column("1"))
    client.write(wire.end_of_part())
    row = wire.row(value)
    for _ in range(rows):
        client.write(row)
    client.write(wire.end_of_part())
