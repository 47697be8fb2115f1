"""The secrets of a connection: what is stored is kept, replaced or removed, each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from connectory_console.api import ApiFailed, segment
from connectory_console.forms import make_form, plain_values, read_form
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.live import follow, input_name, refusal, wants_events
from connectory_console.looks import problems_of_secrets
from connectory_console.pages.connection import path_of
from connectory_console.types import Kind, kind_of
from connectory_console.web import Visit, problems_as_data

_FAILED = N_("Nothing is saved: the test failed. Correct what it names, or save without testing.")


async def show(visit: Visit) -> Response:
    """The form, with what is stored."""
    return await _page(visit)


async def act(visit: Visit) -> Response:
    """Test what is entered together with what is kept; save if the test succeeds; or save without a test."""
    entered = await visit.form()
    path = path_of(visit)
    connection = await visit.api.get(path)
    kind = await kind_of(visit, connection["connection_type"])
    if kind is None:
        raise ApiFailed(409, _("The connector of this connection is not installed."))
    stored = connection["secrets"] or {}
    form = make_form(kind.schema, kind.described, stored=stored)
    found = read_form(form, entered, stored)
    if entered.get("do") == "look":
        problems = await problems_of_secrets(visit, kind, found, connection_key=connection["key"])
        return JSONResponse({"problems": problems, "key": ""})
    if found.problems:
        told = {f"field.{name}": text for name, text in found.problems.items()}
        return await _again(visit, kind, entered, told, _("Some fields need another value."))
    draft = f"/connection_type/{segment(kind.identifier)}/test"
    body = {"secrets": found.document, "connection_key": connection["key"]}
    action = entered.get("do", "test")

    async def save(_verdict: dict[str, Any]) -> dict[str, Any]:
        try:
            await _put(visit, found.document, entered, test=True)
        except ApiFailed as failed:
            return refusal(failed)
        return {"location": f"{visit.base}/connections/{segment(connection['key'])}?done=saved"}

    try:
        if action == "store":
            await _put(visit, found.document, entered, test=False)
            return visit.go(f"/connections/{segment(connection['key'])}", "saved")
        if wants_events(visit):
            return await follow(visit, draft, body, save if action == "save" else None)
        verdict = (await visit.api.send("POST", draft, json=body, patient=True)).json()
        if action == "save" and verdict["test_status"] != "failed":
            await _put(visit, found.document, entered, test=True)
            return visit.go(f"/connections/{segment(connection['key'])}", "saved")
    except ApiFailed as failed:
        if failed.status not in {409, 412, 422, 429}:
            raise
        told = {input_name(problem): problem.message for problem in failed.problems}
        return await _again(visit, kind, entered, told, failed.message, failed=failed)
    told = {f"field.{name}": verdict["failure_reason"] for name in verdict["failure_fields"]}
    return await _again(visit, kind, entered, told, _(_FAILED) if action == "save" else "", verdict=verdict)


async def _put(visit: Visit, document: Mapping[str, Any], entered: Mapping[str, str], *, test: bool) -> None:
    version = entered.get("version", "")
    await visit.api.send(
        "PUT",
        f"{path_of(visit)}/secret",
        json=dict(document),
        query={"verify": "true" if test else "false"},
        headers={"If-Match": version} if version else {},
        patient=True,
    )


async def _again(
    visit: Visit,
    kind: Kind,
    entered: Mapping[str, str],
    problems: Mapping[str, str],
    summary: str,
    *,
    failed: ApiFailed | None = None,
    verdict: dict[str, Any] | None = None,
) -> Response:
    if visit.wants_data:
        status = failed.status if failed is not None and failed.status in {412, 429} else 422
        answer = problems_as_data(problems, summary, status)
        if failed is not None and failed.retry_after:
            answer.headers["Retry-After"] = str(failed.retry_after)
        return answer
    plain = plain_values(make_form(kind.schema, kind.described), entered)
    named = {name.removeprefix("field."): text for name, text in problems.items()}
    return await _page(
        visit,
        kind=kind,
        entered=plain,
        problems=named,
        summary=summary,
        verdict=verdict,
        status=200 if verdict else 422,
    )


async def _page(
    visit: Visit,
    *,
    kind: Kind | None = None,
    entered: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
    summary: str = "",
    verdict: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    answer = await visit.api.send("GET", path_of(visit))
    connection = answer.json()
    kind = kind or await kind_of(visit, connection["connection_type"])
    form = None
    if kind is not None:
        form = make_form(kind.schema, kind.described, stored=connection["secrets"], entered=entered, problems=problems)
    return visit.page(
        "secrets.html",
        status,
        connection=connection,
        kind=kind,
        form=form,
        problems={f"field.{name}": text for name, text in (problems or {}).items()},
        summary=summary,
        verdict=verdict,
        version=answer.headers.get("etag", ""),
    )
