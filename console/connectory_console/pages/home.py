"""Home: what needs a person now."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from connectory_console import wording
from connectory_console.api import ApiFailed
from connectory_console.web import Visit


async def show(visit: Visit) -> Response:
    """Counts, failing connections, broken plugins."""
    summary, failing, plugins = await asyncio.gather(
        visit.attempt("/connection/summary"),
        visit.attempt(
            "/connection", test_status="failed", disabled=False, expand="health", sort="-last_test_timestamp", size=6
        ),
        visit.attempt("/plugins", size=100),
    )
    broken = (
        plugins if isinstance(plugins, ApiFailed) else [found for found in plugins["items"] if wording.is_broken(found)]
    )
    return visit.page("home.html", summary=summary, failing=failing, broken=broken)
