"""One call of a webhook: to an address that the egress policy allows, in limited time, and without believing what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import httptools

from connectory.api.http.errors import Refused
from connectory.api.node.service import Service
from connectory.api.operating.egress import report_on
from connectory.checks.egress_check import EgressReport
from connectory.checks.failures import STANDARD, meaning
from connectory.contract.check import FailureCode
from connectory.contract.fields import HOSTNAME_PATTERN, IPV4_PATTERN, IPV6_PATTERN
from connectory.contract.ssl_mode import SslMode
from connectory.toolkit.tls import tls_context

DEADLINE = 10.0
"""Seconds that a call may take: to resolve, to connect, and until the head of the answer is there."""
_CONNECTING = 4.0
"""Seconds that connecting to one address may take, where there are more."""
_MOST_READ = 8192
"""Bytes of an answer that are read: its head. Its body says nothing that is used."""

_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{HOSTNAME_PATTERN}|{IPV4_PATTERN}|\[{IPV6_PATTERN}\])(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<target>[/?][!\"$-~]*)?"
)


@dataclass(frozen=True)
class Target:
    """Where a webhook is.

    Attributes:
        encrypted: whether it is https.
        host: a name, or an address without brackets.
        authority: as the header `Host` has it.
        path: with the query.
    """

    encrypted: bool
    host: str
    port: int
    authority: str
    path: str


@dataclass(frozen=True)
class Answer:
    """How a call ended: with a status, or with why there is none."""

    status: int | None = None
    failure_code: FailureCode | None = None

    @property
    def delivered(self) -> bool:
        """Whether the far end took it. A redirect is not followed, and does not count."""
        return self.status is not None and 200 <= self.status < 300


class _Failed(Exception):
    def __init__(self, code: FailureCode) -> None:
        super().__init__(code)
        self.code = code


def target_of(url: str) -> Target | None:
    """The target that `url` names; `None` where it is not one: http or https, without a user and without a fragment."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    encrypted = match["scheme"] == "https"
    port = int(match["port"] or (443 if encrypted else 80))
    if not 0 < port < 65_536:
        return None
    path = match["target"] or "/"
    authority = match["host"] if match["port"] is None else f"{match['host']}:{port}"
    return Target(encrypted, match["host"].strip("[]"), port, authority, path if path.startswith("/") else f"/{path}")


def refusal(target: Target, report: EgressReport) -> FailureCode | None:
    """Why a target may not be called; `None` where it may. What is not encrypted may not leave this machine."""
    if report.code is not None:
        return report.code
    local = all(ipaddress.ip_address(ip.partition("%")[0]).is_loopback for ip, _ in report.addresses)
    return None if target.encrypted or local else FailureCode.ADDRESS_NOT_ALLOWED


def signature(secret: bytes, body: str, at: int) -> str:
    """The header that proves who sent `body`.

    Args:
        at: seconds since 1970.
    """
    mac = hmac.new(secret, f"{at}.{body}".encode(), hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


async def call(service: Service, url: str, secret: bytes, body: str, *, at: int) -> Answer:
    """Send `body` by POST. Says within `DEADLINE` how that ended; never raises.

    Args:
        at: the time that is signed, in seconds since 1970.
    """
    target = target_of(url)
    if target is None:
        return Answer(failure_code=FailureCode.ADDRESS_NOT_ALLOWED)
    request = _request(target, body, signature(secret, body, at))
    try:
        async with asyncio.timeout(DEADLINE):
            # Each host has a share of the look-ups: one whose name server is silent holds up no other.
            report = await report_on(service, target.host, target.port, f"webhook at {target.host}")
            if (code := refusal(target, report)) is not None:
                return Answer(failure_code=code)
            return Answer(await _exchange(target, [ip for ip, _ in report.addresses], request))
    except _Failed as failed:
        return Answer(failure_code=failed.code)
    except Refused:  # too many names are looked up
        return Answer(failure_code=FailureCode.DNS_TIMEOUT)
    except TimeoutError:
        return Answer(failure_code=FailureCode.TIMEOUT)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade, EOFError):
        return Answer(failure_code=FailureCode.PROTOCOL_MISMATCH)
    except OSError as error:
        return Answer(failure_code=_code(error))


def _request(target: Target, body: str, signed: str) -> bytes:
    content = body.encode()
    head = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"User-Agent: Connectory/{version('connectory')}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"Connectory-Signature: {signed}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode("ascii") + content


async def _exchange(target: Target, addresses: Sequence[str], request: bytes) -> int:
    async with _connected(target, addresses) as (reader, writer):
        writer.write(request)
        await writer.drain()
        return await _status(reader)


@contextlib.asynccontextmanager
async def _connected(
    target: Target, addresses: Sequence[str]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the first of the vetted addresses that takes one."""
    problem = _Failed(FailureCode.CONNECT_REFUSED)
    for ip in addresses:
        try:
            async with asyncio.timeout(_CONNECTING):
                reader, writer = await asyncio.open_connection(
                    ip,
                    target.port,
                    ssl=_tls() if target.encrypted else None,
                    server_hostname=target.host if target.encrypted else None,
                    limit=_MOST_READ,
                )
        except TimeoutError:
            problem = _Failed(FailureCode.CONNECT_TIMEOUT)
        except OSError as error:
            problem = _Failed(_code(error))
        else:
            break
    else:
        raise problem
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # whatever it still sends


@cache
def _tls() -> ssl.SSLContext:
    return tls_context(SslMode.VERIFY_FULL, None)


class _Head:
    """Notes when the head of the final answer is there."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status: int | None = None

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200:  # others announce it (RFC 9110 §15.2)
            self.status = status


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of an answer.

    Raises:
        HttpParserError, HttpParserUpgrade, EOFError: it is no HTTP, or its head is too long.
    """
    head, left = _Head(), _MOST_READ
    while left > 0 and (data := await reader.read(left)):
        left -= len(data)
        try:
            head.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if head.status is None:
                raise
        if head.status is not None:
            return head.status
    raise EOFError


def _code(error: OSError) -> FailureCode:
    found = meaning(error, STANDARD)
    return found if isinstance(found, FailureCode) else FailureCode.CONNECT_REFUSED
