"""Far ends that speak SQL Server's protocol up to the point where they stop following it.

    with mssql_hostile.redirects_logins(certificates.server, "127.0.0.2", port) as server:
        ...  # test a connection to server.host, server.port

They agree to encrypt, do the handshake, and read the login; `received` holds what came through TLS in clear, where a
password is only obscured as TDS does.
"""

import ssl
import struct
from collections.abc import Callable

from connectory.testing.certificates import ServerCertificate
from servers.mssql import wire as tds
from servers.mssql.server import Channel
from testkit.loopback import LoopbackServer, Peer

_ROUTING = 20  # ENVCHANGE type ([MS-TDS] 2.2.7.9)
_TOO_MUCH = 256 * 1024


def redirects_logins(certificate: ServerCertificate, host: str, port: int) -> LoopbackServer:
    """Accepts any login, and sends the client to another server."""
    name = host.encode("utf-16-le")
    place = struct.pack("<BHH", 0, port, len(host)) + name  # protocol 0 is TCP
    body = bytes([_ROUTING]) + struct.pack("<H", len(place)) + place + b"\0\0"
    change = b"\xe3" + struct.pack("<H", len(body)) + body

    def session(channel: Channel, request: tds.LoginRequest) -> None:
        channel.send(change + tds.login_answer(request, "master"))
        channel.peer.drain()

    return _server("redirects logins", certificate, session)


def rejects_logins(certificate: ServerCertificate, *numbers: int, text: str) -> LoopbackServer:
    """Rejects every login with errors of these numbers and this text."""

    def session(channel: Channel, _: tds.LoginRequest) -> None:
        channel.send(b"".join(tds.error(number, text) for number in numbers) + tds.done(tds.DONE_ERROR))

    return _server("rejects logins", certificate, session)


def never_answers_a_login(certificate: ServerCertificate) -> LoopbackServer:
    """Reads the login, and says nothing more."""
    return _server("never answers a login", certificate, lambda channel, _: channel.peer.drain())


def never_answers_a_query(certificate: ServerCertificate) -> LoopbackServer:
    """Accepts any login, and answers nothing after it."""

    def session(channel: Channel, request: tds.LoginRequest) -> None:
        channel.send(tds.login_answer(request, "master"))
        channel.peer.drain()

    return _server("never answers a query", certificate, session)


def answers_nonsense(certificate: ServerCertificate) -> LoopbackServer:
    """Answers the login with a token that does not exist."""
    return _server("answers nonsense", certificate, lambda channel, _: channel.send(b"\x01 what?"))


def floods_the_login_answer(certificate: ServerCertificate) -> LoopbackServer:
    """Answers the login with more than any login needs."""
    notice = tds.information(5701, "x" * 1000)
    return _server(
        "floods the login answer",
        certificate,
        lambda channel, _: channel.send(notice * (_TOO_MUCH // len(notice))),
    )


def encrypts_nothing(encryption: int = tds.ENCRYPT_OFF) -> LoopbackServer:
    """Agrees to less encryption than was asked for, and waits for the login."""

    def handle(peer: Peer) -> None:
        channel = Channel(peer, session=51)
        _, body = channel.read()
        channel.send(tds.prelogin_answer(encryption, tds.read_prelogin(body)))
        peer.drain()

    return LoopbackServer(handle, name="SQL Server, encrypts nothing")


def _server(
    behaviour: str, certificate: ServerCertificate, session: Callable[[Channel, tds.LoginRequest], None]
) -> LoopbackServer:
    context = certificate.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def handle(peer: Peer) -> None:
        channel = Channel(peer, session=51)
        _, body = channel.read()
        channel.send(tds.prelogin_answer(tds.ENCRYPT_ON, tds.read_prelogin(body)))
        channel.start_tls(context)
        _, body = channel.read()
        session(channel, tds.LoginRequest.parse(body))

    return LoopbackServer(handle, name=f"SQL Server, {behaviour}")
