"""The catalogue: what can be connected."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from connectory_console import wording
from connectory_console.api import ApiFailed
from connectory_console.known import to_install
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.web import Visit

_KINDS = {"database": N_("Databases"), "saas": N_("SaaS"), "manual": N_("By people")}


async def show(visit: Visit) -> Response:
    """Every type, by kind, with a search; those that are installed and broken come last, in grey."""
    search = visit.query("search").strip()[:200]
    page = visit.page_number()
    listed, plugins = await asyncio.gather(
        visit.api.get("/connection_type", search=search, page=page, size=100), visit.attempt("/plugins", size=100)
    )
    groups: dict[str, list[dict[str, object]]] = {}
    for found in listed["items"]:
        groups.setdefault(_kind(found["type"]), []).append(found)
    broken = [] if isinstance(plugins, ApiFailed) else [found for found in plugins["items"] if wording.is_broken(found)]
    if search:
        broken = [found for found in broken if search.casefold() in found["identifier"].casefold()]
    return visit.page(
        "catalogue.html",
        search=search,
        groups=groups,
        broken=broken,
        listed=listed,
        number=page,
        command=to_install(search),
    )


def _kind(name: str) -> str:
    return _(_KINDS[name]) if name in _KINDS else name.capitalize()
