"""How a connection fares over time: what was found of it, how often it is looked at, and who is told of changes."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.live import input_name
from connectory_console.pages.connection import path_of
from connectory_console.web import Visit

FILTERS = ("kind", "outcome", "dataset")
_SIZE = 50
_INTERVALS = ("test_every", "check_every")
_AGAIN = N_("The address changes, so what is stored will not be sent there; enter it again.")


async def show(visit: Visit) -> Response:
    """What was found, newest first; filters and page are in the address."""
    path, number = path_of(visit), visit.page_number()
    filters = {name: value[:200] for name in FILTERS if (value := visit.query(name).strip())}
    connection, found, schedule = await asyncio.gather(
        visit.api.get(path), _found(visit, f"{path}/history", filters, number), _if_any(visit, f"{path}/schedule")
    )
    return visit.page(
        "health.html",
        connection=connection,
        found=found,
        subjects=_by_subject(found["items"]),
        schedule=schedule,
        filters=filters,
        number=number,
    )


async def _found(visit: Visit, path: str, filters: dict[str, str], number: int) -> Any:
    try:
        return await visit.api.get(path, **filters, page=number, size=_SIZE)
    except ApiFailed as failed:
        if failed.status != 422:
            raise
        return {"items": [], "total": 0, "pages": 0}  # no verdict has what the address asks for


def _by_subject(verdicts: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The verdicts on the connection, under an empty name, and those on each dataset; oldest first."""
    subjects: dict[str, list[dict[str, Any]]] = {}
    for verdict in reversed(verdicts):
        subjects.setdefault(verdict["dataset"] or "", []).append(verdict)
    return sorted(subjects.items())


async def _if_any(visit: Visit, path: str) -> Any:
    """The answer, `None` where there is none, or the failure."""
    answer = await visit.attempt(path)
    return None if isinstance(answer, ApiFailed) and answer.status == 404 else answer


async def watch(visit: Visit) -> Response:
    """How often it is looked at, and who is told."""
    return await _page(visit)


async def schedule(visit: Visit) -> Response:
    """Have it tested and checked again and again, or no more."""
    form, path = await visit.form(), f"{path_of(visit)}/schedule"
    if form.get("do") == "stop":
        await _end(visit, path)
        return _back(visit, "schedule-ended")
    every = {name: value for name in _INTERVALS if (value := form.get(name, "").strip())}
    try:
        await visit.api.send("PUT", path, json=every)
    except ApiFailed as failed:
        at = "check_every" if failed.status == 409 and "check_every" in every else ""
        return await _again(visit, failed, form, at=at)
    return _back(visit, "schedule-saved")


async def webhook(visit: Visit) -> Response:
    """Have an address told of changes, or no more. Another address takes its secret again."""
    form, path = await visit.form(), f"{path_of(visit)}/webhook"
    if form.get("do") == "remove":
        await _end(visit, path)
        return _back(visit, "webhook-removed")
    url = form.get("url", "").strip()
    if form.get("state.secret") == "keep":
        stored = await _if_any(visit, path)
        if stored and not isinstance(stored, ApiFailed) and stored["url"] == url:
            return _back(visit, "webhook-saved")
        return await _page(visit, problems={"secret": _(_AGAIN)}, entered=form, status=422)
    try:
        await visit.api.send("PUT", path, json={"url": url, "secret": form.get("secret", "")})
    except ApiFailed as failed:
        return await _again(visit, failed, form)
    return _back(visit, "webhook-saved")


async def _end(visit: Visit, path: str) -> None:
    try:
        await visit.api.send("DELETE", path)
    except ApiFailed as failed:
        if failed.status != 404:  # somebody else did
            raise


def _back(visit: Visit, done: str) -> Response:
    return visit.go(f"/connections/{segment(visit.request.path_params['key'])}/health/watch", done)


async def _again(visit: Visit, failed: ApiFailed, form: dict[str, str], *, at: str = "") -> Response:
    """The page with what was entered, and what the API did not take of it: all of it `at` one field, where that is given."""
    if failed.status not in {409, 422, 429}:
        raise failed
    problems = {at: failed.message} if at else {input_name(found, ""): found.message for found in failed.problems}
    summary = failed.message if not problems else problems.pop("", "")
    if failed.retry_after:
        summary += " " + _("Try again in %(seconds)s s.", seconds=failed.retry_after)
    return await _page(visit, problems=problems, summary=summary, entered=form, status=failed.status)


async def _page(
    visit: Visit,
    *,
    problems: dict[str, str] | None = None,
    summary: str = "",
    entered: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    path = path_of(visit)
    connection, schedule, webhook = await asyncio.gather(
        visit.api.get(path), _if_any(visit, f"{path}/schedule"), _if_any(visit, f"{path}/webhook")
    )
    return visit.page(
        "watch.html",
        status,
        connection=connection,
        schedule=schedule,
        webhook=webhook,
        problems=problems or {},
        summary=summary,
        entered=entered or {},
    )
