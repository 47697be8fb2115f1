"""How the requests of `HttpClient` travel: over connections that the test's context has vetted, one for each origin."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import httpcore
import httpx

from connectory.contract.check import CheckContext, CheckFailed, FailureCode, Link
from connectory.contract.ssl_mode import SslMode
from connectory.toolkit.tls import server_name

BODY_LIMIT = 4 * 2**20
"""Bytes of a decoded answer that a test takes: ten times a page of any list that our connectors ask for."""

_UNTRUSTED = (
    "The certificate of the service's host was not accepted; check the domain, and this service's CA certificates."
)
# Gone once the body is decoded.
_OF_THE_TRANSFER = {b"content-encoding", b"content-length", b"transfer-encoding"}
_DEFAULT_PORTS = {"https": 443, "http": 80}


def parsed_url(url: str) -> httpx.URL:
    """`url`, which must be absolute.

    Raises:
        ValueError: it is not an http or https url with a host.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in _DEFAULT_PORTS or not parsed.host:
        raise ValueError("an http or https url with a host is needed")
    return parsed


class _Origin(NamedTuple):
    """Scheme, host and port; the host as it travels, in ASCII."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> _Origin:
        return cls(url.scheme, url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme])


class Transport(httpx.BaseTransport):
    """Carries requests over vetted connections, one for each origin that `connect` was called for."""

    def __init__(self, context: CheckContext, ca: str | None) -> None:
        self._context = context
        self._ca = ca
        self._links: dict[_Origin, Link] = {}
        self._connections: dict[_Origin, httpcore.HTTP11Connection] = {}
        self._unused: set[_Origin] = set()
        self._open = contextlib.ExitStack()

    def connect(self, url: httpx.URL) -> None:
        """Have an open connection to the origin of `url`.

        Raises:
            CheckFailed: as `CheckContext.open`.
        """
        origin = _Origin.of(url)
        if self._usable(origin):
            return
        link = self._links[origin] = self._linked(origin)
        self._use(origin, link.socket)

    def _usable(self, origin: _Origin) -> bool:
        connection = self._connections.get(origin)
        if connection is None or origin in self._unused:
            return connection is not None
        return connection.is_available() and not connection.has_expired()

    def _linked(self, origin: _Origin) -> Link:
        tls = SslMode.VERIFY_FULL if origin.scheme == "https" else SslMode.DISABLED
        untrusted = _UNTRUSTED if self._ca is None else None
        opened = self._context.open(origin.host, origin.port, tls=tls, ca=self._ca, untrusted=untrusted)
        return self._open.enter_context(opened)

    def _use(self, origin: _Origin, connected: socket.socket) -> None:
        stream = _Stream(connected, self._context)
        self._open.callback(stream.close)
        scheme, host, port = origin
        self._connections[origin] = httpcore.HTTP11Connection(
            httpcore.Origin(scheme.encode(), host.encode(), port), stream
        )
        self._unused.add(origin)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` over the connection to its origin; see `HttpClient.request`."""
        origin = _Origin.of(parsed_url(str(request.url)))
        if origin not in self._links:
            raise ValueError("call connect(url) before the first request to a host")
        if not self._usable(origin):
            self._reconnect(origin)
        self._unused.discard(origin)
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.read(),
        )
        try:
            answer = self._connections[origin].handle_request(outgoing)
            with contextlib.closing(answer):
                body = _body(answer)
        except TimeoutError:
            raise
        except (OSError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable) as error:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
        headers = [(name, value) for name, value in answer.headers if name.lower() not in _OF_THE_TRANSFER]
        return httpx.Response(answer.status, headers=headers, content=body)

    def _reconnect(self, origin: _Origin) -> None:
        """Connect to the vetted address once more, as part of whatever step sends the request."""
        link = self._links[origin]
        connected: socket.socket = socket.create_connection(link.address, timeout=self._context.timeout)
        if link.ssl_context is not None:
            try:
                connected = link.ssl_context.wrap_socket(connected, server_hostname=server_name(link.host))
            except OSError:
                connected.close()
                raise
        self._use(origin, connected)

    def close(self) -> None:
        """Close every connection. Calling it again does nothing."""
        self._open.close()


class _Stream(httpcore.NetworkStream):
    """A connected socket whose waits all end with the test's time. httpcore's own time-outs are per read."""

    def __init__(self, connection: socket.socket, context: CheckContext) -> None:
        self._socket = connection
        self._ends = time.monotonic() + context.timeout

    def _limit(self) -> None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        self._limit()
        return self._socket.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._limit()
        self._socket.sendall(buffer)

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        raise NotImplementedError("streams are encrypted before they get here")

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # on an idle connection: the far end has closed it
            return bool(select.select([self._socket], [], [], 0)[0])
        return None


def _body(answer: httpcore.Response) -> bytes:
    encodings = [value.lower() for name, value in answer.headers if name.lower() == b"content-encoding"]
    chunks: Iterable[bytes] = answer.iter_stream()
    if encodings == [b"gzip"] or encodings == [b"deflate"]:
        chunks = _inflated(chunks)
    elif encodings not in ([], [b"identity"]):
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > BODY_LIMIT:
            raise CheckFailed(FailureCode.RESOURCE_LIMIT)
    return bytes(body)


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The decoded body, never more than `BODY_LIMIT` at once: a few kilobytes may stand for gigabytes."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header
    try:
        for chunk in chunks:
            yield inflate.decompress(chunk, BODY_LIMIT + 1)
            if inflate.unconsumed_tail:
                raise CheckFailed(FailureCode.RESOURCE_LIMIT)
        if not inflate.eof:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
    except zlib.error as error:
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
