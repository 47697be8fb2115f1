"""Go to a page, a connection, or the form for a new one, by a few letters of its name."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.responses import JSONResponse, RedirectResponse, Response

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
_Found = list[tuple[str, str, str]]
"""Each thing: its kind, its name, and where it is."""


async def show(visit: Visit) -> Response:
    """What is found; where it is one thing only, that."""
    search = visit.query("search").strip()[:200]
    found, hidden = await _found(visit, search, 20)
    if search and len(found) == 1 and not hidden:
        return RedirectResponse(visit.base + found[0][2], 303)
    return visit.page("find.html", search=search, found=found, hidden=hidden)


async def offer(visit: Visit) -> Response:
    """The first of what is found, for the palette, and the page of all."""
    search = (await visit.form()).get("search", "").strip()[:200]
    if not search:
        return JSONResponse({"found": []})
    found, _hidden = await _found(visit, search, 4)
    everything = f"All with “{search}” in its name" if found else "Nothing has this in its name"
    found.append(("Search", everything, f"/find?{urlencode({'search': search})}"))
    shown = [{"kind": kind, "title": title, "address": visit.base + path} for kind, title, path in found]
    return JSONResponse({"found": shown})


async def _found(visit: Visit, search: str, most: int) -> tuple[_Found, dict[str, ApiFailed]]:
    """What has `search` in its name, at most so many of each kind, and what could not be asked."""
    connections, types = await asyncio.gather(
        visit.attempt("/connection", search=search, size=most),
        visit.attempt("/connection_type", search=search, size=most),
    )
    pages = [("Page", title, path) for title, path in _PAGES.items() if search.casefold() in title.casefold()]
    found = pages[:most]
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
    return found, hidden
