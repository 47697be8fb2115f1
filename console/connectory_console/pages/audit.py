"""The audit trail: who did what, when, and how it ended."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from starlette.responses import Response

from connectory_console.api import ApiFailed
from connectory_console.web import Visit

FILTERS = ("actor", "action", "connection_key", "object", "result_code", "since", "until")
_SIZE = 50
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_COLUMNS = (
    "at",
    "actor",
    "action",
    "connection_key",
    "object",
    "changed_fields",
    "result_code",
    "request_id",
    "details",
)


async def show(visit: Visit) -> Response:
    """A page of the trail."""
    filters = _filters(visit)
    number = visit.page_number()
    try:
        listed = await visit.api.get("/audit", **filters, page=number, size=_SIZE)
    except ApiFailed as failed:
        problems = {str(found.path[-1]): found.message for found in failed.problems if found.path}
        if failed.status != 422 or not problems.keys() & filters.keys():
            raise
        none = {"items": [], "total": 0, "pages": 0}
        return visit.page("audit.html", 422, listed=none, filters=filters, number=number, problems=problems)
    return visit.page("audit.html", listed=listed, filters=filters, number=number, problems={})


async def as_csv(visit: Visit) -> Response:
    """The same page, for a spreadsheet."""
    listed = await visit.api.get("/audit", **_filters(visit), page=visit.page_number(), size=_SIZE)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in listed["items"]:
        writer.writerow([_cell(entry[name]) for name in _COLUMNS])
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def _filters(visit: Visit) -> dict[str, str]:
    given = {name: value[:200] for name in FILTERS if (value := visit.query(name).strip())}
    for name in given.keys() & {"since", "until"}:
        if _DAY.fullmatch(given[name]):
            given[name] += "T00:00:00Z"
    return given


def _cell(value: Any) -> str:
    if isinstance(value, list):
        text = " ".join(map(str, value))
    elif isinstance(value, dict):
        text = " ".join(f"{name}={part}" for name, part in value.items())
    else:
        text = "" if value is None else str(value)
    # A spreadsheet would run it as a formula (OWASP, CSV injection).
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
