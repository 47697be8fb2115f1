"""One action on many connections: four at a time, waiting where the API asks for it, each outcome told as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response, StreamingResponse

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.languages import ngettext, number
from connectory_console.live import HEADERS, event, refusal, wants_events
from connectory_console.pages.connection_list import FILTERS
from connectory_console.selection import Selection, found_by, patiently, ticked
from connectory_console.web import Visit, problems_as_data

MOST_FAILURES = 1000
"""Failures after which an action ends: they are told and can be retried. Their cause has to be mended first."""
_AT_ONCE = 4
_TOGETHER = {"test": 1, "disable": 50, "enable": 50, "delete": 1}
"""Connections to a call of the API."""
_DONE = {"test": "tested", "disable": "disabled", "enable": "enabled", "delete": "deleted"}
Outcome = dict[str, Any]
"""Of one connection: its `key`, whether it went well as `ok`, and what to say as `text`."""


async def run(visit: Visit) -> Response:
    """Test, disable, enable or delete the connections that are ticked, or all that the filters find."""
    pairs = await visit.form_pairs()
    form, again = dict(pairs), "again" in dict(pairs)  # those that failed, and not what is ticked
    keys = [value for name, value in pairs if name == ("failed" if again else "key")]
    action, back = form.get("again", form.get("do", "")), form.get("back", "")
    chosen = await found_by(visit, _filters(back)) if "all" in form and not again else ticked(keys)
    if action not in _DONE or not chosen.total:
        return _refused(visit, _("Choose an action, and at least one connection."))
    if action == "delete" and not again and form.get("count", "").strip() != str(chosen.total):
        told = ngettext(
            "To delete %(num)s connection, type this number.",
            "To delete %(num)s connections, type this number.",
            chosen.total,
        )
        return _refused(visit, told)
    if wants_events(visit):
        events = _events(visit, action, chosen, back)
        return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)
    return await _at_once(visit, action, chosen, back)


def _filters(query: str) -> dict[str, str]:
    return {name: value for name, value in parse_qsl(query.removeprefix("?")) if name in FILTERS}


def _list_at(query: str) -> str:
    """The page of the list that the form was on, without what an earlier action said there."""
    kept = urlencode([(name, value) for name, value in parse_qsl(query.removeprefix("?")) if name != "done"])
    return f"/connections?{kept}" if kept else "/connections"


async def _at_once(visit: Visit, action: str, chosen: Selection, back: str) -> Response:
    """What became of all, on a page; without our script nobody sees how far it is."""
    failures: list[Outcome] = []
    done, stopped = 0, ""
    try:
        async for outcome in _outcomes(visit, action, chosen):
            done += outcome["ok"]
            failures += [] if outcome["ok"] else [outcome]
    except ApiFailed as failed:
        if failed.status == 401:
            raise
        stopped = failed.message
    if not failures and not stopped:
        return visit.go(_list_at(back), f"many-{_DONE[action]}")
    return visit.page("bulk.html", action=action, ended=done, total=chosen.total, failures=failures, stopped=stopped)


async def _events(visit: Visit, action: str, chosen: Selection, back: str) -> AsyncIterator[bytes]:
    done = failed = 0
    try:
        async with aclosing(_outcomes(visit, action, chosen)) as outcomes:
            async for outcome in outcomes:
                done += 1
                failed += not outcome["ok"]
                total = max(done, chosen.total)
                said = _("%(done)s of %(all)s done, %(failed)s failed.", done=done, all=total, failed=failed)
                texts = {".so-far": said, "progress": done / total, "[data-retries]": action}
                yield event("outcome", {"texts": texts} | ({} if outcome["ok"] else {"row": _row(outcome)}))
        address = visit.place(_list_at(back), f"many-{_DONE[action]}")
        yield event("done", {"summary": ""} if failed else {"location": address})
    except ApiFailed as refused:
        yield event("refused", refusal(refused))


def _row(outcome: Outcome) -> dict[str, Any]:
    """What our script shows of one that failed, and sends where it is tried again."""
    key, text = outcome["key"], outcome["text"]
    return {"name": key, "status": "failed", "texts": {".step-name": key, ".step-status": text, "[name=failed]": key}}


async def _outcomes(visit: Visit, action: str, chosen: Selection) -> AsyncGenerator[Outcome]:
    """What became of each, in the order in which they end. Who stops listening stops those that have not begun.

    Raises:
        ApiFailed: the session has ended, no more can be read of the list, or too many have failed.
    """
    running: set[asyncio.Task[list[Outcome]]] = set()
    failed = 0
    try:
        while True:
            while len(running) < _AT_ONCE and (keys := await chosen.take(_TOGETHER[action])):
                running.add(asyncio.create_task(_tried(visit, action, keys)))
            if not running:
                return
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for outcome in [outcome for task in ended for outcome in task.result()]:
                yield outcome
                failed += not outcome["ok"]
            if failed >= MOST_FAILURES:
                told = _("It stopped after %(count)s failures. Mend their cause, then go on.", count=number(failed))
                raise ApiFailed(422, told)
    finally:
        for task in running:
            task.cancel()


async def _tried(visit: Visit, action: str, keys: list[str]) -> list[Outcome]:
    try:
        return await patiently(lambda: _done(visit, action, keys))
    except ApiFailed as failed:
        if failed.status == 401:
            raise
        if failed.status == 422 and len(keys) > 1:  # one that others deleted has the API refuse all
            return [outcome for key in keys for outcome in await _tried(visit, action, [key])]
        return [{"key": key, "ok": False, "text": failed.message} for key in keys]


async def _done(visit: Visit, action: str, keys: list[str]) -> list[Outcome]:
    path = f"/connection/{segment(keys[0])}"
    if action == "test":
        result = (await visit.api.send("POST", f"{path}/test", patient=True)).json()
        text = result["failure_reason"] or _("Passed.")
        return [{"key": keys[0], "ok": result["test_status"] != "failed", "text": text}]
    if action == "delete":
        await visit.api.send("DELETE", path)
        return [{"key": keys[0], "ok": True, "text": _("Deleted.")}]
    items = [{"key": key, "disabled": action == "disable"} for key in keys]
    answer = (await visit.api.send("PATCH", "/connection", json=items)).json()
    problems = {found["data"].get("key"): found["message"] for found in answer["failed"]}
    return [{"key": key, "ok": key not in problems, "text": problems.get(key, _("Saved."))} for key in keys]


def _refused(visit: Visit, text: str) -> Response:
    if visit.wants_data:
        return problems_as_data({}, text)
    return visit.page("failed.html", 422, failed=ApiFailed(422, text))
