"""Clients and their tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from connectory_console import wording
from connectory_console.api import ApiFailed, segment
from connectory_console.languages import gettext as _
from connectory_console.live import input_name
from connectory_console.web import Visit


async def show(visit: Visit) -> Response:
    """Every client, and the form for a new one."""
    return await _list(visit)


async def _list(visit: Visit, status: int = 200, **shown: Any) -> Response:
    number = visit.page_number()
    listed = await visit.api.get("/client", page=number, size=50)
    return visit.page(
        "clients.html",
        status,
        listed=listed,
        number=number,
        scopes={name: _(words) for name, words in wording.SCOPES.items()},
        **{"problems": {}, "entered": {}, "chosen": (), "made": None} | shown,
    )


async def create(visit: Visit) -> Response:
    """Make a client; its secret is shown on this answer and never again."""
    pairs = await visit.form_pairs()
    form, scopes = dict(pairs), [value for name, value in pairs if name == "scope"]
    body = {"name": form.get("name", "").strip(), "scopes": scopes}
    try:
        made = (await visit.api.send("POST", "/client", json=body)).json()
    except ApiFailed as failed:
        if failed.status not in {403, 409, 422} or failed.missing_scope == "client:manage":
            raise
        problems = {input_name(problem, ""): problem.message for problem in failed.problems} or {"": failed.message}
        return await _list(visit, 422, problems=problems, entered=form, chosen=scopes)
    return await _list(visit, 201, made=made)


async def show_one(visit: Visit) -> Response:
    """One client, with its tokens."""
    return await _one(visit)


async def _one(visit: Visit, **shown: Any) -> Response:
    path = f"/client/{segment(visit.request.path_params['client_id'])}"
    client, tokens = await asyncio.gather(visit.api.get(path), visit.api.get(f"{path}/token", size=100))
    return visit.page(
        "client.html",
        client=client,
        tokens=tokens,
        scopes={name: _(words) for name, words in wording.SCOPES.items()},
        **{"problem": None, "secret": None} | shown,
    )


async def change(visit: Visit) -> Response:
    """Delete the client, give it another secret, or revoke tokens."""
    form = await visit.form()
    client_id = visit.request.path_params["client_id"]
    path = f"/client/{segment(client_id)}"
    action = form.get("do", "")
    try:
        if action == "delete":
            if form.get("typed", "").strip() != form.get("name", ""):
                return await _one(visit, problem=_("Type the client's name to delete it."))
            await visit.api.send("DELETE", path)
            own = visit.session is not None and visit.session.client_id == client_id
            return visit.go("/sign-in" if own else "/clients", "client-deleted")
        if action == "secret":
            made = (await visit.api.send("POST", f"{path}/secret", json={})).json()
            return await _one(visit, secret=made["client_secret"])
        if action == "revoke-all":
            await visit.api.send("DELETE", f"{path}/token")
            return visit.go(f"/clients/{segment(client_id)}", "tokens-revoked")
        await visit.api.send("DELETE", f"{path}/token/{segment(form.get('token', ''))}")
    except ApiFailed as failed:
        if failed.status not in {404, 409, 422}:
            raise
        return await _one(visit, problem=failed.message)
    return visit.go(f"/clients/{segment(client_id)}", "token-revoked")
