"""Plugins: what is installed, whether it works, and what to do where it does not."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from connectory_console import wording
from connectory_console.api import ApiFailed
from connectory_console.web import Visit


async def show(visit: Visit) -> Response:
    """Every plugin; those that need somebody first."""
    number = visit.page_number()
    listed, summary = await asyncio.gather(
        visit.api.get("/plugins", page=number, size=100), visit.attempt("/connection/summary")
    )
    uses = {} if isinstance(summary, ApiFailed) else summary["by_type"]
    ordered = sorted(listed["items"], key=lambda found: not wording.is_broken(found))
    return visit.page("plugins.html", listed=listed, plugins=ordered, uses=uses, number=number)
