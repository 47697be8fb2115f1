"""Tests that their caller follows: server-sent events (WHATWG HTML §9.2) while a test waits and runs, and its verdict at last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, TypeAlias

import orjson
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from connectory.api.http.errors import Refused
from connectory.api.testing.test_runs import test_answer, test_response
from connectory.checks.progress import Event, Observer, Queued, Started, StepRuns
from connectory.checks.report import CheckReport
from connectory.store.errors import StoreUnavailable

PING = 2.0
"""Seconds of silence after which a comment is sent, so that proxies and people see that the test goes on."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # or nginx keeps events until it has a page of them
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: started\ndata: {"deadline_ms": 10000}\n\nevent: verdict\ndata: {"test_status": …}\n\n',
            }
        }
    }
}
"""The other answer of an operation that can be followed, for its `responses`."""

FollowedTest: TypeAlias = Callable[[Observer | None], Coroutine[Any, Any, CheckReport]]
"""Runs a test, and tells the observer how it proceeds."""


async def answer_test(request: Request, message: str, test: FollowedTest) -> Response:
    """How `test` went, as JSON; where the caller prefers events, these begin with the test, and the same JSON is the last.

    Args:
        message: the answer's `msg`.

    Raises:
        Refused, StoreUnavailable: the test did not begin. After that, an event tells of them.
    """
    if not prefers_events(request.headers.getlist("accept")):
        return test_response(message, await test(None))
    told: asyncio.Queue[Event | None] = asyncio.Queue()  # without a limit, since a test tells little
    running = asyncio.ensure_future(test(told.put_nowait))
    running.add_done_callback(lambda _: told.put_nowait(None))
    try:
        first = await told.get()
    except asyncio.CancelledError:
        running.cancel()
        raise
    if first is None:
        running.result()
    return _EventStream(_events(first, told, running, message))


def prefers_events(accept: list[str]) -> bool:
    """Whether the header `Accept` asks for events before JSON: by its weights, and where these are equal by its order.

    Events have to be named; `*/*` asks for JSON (RFC 9110 §12.5.1).
    """
    weights: dict[str, float] = {}
    for part in ",".join(accept).lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        weights.setdefault(kind, _weight(parameters))
    events, json = weights.get("text/event-stream", 0.0), weights.get("application/json")
    if json is None:
        return events > 0 and events >= weights.get("application/*", weights.get("*/*", 0.0))
    order = list(weights)
    return events > json or (events == json > 0 and order.index("text/event-stream") < order.index("application/json"))


def _weight(parameters: list[str]) -> float:
    given = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return min(1.0, max(0.0, float(given)))
    except ValueError:
        return 0.0


async def _events(
    event: Event | None, told: asyncio.Queue[Event | None], running: asyncio.Future[CheckReport], message: str
) -> AsyncGenerator[bytes, None]:
    try:
        while event is not None:
            yield _written(event)
            while told.empty():
                try:
                    async with asyncio.timeout(PING):
                        event = await told.get()
                        break
                except TimeoutError:
                    yield b": ping\n\n"
            else:
                event = told.get_nowait()
        yield _end(running, message)
    finally:
        running.cancel()


def _written(event: Event) -> bytes:
    match event:
        case Queued():
            return _event("queued", asdict(event))
        case Started():
            return _event("started", asdict(event))
        case StepRuns(name):
            return _event("step", {"name": name, "status": "running"})
        case _:
            return _event("step", asdict(event))


def _end(running: asyncio.Future[CheckReport], message: str) -> bytes:
    """The verdict; or why there is none, where a test that waited or ran was given up."""
    try:
        return _event("verdict", test_answer(message, running.result()))
    except Refused as refused:
        wait = (refused.headers or {}).get("Retry-After")
        refusal = {"status": refused.status, "detail": refused.detail, "retry_after": int(wait) if wait else None}
    except StoreUnavailable as error:
        refusal = {"status": 503, "detail": str(error), "retry_after": 1}
    return _event("refused", refusal)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


class _EventStream(Response):
    """Sends events as they come. Whether the caller has left is the test's affair: one with tokens goes on without."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._events = events
        self.status_code, self.background = 200, None
        self.init_headers(_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
