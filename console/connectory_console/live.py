"""A connection test that a person watches: the API's event stream, passed on as it comes."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response, StreamingResponse

from connectory_console import wording
from connectory_console.api import ApiFailed, Problem
from connectory_console.languages import gettext as _
from connectory_console.web import Visit

_LONGEST_EVENT = 1 << 20
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

Afterwards = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""What is done with a verdict; what it returns is told as the event `done`: a `location` to go to, or a `summary`."""


def wants_events(visit: Visit) -> bool:
    """Whether our script asked, and shows steps as they happen."""
    return "text/event-stream" in visit.request.headers.get("accept", "")


async def follow(visit: Visit, path: str, body: Any = None, afterwards: Afterwards | None = None) -> Response:
    """Start the test at `path`, and pass its events on.

    Args:
        afterwards: what is done once it succeeded.

    Raises:
        ApiFailed: it was refused before it started.
    """
    opened = AsyncExitStack()
    upstream = await opened.enter_async_context(visit.api.stream(path, json=body))

    async def events() -> AsyncIterator[bytes]:
        async with opened:
            verdict: dict[str, Any] | None = None
            try:
                async for name, block in _blocks(upstream.aiter_bytes()):
                    data = json.loads(block.partition(b"data:")[2]) if name else {}
                    if name == b"refused":  # given up while it waited
                        raise ApiFailed(data["status"], data["detail"], retry_after=data.get("retry_after"))
                    if name == b"verdict":
                        verdict = data
                    yield event(name.decode(), _TOLD[name](data)) if name in _TOLD else block
                if verdict is None:
                    raise ApiFailed(0, _("The service ended before the test did. Test again."))
                if afterwards is not None and verdict["test_status"] != "failed":
                    yield event("done", await afterwards(verdict))
            except ApiFailed as failed:
                yield event("refused", refusal(failed))

    return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _waits(words: str) -> dict[str, str]:
    return {".waiting .step-status": words}


def _queued(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"texts": _waits(_("for its turn, %(position)s before it", position=data["position"]))}


def _started(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": math.ceil(data["deadline_ms"] / 1000), "texts": _waits(_("for its turn"))}


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    name, words, time = wording.step_name(step), wording.step_status(step), wording.step_time(step)
    mark = {"passed": "✓", "failed": "✕", "skipped": "\N{EN DASH}"}.get(step["status"], "")
    texts = {".step-mark": mark, ".step-name": name, ".step-status": words, ".step-time": time}
    line = [] if step["status"] == "running" else [f"{name}: {words} {time}".strip()]
    return {"row": {"name": step["name"], "status": step["status"], "texts": texts, "line": line}}


def _verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: verdict[name] for name in ("failure_reason", "failure_fields")}
    good = verdict["test_status"] != "failed"
    return {"verdict": {**shown, "good": good, "title": wording.verdict_title(verdict)}}


_TOLD = {b"queued": _queued, b"started": _started, b"step": _step, b"verdict": _verdict}
"""What our script is told of an event of the API: texts and where they stand, so that all words are said here."""


def refusal(failed: ApiFailed, *, prefix: str = "field.") -> dict[str, Any]:
    """What the API did not take, each problem under the name of its input."""
    return {
        "summary": failed.message,
        "problems": {input_name(problem, prefix): problem.message for problem in failed.problems},
        "retry_after": failed.retry_after,
        "request_id": failed.request_id,
        "status": failed.status,
    }


def input_name(problem: Problem, prefix: str = "field.") -> str:
    """The name of the input that a problem is about: of a member of the connection, or of its secrets.

    Args:
        prefix: of the inputs of secrets, where the path does not say that it is about secrets.
    """
    names = [str(part) for part in problem.path if isinstance(part, str) and part != "body"]
    if names and names[0] == "secrets":
        return "field." + names[1] if len(names) > 1 else "field."
    return prefix + names[0] if names else ""


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
    """Each event of a stream, with its name, as it came."""
    held = b""
    async for chunk in chunks:
        held += chunk
        while b"\n\n" in held:
            block, _separator, held = held.partition(b"\n\n")
            first = block.split(b"\n", 1)[0]
            yield first.removeprefix(b"event:").strip() if first.startswith(b"event:") else b"", block + b"\n\n"
        if len(held) > _LONGEST_EVENT:
            raise ApiFailed(0, _("The service sent an event that is too long."))
