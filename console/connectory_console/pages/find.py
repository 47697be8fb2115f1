"""Go to a page, a connection, or the form for a new one, by a few letters of its name."""

from __future__ import annotations

import asyncio

from starlette.responses import RedirectResponse, Response

from connectory_console.api import ApiFailed, segment
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.web import Visit

_PAGES = {
    N_("Home"): "/",
    N_("Connections"): "/connections",
    N_("Catalogue"): "/catalogue",
    N_("Plugins"): "/plugins",
    N_("Keys"): "/keys",
    N_("Clients and tokens"): "/clients",
    N_("Audit"): "/audit",
}


async def show(visit: Visit) -> Response:
    """What is found; where it is one thing only, that."""
    search = visit.query("search").strip()[:200]
    connections, types = await asyncio.gather(
        visit.attempt("/connection", search=search, size=20), visit.attempt("/connection_type", search=search, size=20)
    )
    pages = {_(title): path for title, path in _PAGES.items()}
    found = [(_("Page"), title, path) for title, path in pages.items() if search.casefold() in title.casefold()]
    if not isinstance(connections, ApiFailed):
        found += [(_("Connection"), one["name"], f"/connections/{segment(one['key'])}") for one in connections["items"]]
    if not isinstance(types, ApiFailed):
        found += [
            (_("Connect"), one["human_readable"], f"/connections/new?type={segment(one['identifier'])}")
            for one in types["items"]
        ]
    hidden = {
        title: answer
        for title, answer in (
            (_("The connections cannot be shown."), connections),
            (_("The systems cannot be shown."), types),
        )
        if isinstance(answer, ApiFailed)
    }
    if search and len(found) == 1 and not hidden:
        return RedirectResponse(visit.base + found[0][2], 303)
    return visit.page("find.html", search=search, found=found, hidden=hidden)
