"""`/plugins`: every installed connector, whether it works or not."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from connectory.api.bearer import ScopedRoute, needs
from connectory.api.jsonbody import json_response
from connectory.api.openapi import answers
from connectory.api.paging import PageNumber, PageSize, page_of
from connectory.api.service import service_of
from connectory.catalog.record import PluginRecord

router = APIRouter(prefix="/api/v1", tags=["Plugins"], route_class=ScopedRoute)

_EXAMPLE = {
    "identifier": "manual",
    "distribution": "connectory",
    "version": "0.1.0",
    "target": "connectory.builtin.manual",
    "status": "loaded",
    "reason": None,
}


def plugin_item(record: PluginRecord) -> dict[str, str | None]:
    """What is shown of one plugin, here and by `connectory plugins --json`."""
    return {
        "identifier": record.identifier,
        "distribution": record.distribution,
        "version": record.version,
        "target": record.target,
        "status": record.status.value,
        "reason": record.reason or None,
    }


@router.get(
    "/plugins",
    operation_id="listPlugins",
    summary="List the installed plugins and their state",
    responses=answers(
        401,
        403,
        422,
        503,
        ok=(200, "PluginPage", {"items": [_EXAMPLE], "total": 1, "page": 1, "size": 50, "pages": 1}),
    ),
    openapi_extra=needs("connection_type:read"),
)
async def list_plugins(request: Request, page: PageNumber = 1, size: PageSize = 50) -> Response:
    """Each connector's distribution and version, and what it comes from; where it is not `loaded`, the reason says what to do.

    `target` is a Python object, or for a connector of the deployer's own definition the file.
    """
    records = service_of(request).catalog.records
    shown = [plugin_item(record) for record in records[(page - 1) * size : page * size]]
    return json_response(page_of(shown, len(records), page, size))
