"""One action on many connections: four at a time, waiting where the API asks for it, each outcome told as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response, StreamingResponse

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.languages import ngettext, number
from connectory_console.live import HEADERS, event, refusal, wants_events
from connectory_console.pages.connection_list import FILTERS
from connectory_console.web import Visit, problems_as_data

MOST = 10_000
"""Connections that one action takes."""
_AT_ONCE = 4
_LONGEST_WAIT = 60
_DONE = {"test": "tested", "disable": "disabled", "enable": "enabled", "delete": "deleted"}


async def run(visit: Visit) -> Response:
    """Test, disable, enable or delete the connections that are ticked, or all that the filters find."""
    pairs = await visit.form_pairs()
    form, again = dict(pairs), "again" in dict(pairs)  # those that failed, and not what is ticked
    keys = [value for name, value in pairs if name == ("failed" if again else "key")]
    action, back = form.get("again", form.get("do", "")), form.get("back", "")
    if "all" in form and not again:
        keys = await _found(visit, back)
    if action not in _DONE or not 0 < len(keys) <= MOST:
        return _refused(visit, _("Choose an action, and from 1 to %(most)s connections.", most=number(MOST)))
    if action == "delete" and not again and form.get("count", "").strip() != str(len(keys)):
        told = ngettext(
            "To delete %(num)s connection, type this number.",
            "To delete %(num)s connections, type this number.",
            len(keys),
        )
        return _refused(visit, told)
    if wants_events(visit):
        events = _events(visit, action, keys, back)
        return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)
    outcomes = [outcome async for outcome in _outcomes(visit, action, keys)]
    failed = [outcome for outcome in outcomes if not outcome["ok"]]
    if failed:
        return visit.page("bulk.html", action=action, outcomes=outcomes, failed=failed)
    return visit.go(_list_at(back), f"many-{_DONE[action]}")


def _list_at(query: str) -> str:
    """The page of the list that the form was on, without what an earlier action said there."""
    kept = urlencode([(name, value) for name, value in parse_qsl(query.removeprefix("?")) if name != "done"])
    return f"/connections?{kept}" if kept else "/connections"


async def _found(visit: Visit, query: str) -> list[str]:
    filters = {name: value for name, value in parse_qsl(query.removeprefix("?")) if name in FILTERS}
    keys: list[str] = []
    page = 1
    while len(keys) <= MOST:
        listed = await visit.api.get("/connection", **filters, sort="key", page=page, size=100)
        if not listed["items"]:
            break
        keys += [connection["key"] for connection in listed["items"]]
        page += 1
    return keys


async def _events(visit: Visit, action: str, keys: list[str], back: str) -> AsyncIterator[bytes]:
    done = failed = 0
    try:
        async with aclosing(_outcomes(visit, action, keys)) as outcomes:
            async for outcome in outcomes:
                done += 1
                failed += not outcome["ok"]
                said = _("%(done)s of %(all)s done, %(failed)s failed.", done=done, all=len(keys), failed=failed)
                texts = {".so-far": said, "progress": done / len(keys), "[data-retries]": action}
                yield event("outcome", {"texts": texts} | ({} if outcome["ok"] else {"row": _row(outcome)}))
        address = visit.place(_list_at(back), f"many-{_DONE[action]}")
        yield event("done", {"summary": ""} if failed else {"location": address})
    except ApiFailed as refused:
        yield event("refused", refusal(refused))


def _row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What our script shows of one that failed, and sends where it is tried again."""
    key, text = outcome["key"], outcome["text"]
    return {"name": key, "status": "failed", "texts": {".step-name": key, ".step-status": text, "[name=failed]": key}}


async def _outcomes(visit: Visit, action: str, keys: list[str]) -> AsyncGenerator[dict[str, Any]]:
    """What became of each, in the order in which they end. Who stops listening stops those that have not begun."""
    waiting = iter(keys)
    running: set[asyncio.Task[dict[str, Any]]] = set()
    try:
        while True:
            while len(running) < _AT_ONCE and (key := next(waiting, None)) is not None:
                running.add(asyncio.create_task(_patiently(visit, action, key)))
            if not running:
                return
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                yield task.result()
    finally:
        for task in running:
            task.cancel()


async def _patiently(visit: Visit, action: str, key: str) -> dict[str, Any]:
    while True:
        try:
            return await _one(visit, action, key)
        except ApiFailed as failed:
            if failed.status == 401:
                raise
            if not failed.retry_after or failed.retry_after > _LONGEST_WAIT:
                return {"key": key, "ok": False, "text": failed.message}
            await asyncio.sleep(failed.retry_after)


async def _one(visit: Visit, action: str, key: str) -> dict[str, Any]:
    path = f"/connection/{segment(key)}"
    if action == "test":
        result = (await visit.api.send("POST", f"{path}/test", patient=True)).json()
        return {"key": key, "ok": result["test_status"] != "failed", "text": result["failure_reason"] or _("Passed.")}
    if action == "delete":
        await visit.api.send("DELETE", path)
        return {"key": key, "ok": True, "text": _("Deleted.")}
    answer = (await visit.api.send("PATCH", "/connection", json=[{"key": key, "disabled": action == "disable"}])).json()
    problem = next((found["message"] for found in answer["failed"]), None)
    return {"key": key, "ok": problem is None, "text": problem or _("Saved.")}


def _refused(visit: Visit, text: str) -> Response:
    if visit.wants_data:
        return problems_as_data({}, text)
    return visit.page("failed.html", 422, failed=ApiFailed(422, text))
