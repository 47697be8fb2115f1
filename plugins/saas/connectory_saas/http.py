"""HTTP to the far end of one test: httpx for requests and answers, over connections to vetted addresses.

Nothing is followed, nothing is taken from the environment, answers are capped after decoding, and every wait ends with the
test's time, however slowly bytes drip in.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from connectory import CheckContext, CheckFailed, FailureCode, SslMode, tls_context, tls_failure

BODY_LIMIT = 4 * 2**20
"""Bytes of a decoded answer that a test takes: a page of any of the vendors' lists has less than a tenth of it."""

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "connectory"}
_UNTRUSTED = (
    "The certificate of the service's host was not accepted; check the domain, and this service's CA certificates."
)
# Gone once the body is decoded.
_OF_THE_TRANSFER = {b"content-encoding", b"content-length", b"transfer-encoding"}


class Client:
    """The HTTP client of one test. A context manager.

    Connecting is a call of its own, so that each phase of a test shows as a step: `resolve`, `connect` and `tls` here, and
    what a request is for by its sender.
    """

    def __init__(self, context: CheckContext) -> None:
        self._transport = _Transport(context)
        self._client = httpx.Client(
            transport=self._transport, trust_env=False, follow_redirects=False, headers=_HEADERS
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def connect(self, url: str) -> None:
        """Have an open connection to the host of `url`; one that is still open serves again.

        Raises:
            CheckFailed: there is none; the code says why.
        """
        self._transport.connect(httpx.URL(url))

    def send(
        self, method: str, url: str, *, query: dict[str, str], headers: dict[str, str], content: bytes = b""
    ) -> httpx.Response:
        """Send a request over the connection that `connect` opened, and return the whole answer.

        Raises:
            CheckFailed: `protocol_mismatch` for what is no HTTP, `resource_limit` for too long an answer.
            TimeoutError: the answer was not there in time.
        """
        return self._client.request(method, url, params=query or None, headers=headers, content=content)


class _Transport(httpx.BaseTransport):
    """Carries requests over vetted connections, one for each origin."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._connections: dict[tuple[str, str, int], httpcore.HTTP11Connection] = {}
        self._unused: set[tuple[str, str, int]] = set()

    def connect(self, url: httpx.URL) -> None:
        origin = _origin(url)
        existing = self._connections.get(origin)
        if origin in self._unused or (existing is not None and existing.is_available() and not existing.has_expired()):
            return
        if existing is not None:
            existing.close()
        stream = _open_stream(self._context, *origin)
        self._connections[origin] = httpcore.HTTP11Connection(httpcore.Origin(*_encoded(origin)), stream)
        self._unused.add(origin)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._connections[_origin(request.url)]
        self._unused.discard(_origin(request.url))
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
            answer = connection.handle_request(outgoing)
            with contextlib.closing(answer):
                body = _body(answer)
        except TimeoutError:
            raise
        except (OSError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable) as error:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
        headers = [(name, value) for name, value in answer.headers if name.lower() not in _OF_THE_TRANSFER]
        return httpx.Response(answer.status, headers=headers, content=body)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"https": 443, "http": 80}[url.scheme]


def _encoded(origin: tuple[str, str, int]) -> tuple[bytes, bytes, int]:
    scheme, host, port = origin
    return scheme.encode("ascii"), host.encode("ascii"), port


def _open_stream(context: CheckContext, scheme: str, host: str, port: int) -> _Stream:
    connection, _ = context.connect(host, port)
    if scheme == "http":
        context.skip_step("tls")
        return _Stream(connection, context)
    with context.step("tls"):
        try:
            encrypted = tls_context(SslMode.VERIFY_FULL, None).wrap_socket(connection, server_hostname=host)
        except OSError as error:
            connection.close()
            code = tls_failure(error)
            raise CheckFailed(code, remedy=_UNTRUSTED if code is FailureCode.TLS_UNTRUSTED else None) from error
    return _Stream(encrypted, context)


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
