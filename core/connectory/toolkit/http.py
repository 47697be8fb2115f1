"""HTTP to the far end of a connection test, over vetted connections, and what its answers mean.

Importing this module imports no HTTP library: `failure_of_status` also serves connectors whose driver has its own. A client
needs httpx and httpcore, which come with `connectory[http]`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from connectory.contract.check import WAIT_LIMIT, CheckContext, CheckFailed, FailureCode

if TYPE_CHECKING:
    import httpx

_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "connectory"}
_BY_STATUS = {
    401: FailureCode.AUTH_FAILED,
    403: FailureCode.PERMISSION_DENIED,
    429: FailureCode.RATE_LIMITED,
}
_BY_CLASS = {3: FailureCode.UNEXPECTED_REDIRECT, 4: FailureCode.HTTP_4XX, 5: FailureCode.HTTP_5XX}


class HttpClient:
    """The HTTP client of one test. A context manager; `CheckContext.http` gives one that is connected.

        with context.http(secrets.url) as client, context.step("authenticate"):
            client.raise_for_status(client.request("GET", "/me", headers={"Authorization": f"Bearer {token}"}))

    It connects to vetted addresses only, follows no redirect, keeps no cookies, takes nothing from the environment, reads at most
    4 MiB of an answer, and gives up when the test's time is over, however slowly an answer drips in. Connecting is a call of
    its own, so that each phase of a test shows as a step: `resolve`, `connect` and `tls` come from `connect`, and what a request
    is for from its sender.

    Args:
        context: of the test.
        url: what the urls of requests may be relative to, `https://…` or `http://…`. Default: they must be absolute.
        ca: PEM certificates to trust instead of the machine's. Default: the machine's.

    Raises:
        ValueError: `url` is not an http or https url with a host.
    """

    def __init__(self, context: CheckContext, url: str | None = None, *, ca: str | None = None) -> None:
        import httpx

        from connectory.toolkit.http_transport import Transport, parsed_url

        base = httpx.URL("") if url is None else parsed_url(url).copy_with(query=None, fragment=None)
        self._transport = Transport(context, ca)
        self._client = httpx.Client(transport=self._transport, base_url=base, trust_env=False, headers=_HEADERS)

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Calling it again does nothing."""
        self._client.close()
        self._transport.close()

    def connect(self, url: str) -> None:
        """Have an open connection to the host of `url`; one that is still open serves again.

        Raises:
            CheckFailed: there is none; the code says why.
            ValueError: `url` is not an http or https url with a host.
        """
        from connectory.toolkit.http_transport import parsed_url

        self._transport.connect(parsed_url(url))

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        data: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> httpx.Response:
        """Send a request to a host that `connect` was called for, and return the whole answer, whatever its status.

        Where the far end has closed the connection since, it is opened again, to the same address.

        Args:
            url: absolute, or a path below the url that the client was made for.
            params: members of the query.
            headers: besides `Accept: application/json` and `User-Agent`.
            content, data, json: the body as it is, as a form, or as a JSON value; at most one of them.

        Raises:
            CheckFailed: `protocol_mismatch` for what is not HTTP, `resource_limit` for too long an answer.
            TimeoutError: the answer was not there in time.
            OSError: the connection could not be opened again.
            ValueError: `connect` was not called for this host.
        """
        # Without `Client.request`, which would parse the target of a redirect that nobody follows, and raise where it cannot.
        request = self._client.build_request(
            method, url, params=params or None, headers=headers, content=content, data=data, json=json
        )
        answer = self._transport.handle_request(request)
        answer.request = request
        return answer

    @staticmethod
    def raise_for_status(answer: httpx.Response) -> None:
        """Return if `answer` is a success; else raise what its status means by itself.

        Raises:
            CheckFailed: with the code of `failure_of_status`, and with `rate_limited` the wait of `Retry-After`.
        """
        code = failure_of_status(answer.status_code)
        if code is not None:
            raise CheckFailed(code, retry_after=wait_in(answer.headers.get("Retry-After")))


def failure_of_status(status: int) -> FailureCode | None:
    """What an HTTP status means by itself; `None` for success.

    3xx is `unexpected_redirect`, 401 `auth_failed`, 403 `permission_denied`, 429 `rate_limited`, any other 4xx `http_4xx`,
    5xx `http_5xx`. What is not a final status of HTTP (RFC 9110 §15) is `protocol_mismatch`.
    """
    if 200 <= status < 300:
        return None
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, FailureCode.PROTOCOL_MISMATCH)


def wait_in(header: str | None) -> int | None:
    """The seconds that `Retry-After` asks to wait, as a number or as a date (RFC 9110 §10.2.3); `None` where it asks nothing.

    A whole number from 0 to `WAIT_LIMIT`: what lies in the past asks for no wait, and nobody waits for more than a day.
    """
    if header is None:
        return None
    seconds = number_in(header)
    return bounded_wait(_seconds_until(header) if seconds is None else seconds)


def bounded_wait(seconds: float | None) -> int | None:
    """A wait that a far end asks for, as it is passed on: a whole number of seconds, rounded up, from 0 to `WAIT_LIMIT`.

    `None` for what is not a finite number.
    """
    if seconds is None or not math.isfinite(seconds):
        return None
    return math.ceil(min(max(seconds, 0.0), WAIT_LIMIT))


def number_in(header: str) -> float | None:
    """The finite number that a header holds; `None` where it holds none."""
    try:
        number = float(header)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # RFC 9110 §5.6.7: every date is in UTC, and the form of C's asctime() does not say so.
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):  # OSError: of years that the platform does not know
        return None
