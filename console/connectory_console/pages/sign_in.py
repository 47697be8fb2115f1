"""Sign in by a one-time code or by a client's credentials, and sign out."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from connectory_console.api import ApiFailed
from connectory_console.languages import N_, ngettext
from connectory_console.languages import gettext as _
from connectory_console.origin import is_trustworthy, own_origin
from connectory_console.web import Page, Visit, is_local

CODE_GRANT = "urn:connectory:grant-type:console-code"
_USED = N_("This link was used, or is more than ten minutes old. Run `connectory console` for a new one.")
_UNSAFE = N_(
    "This page came over plain http from another machine, where others could read what you type. Set "
    "CONNECTORY_PUBLIC_URL to the https address of the service, and open that."
)
_NOT_LOCAL = N_("This page does not come from the service itself. Open its address in the browser, and sign in there.")


async def show(visit: Visit) -> Response:
    """The page to sign in on; who is signed in already goes on."""
    if visit.session is not None:
        return RedirectResponse(_next(visit), 303)
    return _form(visit)


def ask(visit: Visit, *, ended: bool = False) -> Response:
    """What an answer is where nobody is signed in: the page to sign in on, then the one that was asked for."""
    if visit.wants_data:
        said = _("You are signed out. Sign in in another tab, then try again: what you typed stays.")
        return JSONResponse({"problems": {}, "summary": said}, 401)
    path = visit.request.url.path
    query = f"?{visit.request.url.query}" if visit.request.url.query else ""
    wanted = path + query if visit.request.method == "GET" and path != f"{visit.base}/" else ""
    address = f"{visit.base}/sign-in" + (f"?next={quote(wanted, safe='')}" if wanted else "")
    response = RedirectResponse(address, 303)
    if ended:
        visit.forget(response)
    return response


async def with_credentials(visit: Visit) -> Response:
    """Sign in with a client's id and secret."""
    form = await visit.form()
    if refusal := _refusal(visit):
        return _form(visit, refusal, 403)
    credentials = {"client_id": form.get("client_id", "").strip(), "client_secret": form.get("client_secret", "")}
    try:
        answer = await visit.api.send("POST", "/oauth/token", form={"grant_type": "client_credentials", **credentials})
        token = answer.json()
        known = await _introspect(visit, token["access_token"])
    except ApiFailed as failed:
        return _form(visit, _said(failed), failed.status or 502, form.get("next"))
    name = known.get("client_name") or credentials["client_id"]
    return _signed_in(visit, token, name, credentials["client_id"], form.get("next", ""))


async def look_at_code(visit: Visit) -> Response:
    """What a code is good for, without using it up."""
    form = await visit.form()
    if refusal := _refusal(visit):
        return JSONResponse({"text": refusal}, 403)
    found = await _introspect(visit, form.get("code", ""))
    if not found.get("active") or found.get("token_type") != "console_code":
        return JSONResponse({"text": _(_USED)}, 400)
    scopes = str(found.get("scope", "")).split()
    host = urlsplit(own_origin(visit.request, visit.web.public_url)).netloc
    count = ngettext("%(num)s scope", "%(num)s scopes", len(scopes))
    whom = f"{found.get('client_name')} · {count} · {host}"
    return JSONResponse({"text": _("Sign in as %(whom)s", whom=whom)})


async def with_code(visit: Visit) -> Response:
    """Sign in with a one-time code."""
    form = await visit.form()
    if refusal := _refusal(visit):
        return _form(visit, refusal, 403)
    try:
        answer = await visit.api.send(
            "POST", "/oauth/token", form={"grant_type": CODE_GRANT, "code": form.get("code", "")}
        )
    except ApiFailed as failed:
        said = _(_USED) if failed.status == 400 else _said(failed)
        return _form(visit, said, failed.status or 502, form.get("next"))
    token = answer.json()
    return _signed_in(visit, token, token["client_name"], token["client_id"], form.get("next", ""))


async def sign_out(visit: Visit) -> Response:
    """Revoke the session's token, forget the session, and have the browser forget the pages."""
    if visit.session is not None:
        with contextlib.suppress(ApiFailed):  # it ends by itself; who wants to leave is not kept
            await visit.api.send("POST", "/oauth/revoke", form={"token": visit.session.token})
    response = RedirectResponse(f"{visit.base}/sign-in?done=signed-out", 303)
    visit.forget(response)
    response.headers["Clear-Site-Data"] = '"cache"'
    visit.session = None
    return response


async def set_theme(visit: Visit) -> Response:
    """Light, dark, or as the system has it."""
    form = await visit.form()
    response = _back(visit, form)
    visit.remember_theme(response, form.get("theme", ""))
    return response


async def set_language(visit: Visit) -> Response:
    """One that there is, or the one that the browser asks for."""
    form = await visit.form()
    response = _back(visit, form)
    visit.remember_language(response, form.get("language", ""))
    return response


def _back(visit: Visit, form: dict[str, str]) -> Response:
    back = form.get("back", "")
    return RedirectResponse(back if is_local(back) else f"{visit.base}/", 303)


OPEN: frozenset[Page] = frozenset({show, with_credentials, look_at_code, with_code, set_theme, set_language})
"""Pages for people who are not signed in."""


def _refusal(visit: Visit) -> str | None:
    if not visit.is_ours:
        return _(_NOT_LOCAL)
    return None if is_trustworthy(visit.request, visit.web.public_url) else _(_UNSAFE)


def _form(visit: Visit, problem: str | None = None, status: int = 200, wanted: str | None = None) -> Response:
    unsafe = None if is_trustworthy(visit.request, visit.web.public_url) else _(_UNSAFE)
    return visit.page("sign_in.html", status, problem=problem or unsafe, wanted=wanted or visit.query("next"))


async def _introspect(visit: Visit, token: str) -> dict[str, Any]:
    found = (await visit.api.send("POST", "/oauth/introspect", form={"token": token})).json()
    return dict(found)


def _signed_in(visit: Visit, token: dict[str, Any], name: str, client_id: str, wanted: str) -> Response:
    scopes = tuple(str(token["scope"]).split())
    session = visit.web.sessions.start(token["access_token"], name, client_id, scopes)
    response = RedirectResponse(wanted if is_local(wanted) else f"{visit.base}/", 303)
    visit.keep(response, session)
    return response


def _next(visit: Visit) -> str:
    wanted = visit.query("next")
    return wanted if is_local(wanted) else f"{visit.base}/"


def _said(failed: ApiFailed) -> str:
    if failed.status == 401:
        return _("The client id or the secret is wrong.")
    if failed.retry_after:
        return ngettext(
            "Too many failed attempts. Try again in %(num)s second.",
            "Too many failed attempts. Try again in %(num)s seconds.",
            failed.retry_after,
        )
    return failed.message
