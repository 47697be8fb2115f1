"""Go to a page, a connection, or the form for a new one, by a few letters of its name."""

from __future__ import annotations

import asyncio

from starlette.responses import RedirectResponse, Response

from connectory_console.api import ApiFailed, segment
from connectory_console.web import Visit

_PAGES = {
    "Home": "/",
    "Connections": "/connections",
    "Catalogue": "/catalogue",
    "Plugins": "/plugins",
    "Keys": "/keys",
    "Clients and tokens": "/clients",
    "Audit": "/audit",
}


async def show(visit: Visit) -> Response:
    """What is found; where it is one thing only, that."""
    search = visit.query("search").strip()[:200]
    connections, types = await asyncio.gather(
        visit.attempt("/connection", search=search, size=20), visit.attempt("/connection_type", search=search, size=20)
    )
    found = [("Page", title, path) for title, path in _PAGES.items() if search.casefold() in title.casefold()]
    if not isinstance(connections, ApiFailed):
        found += [("Connection", one["name"], f"/connections/{segment(one['key'])}") for one in connections["items"]]
    if not isinstance(types, ApiFailed):
        found += [
            ("Connect", one["human_readable"], f"/connections/new?type={segment(one['identifier'])}")
            for one in types["items"]
        ]
    hidden = {
        title: answer
        for title, answer in (("Connections", connections), ("Systems", types))
        if isinstance(answer, ApiFailed)
    }
    if search and len(found) == 1 and not hidden:
        return RedirectResponse(visit.base + found[0][2], 303)
    return visit.page("find.html", search=search, found=found, hidden=hidden)
