"""What surrounds every request: its id, its log line, its count, the size limit of its body, HEAD, and the last resort."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import Counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectory.api.http.errors import Refused, problem_response
from connectory.api.http.logs import frames, log

RequestCounts = Counter[tuple[str, str, int]]
"""Finished requests by method, route template and status."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_MONITORING = frozenset({"/health", "/ready", "/metrics"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Surroundings:
    """ASGI middleware around the application.

    The log line names the route's template and not the path, because a caller may put anything into a path. The id of a request
    is made here, so that no two have the same; a caller's own, in `X-Request-ID`, is kept beside it.

    Args:
        app: the application.
        counts: where finished requests are counted.
    """

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method: str = scope["method"]
        request_id = secrets.token_hex(8)
        client_request_id = _client_request_id(scope)
        scope["request_id"], scope["client_request_id"] = request_id, client_request_id
        bodiless = method == "HEAD"
        if bodiless:  # in a copy: the server looks at its own, and would miss the body that it announces
            scope = {**scope, "method": "GET"}
        scope["bodiless"] = bodiless  # for a GET that does something
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif bodiless:
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        error_type = None
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            error_type = type(error).__name__
            log.error("request failed", request_id=request_id, error=error_type, frames=frames(error))
            if status == 0:
                answer = problem_response(
                    500, f"The service failed; its log says more under the request id {request_id}."
                )
                await answer(scope, receive, send_with_id)
        finally:
            template = _template(scope) if status != 405 else "-"
            self._counts[(method if template != "-" else "-", template, status)] += 1
            # What monitoring asks every few seconds would fill the log, and says nothing while all is well.
            log.log(
                logging.DEBUG if status == 200 and template in _MONITORING else logging.INFO,
                "request",
                request_id=request_id,
                method=method,
                route=template,
                status=status,
                client=scope.get("client_id"),
                **({} if client_request_id is None else {"client_request_id": client_request_id}),
                elapsed_ms=round((time.perf_counter() - started) * 1000, 2),
            )


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return "-" if route is None else f"{scope.get('root_path', '')}{route.path}"  # below the mount that it is in


def _client_request_id(scope: Scope) -> str | None:
    """What the caller calls the request, where it could be an id and not a text."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return str(value.decode()) if _REQUEST_ID.fullmatch(value) else None
    return None


class BodyLimit:
    """ASGI middleware that refuses larger bodies with 413: at once by their declared length, else while they arrive.

    Args:
        app: the application.
        limit: bytes.
        unless_under: path of what is mounted and has a limit of its own. Default: nothing is.
    """

    def __init__(self, app: ASGIApp, limit: int, unless_under: str | None = None) -> None:
        self._app = app
        self._limit = limit
        self._unless_under = None if unless_under is None else f"{unless_under}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] not in _WITH_BODY or self._leaves_alone(scope["path"]):
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared[:20]) > self._limit:
            refusal = self._refusal()
            await problem_response(refusal.status, refusal.detail, {"Connection": "close"})(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message: dict[str, Any] = dict(await receive())
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._refusal()
            return message

        await self._app(scope, receive_limited, send)

    def _leaves_alone(self, path: str) -> bool:
        return self._unless_under is not None and path.startswith(self._unless_under)

    def _refusal(self) -> Refused:
        return Refused(
            413, f"The body is larger than {self._limit} bytes (CONNECTORY_MAX_BODY_BYTES); send fewer items."
        )
