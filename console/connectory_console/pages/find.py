"""Go to a page, a connection, or the form for a new one, by a few letters of its name."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.responses import JSONResponse, RedirectResponse, Response

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
    everything = _("All with “%(search)s” in the name", search=search) if found else _("Nothing has this in its name")
    found.append((_("Search"), everything, f"/find?{urlencode({'search': search})}"))
    shown = [{"kind": kind, "title": title, "address": visit.base + path} for kind, title, path in found]
    return JSONResponse({"found": shown})


async def _found(visit: Visit, search: str, most: int) -> tuple[_Found, dict[str, ApiFailed]]:
    """What has `search` in its name, at most so many of each kind, and what could not be asked."""
    connections, types = await asyncio.gather(
        visit.attempt("/connection", search=search, size=most),
        visit.attempt("/connection_type", search=search, size=most),
    )
    pages = {_(title): path for title, path in _PAGES.items()}
    found = [(_("Page"), title, path) for title, path in pages.items() if search.casefold() in title.casefold()][:most]
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
    return found, hidden
