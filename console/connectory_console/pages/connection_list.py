"""The list of connections. Its filters, order and page are in the address, so it can be shared and reloaded."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.types import names_of_types
from connectory_console.web import Visit

SIZE = 100
FILTERS = (
    "search",
    "connection_type",
    "test_status",
    "failure_code",
    "disabled",
    "connector",
    "secrets",
    "system_type",
)
SORTS = {
    "name": N_("By name"),
    "-name": N_("By name, Z first"),
    "-last_test_timestamp": N_("Last tested first"),
    "last_test_timestamp": N_("Longest not tested first"),
    "-created_at": N_("Newest first"),
    "-updated_at": N_("Last changed first"),
}


async def show(visit: Visit) -> Response:
    """A page of the list."""
    filters = {name: value[:500] for name in FILTERS if (value := visit.query(name).strip())}
    sort = visit.query("sort", "name")
    sort = sort if sort in SORTS else "name"
    number = visit.page_number()
    listed, summary, types = await asyncio.gather(
        visit.api.get("/connection", **filters, sort=sort, page=number, size=SIZE, expand="health"),
        visit.attempt("/connection/summary"),
        names_of_types(visit),
    )
    return visit.page(
        "connections.html",
        listed=listed,
        summary=summary,
        types=types,
        filters=filters,
        sort=sort,
        sorts={name: _(words) for name, words in SORTS.items()},
        number=number,
    )
