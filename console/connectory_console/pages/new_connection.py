"""Make a connection: test what was entered, then store it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from connectory_console.api import ApiFailed, segment
from connectory_console.fields import Form
from connectory_console.forms import make_form, plain_values, read_form
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.live import follow, input_name, refusal, wants_events
from connectory_console.looks import TAKEN, key_exists, problems_of_naming, problems_of_secrets
from connectory_console.naming import key_from
from connectory_console.types import ShownKind, kind_of, shown_kind_of
from connectory_console.web import Visit, problems_as_data

_MEMBERS = ("name", "key", "description")
SUCCEEDS_NOT = N_("Nothing is stored: the test failed. Correct what it names, or save without testing.")


async def show(visit: Visit) -> Response:
    """An empty form for the type in the address."""
    kind = await shown_kind_of(visit, visit.query("type"))
    if kind is None:
        return visit.page(
            "failed.html", 404, failed=ApiFailed(404, _("The service does not have this connection type."))
        )
    known = {"field.redirect_uri": visit.redirect_uri} if kind.needs_consent else {}
    return _page(visit, kind, make_form(kind.schema, kind.described, entered=known), {})


async def act(visit: Visit) -> Response:
    """Test; save if the test succeeds; or save without a test."""
    entered = await visit.form()
    if entered.get("do") == "look":
        return await _look(visit, entered)
    kind = await shown_kind_of(visit, visit.query("type"))
    if kind is None:
        raise ApiFailed(404, _("The service does not have this connection type."))
    form = make_form(kind.schema, kind.described)
    found = read_form(form, entered)
    action = entered.get("do", "test")
    problems = {f"field.{name}": text for name, text in found.problems.items()}
    if action != "test" and not entered.get("name", "").strip():
        problems = {"name": _("Give the connection a name.")} | problems
    if problems:
        return _again(visit, kind, entered, problems, _("Some fields need another value."))
    path = f"/connection_type/{segment(kind.identifier)}"
    try:
        if action == "store":
            return await _store(visit, kind, entered, found.document, test=False)
        if wants_events(visit):

            async def store(_verdict: dict[str, Any]) -> dict[str, Any]:
                return await _stored(visit, kind, entered, found.document, test=True)

            body = {"secrets": found.document}
            return await follow(visit, f"{path}/test", body, store if action == "save" else None)
        verdict = (await visit.api.send("POST", f"{path}/test", json={"secrets": found.document}, patient=True)).json()
        if action == "save" and verdict["test_status"] != "failed":
            return await _store(visit, kind, entered, found.document, test=True)
    except ApiFailed as failed:
        if failed.status in {0, 401, 403} or failed.status >= 500:
            raise
        told = {input_name(problem): problem.message for problem in failed.problems}
        return _again(visit, kind, entered, told, failed.message, failed)
    named = {f"field.{name}": verdict["failure_reason"] for name in verdict["failure_fields"]}
    return _again(visit, kind, entered, named, _(SUCCEEDS_NOT) if action == "save" else "", verdict=verdict)


async def _look(visit: Visit, entered: Mapping[str, str]) -> Response:
    """What is wrong so far, and the key that the name gives."""
    kind, naming = await asyncio.gather(kind_of(visit, visit.query("type")), problems_of_naming(visit, entered))
    if kind is None:
        raise ApiFailed(404, _("The service does not have this connection type."))
    found = read_form(make_form(kind.schema, kind.described), entered)
    problems = naming | await problems_of_secrets(visit, kind, found)
    return JSONResponse({"problems": problems, "key": key_from(entered.get("name", ""))})


async def _store(
    visit: Visit, kind: ShownKind, entered: Mapping[str, str], document: Mapping[str, Any], *, test: bool
) -> Response:
    done = await _stored(visit, kind, entered, document, test=test)
    if "location" in done:
        return visit.go(done["location"].removeprefix(visit.base).partition("?")[0], "created")
    return _again(visit, kind, entered, done["problems"], done["summary"])


async def _stored(
    visit: Visit, kind: ShownKind, entered: Mapping[str, str], document: Mapping[str, Any], *, test: bool
) -> dict[str, Any]:
    item: dict[str, Any] = {name: entered[name].strip() for name in _MEMBERS if entered.get(name, "").strip()}
    access = "write" if entered.get("access") == "write" else "read"
    item |= {"connection_type": kind.identifier, "access": access}
    if (
        document or make_form(kind.schema, kind.described).fields
    ):  # where nothing was entered the API says what is missing
        item["secrets"] = document
    if "key" in item and await key_exists(visit, item["key"]):
        return {"summary": _("Nothing is stored."), "problems": {"key": _(TAKEN)}}
    try:
        saved = (await visit.api.send("PATCH", "/connection", json=[item])).json()
    except ApiFailed as failed:
        if failed.status != 422:
            raise
        return refusal(failed, prefix="")
    if saved["failed"]:
        where = "key" if "key" in saved["failed"][0]["message"].casefold() else "name"
        return {"summary": _("Nothing is stored."), "problems": {where: saved["failed"][0]["message"]}}
    key = saved["succeeded"][0]["key"]
    if test:  # what was tested until now was a draft; this verdict is kept
        await visit.api.send("POST", f"/connection/{segment(key)}/test", patient=True)
    if kind.needs_consent:
        return {"location": f"{visit.base}/connections/{segment(key)}/consent?done=created"}
    return {"location": f"{visit.base}/connections/{segment(key)}?done=created"}


def _again(
    visit: Visit,
    kind: ShownKind,
    entered: Mapping[str, str],
    problems: Mapping[str, str],
    summary: str,
    failed: ApiFailed | None = None,
    *,
    verdict: dict[str, Any] | None = None,
) -> Response:
    """The form once more, with what is wrong at its fields; what is sensitive has to be entered again."""
    if visit.wants_data:
        status = 429 if failed is not None and failed.status == 429 else 422
        answer = problems_as_data(problems, summary, status)
        if failed is not None and failed.retry_after:
            answer.headers["Retry-After"] = str(failed.retry_after)
        return answer
    named = {name.removeprefix("field."): text for name, text in problems.items() if name.startswith("field.")}
    plain = plain_values(make_form(kind.schema, kind.described), entered)
    form = make_form(kind.schema, kind.described, entered=plain, problems=named)
    return _page(visit, kind, form, plain, problems, summary, verdict, 200 if verdict else 422)


def _page(
    visit: Visit,
    kind: ShownKind,
    form: Form,
    entered: Mapping[str, str],
    problems: Mapping[str, str] | None = None,
    summary: str = "",
    verdict: dict[str, Any] | None = None,
    status: int = 200,
) -> Response:
    return visit.page(
        "new_connection.html",
        status,
        kind=kind,
        redirect_uri=visit.redirect_uri,
        form=form,
        entered=entered,
        key=key_from(entered.get("name", "")),
        problems=problems or {},
        summary=summary,
        verdict=verdict,
    )
