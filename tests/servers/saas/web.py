"""A small HTTP/1.1 server on loopback for stand-ins of web services: it parses and records requests; a function answers them."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import h11

from connectory.testing.certificates import ServerCertificate
from testkit.loopback import LoopbackServer, Peer, PeerLeft


class Asked(NamedTuple):
    """One request. Header names are in lower case; `path` is as it was sent, percent-encoded."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def segments(self) -> list[str]:
        """The decoded parts of the path."""
        return [unquote(part) for part in self.path.strip("/").split("/")]

    @property
    def form(self) -> dict[str, str]:
        """The body as a form (`application/x-www-form-urlencoded`); empty where it is none."""
        if self.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return {}
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer`."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    @property
    def basic(self) -> tuple[str, str] | None:
        """User name and password of `Authorization: Basic`."""
        scheme, _, encoded = self.headers.get("authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        username, _, password = base64.b64decode(encoded).decode().partition(":")
        return username, password


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def as_json(
    status: int, value: Any, headers: Mapping[str, str] | None = None, *, kind: str = "application/json"
) -> Answer:
    """An answer that holds `value` as JSON."""
    return Answer(status, {"Content-Type": kind, **(headers or {})}, json.dumps(value).encode())


class WebServer(LoopbackServer):
    """Answers every request with `answer(asked)`, or takes the connection away with `misbehave(peer)` while one is set.

    Attributes:
        asked: the requests so far.
        misbehave: a function that gets the connection instead of the next requests, once they are read.
    """

    def __init__(self, answer: Callable[[Asked], Answer], *, certificate: ServerCertificate | None = None) -> None:
        self.asked: list[Asked] = []
        self.misbehave: Callable[[Peer], None] | None = None
        self._answer = answer
        self._tls = certificate.server_context() if certificate is not None else None
        super().__init__(self._talk, name="web server")

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def _talk(self, peer: Peer) -> None:
        if self._tls is not None:
            peer.start_tls(self._tls)
        connection = h11.Connection(h11.SERVER)
        for asked in _requests(peer, connection):
            self.asked.append(asked)
            if self.misbehave is not None:
                self.misbehave(peer)
                return
            answer = self._answer(asked)
            headers = {"Content-Length": str(len(answer.body)), **answer.headers}
            if "Transfer-Encoding" in headers:
                del headers["Content-Length"]
            peer.send(connection.send(h11.Response(status_code=answer.status, headers=list(headers.items()))) or b"")
            peer.send(connection.send(h11.Data(data=answer.body)) or b"")
            peer.send(connection.send(h11.EndOfMessage()) or b"")
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


def _requests(peer: Peer, connection: h11.Connection) -> Iterator[Asked]:
    while True:
        request = _next_event(peer, connection)
        if not isinstance(request, h11.Request):
            return
        body = b""
        while isinstance(event := _next_event(peer, connection), h11.Data):
            body += bytes(event.data)
        target = urlsplit(request.target.decode())
        headers = {name.decode(): value.decode() for name, value in request.headers}
        query = parse_qs(target.query, keep_blank_values=True, strict_parsing=bool(target.query))
        yield Asked(request.method.decode(), target.path, query, headers, body)


def _next_event(peer: Peer, connection: h11.Connection) -> Any:
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(peer.read_some())
    except h11.RemoteProtocolError as error:  # a client that speaks TLS, for one
        raise PeerLeft from error
    return event


@contextmanager
def misbehaving(server: WebServer, how: Callable[[Peer], None]) -> Iterator[WebServer]:
    """Have `server` do `how` to its connections for a while."""
    server.misbehave = how
    try:
        yield server
    finally:
        server.misbehave = None
