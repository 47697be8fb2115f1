"""Ask a person for consent: the browser goes to the provider, and comes back."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from connectory_console.api import Api, ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.pages.connection import path_of
from connectory_console.types import names_of_types
from connectory_console.web import Visit, problems_as_data

_CONSENT_COOKIES = ("__Host-connectory_consent", "connectory_consent")
"""Cookies that the API sets to know the browser that asked; they are passed on as they are."""


async def show(visit: Visit) -> Response:
    """Whether there is a consent, the address that the provider has to know, and the way to ask."""
    return await _page(visit)


async def ask(visit: Visit) -> Response:
    """Get the provider's address, or confirm a consent that another browser brought."""
    form = await visit.form()
    if confirmation := form.get("confirmation"):
        return await _confirm(visit, confirmation)
    cookies = "; ".join(
        f"{name}={value}" for name in _CONSENT_COOKIES if (value := visit.request.cookies.get(name)) is not None
    )
    api = Api(visit.web.client, visit.session.token if visit.session else None, {"Cookie": cookies} if cookies else {})
    try:
        answer = await api.send("GET", f"{path_of(visit)}/authorize")
    except ApiFailed as failed:
        if failed.status not in {400, 409, 422}:
            raise
        problem = " ".join(found.message for found in failed.problems) or failed.message
        return await _page(visit, problem=problem, status=failed.status)
    address = str(answer.json())
    if urlsplit(address).scheme not in {"https", "http"}:
        raise ApiFailed(502, _("The provider's address is not one of the web."))
    if visit.wants_data:
        response: Response = JSONResponse({"location": address})
    else:
        response = await _page(visit, address=address)
    for cookie in answer.headers.get_list("set-cookie"):
        response.headers.append("set-cookie", cookie)
    return response


async def _confirm(visit: Visit, confirmation: str) -> Response:
    try:
        await visit.api.send(
            "POST", f"{path_of(visit)}/authorization/confirm", json={"confirmation": confirmation}, patient=True
        )
    except ApiFailed as failed:
        if failed.status not in {400, 404, 409, 422}:
            raise
        return await _page(visit, problem=failed.message, status=failed.status)
    return visit.go(f"/connections/{segment(visit.request.path_params['key'])}/consent")


async def _page(visit: Visit, status: int = 200, **shown: Any) -> Response:
    if visit.wants_data:
        return problems_as_data({}, shown["problem"], status)
    connection, types = await asyncio.gather(visit.api.get(path_of(visit)), names_of_types(visit))
    about = types.get(connection["connection_type"], {})
    redirect = (connection["secrets"] or {}).get("redirect_uri")
    return visit.page(
        "consent.html",
        status,
        connection=connection,
        is_needed=about.get("authorization_required", True),
        redirect_uri=redirect if isinstance(redirect, str) else None,
        own_redirect_uri=visit.redirect_uri,
        **{"address": None, "problem": None} | shown,
    )
