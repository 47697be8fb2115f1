"""One connection: how it fares, its settings, its tests."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import JSONResponse, Response

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.live import follow, input_name, wants_events
from connectory_console.looks import problems_of_words
from connectory_console.types import names_of_types
from connectory_console.web import Visit, problems_as_data

_SHOWN_TESTS = 30
_MEMBERS = ("name", "description", "access")


def path_of(visit: Visit) -> str:
    """Of the API: the connection in the address."""
    return f"/connection/{segment(visit.request.path_params['key'])}"


async def show(visit: Visit) -> Response:
    """The connection's overview."""
    return await _page(visit)


async def _page(
    visit: Visit,
    *,
    problems: dict[str, str] | None = None,
    summary: str = "",
    entered: dict[str, str] | None = None,
    verdict: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    path = path_of(visit)
    answer, tests, types = await asyncio.gather(
        visit.api.send("GET", path), visit.attempt(f"{path}/test_history", size=_SHOWN_TESTS), names_of_types(visit)
    )
    connection = answer.json()
    return visit.page(
        "connection.html",
        status,
        connection=connection,
        about=types.get(connection["connection_type"]),
        tests=tests,
        version=answer.headers.get("etag", ""),
        problems=problems or {},
        summary=summary,
        entered=entered or {},
        verdict=verdict,
    )


async def change(visit: Visit) -> Response:
    """Change name, description or access; disable or enable. What somebody else changed since is shown, not overwritten."""
    form = await visit.form()
    key = visit.request.path_params["key"]
    action = form.get("do", "save")
    if action == "look":
        return JSONResponse({"problems": problems_of_words(form), "key": ""})
    if action in {"disable", "enable"}:
        await _save(visit, {"key": key, "disabled": action == "disable"}, "")
        return visit.go(f"/connections/{segment(key)}", f"{action}d")
    item: dict[str, Any] = {name: form[name].strip() for name in _MEMBERS if name in form}
    item["description"] = item.get("description") or None
    try:
        await _save(visit, {"key": key, **item}, form.get("version", ""))
    except ApiFailed as failed:
        if failed.status == 412:
            return await _conflict(visit, form)
        if failed.status != 422:
            raise
        problems = {input_name(problem, ""): problem.message for problem in failed.problems}
        if visit.wants_data:
            return problems_as_data(problems, failed.message)
        return await _page(visit, problems=problems, summary=failed.message, entered=form, status=422)
    return visit.go(f"/connections/{segment(key)}", "saved")


async def _save(visit: Visit, item: dict[str, Any], version: str) -> None:
    headers = {"If-Match": version} if version else {}
    saved = (await visit.api.send("PATCH", "/connection", json=[item], headers=headers)).json()
    if saved["failed"]:
        raise ApiFailed(422, saved["failed"][0]["message"])


async def _conflict(visit: Visit, form: dict[str, str]) -> Response:
    if visit.wants_data:
        return JSONResponse({"compare": True}, 412)
    answer = await visit.api.send("GET", path_of(visit))
    stored = answer.json()
    rows = [
        (name, str(stored.get(name) or ""), form.get(name, ""), str(stored.get(name) or "") != form.get(name, ""))
        for name in _MEMBERS
    ]
    return visit.page(
        "conflict.html", 412, connection=stored, rows=rows, entered=form, version=answer.headers.get("etag", "")
    )


async def test(visit: Visit) -> Response:
    """Test the stored connection; the verdict is kept."""
    path = f"{path_of(visit)}/test"
    if wants_events(visit):
        return await follow(visit, path)
    verdict = (await visit.api.send("POST", path, patient=True)).json()
    return await _page(visit, verdict=verdict)


async def history(visit: Visit) -> Response:
    """All tests of the connection that are kept."""
    path = path_of(visit)
    number = visit.page_number()
    connection, tests = await asyncio.gather(
        visit.api.get(path), visit.api.get(f"{path}/test_history", page=number, size=50)
    )
    return visit.page("history.html", connection=connection, tests=tests, number=number)


async def delete(visit: Visit) -> Response:
    """Delete the connection, given that its key was typed."""
    form = await visit.form()
    key = visit.request.path_params["key"]
    if form.get("typed", "").strip() != key:
        told = {"typed": _("Type the key, %(key)s, to delete the connection with its secrets and datasets.", key=key)}
        if visit.wants_data:
            return problems_as_data(told, _("Nothing is deleted."))
        return await _page(visit, problems=told, summary=_("Nothing is deleted."), status=422)
    await visit.api.send("DELETE", path_of(visit))
    return visit.go("/connections", "deleted")
