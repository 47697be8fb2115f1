"""`/plugins`: every installed connector, whether it works or not."""

from typing import Annotated

from fastapi import Request
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.errors import PROTECTED
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.service import service_of
from connectory.catalog.record import PluginRecord, PluginStatus

router = Router(prefix="/api/v1", tags=["Plugins"], responses=PROTECTED)


class Plugin(Answer):
    """What is shown of one plugin, here and by `connectory plugins --json`."""

    identifier: Annotated[str, Field(examples=["manual"])]
    distribution: Annotated[str, Field(examples=["connectory"])]
    version: Annotated[str, Field(examples=["0.1.0"])]
    target: Annotated[str, Field(examples=["connectory.builtin.manual"])]
    status: Annotated[PluginStatus, Field(examples=["loaded"])]
    reason: Annotated[str | None, Field(description="Why it is not loaded, and what to do.")]
    remark: Annotated[
        str | None, Field(description="What it does and should not, though it is loaded.", examples=[None])
    ]


class PluginPage(Page[Plugin]):
    """Plugins, ordered by identifier."""


def plugin_item(record: PluginRecord) -> dict[str, str | None]:
    """One plugin, as JSON."""
    shown = {name: getattr(record, name) for name in Plugin.model_fields}
    told = {"reason": record.reason or None, "remark": record.remark or None}
    return Plugin.model_validate(shown | told).model_dump(mode="json")


@router.get(
    "/plugins",
    operation_id="listPlugins",
    summary="List the installed plugins and their state",
    dependencies=[needs("connection_type:read")],
)
async def list_plugins(request: Request, page: PageNumber = 1, size: PageSize = 50) -> PluginPage:
    """Each connector's distribution and version, and what it comes from; where it is not `loaded`, the reason says what to do.

    `target` is a Python object, or for a connector of the deployer's own definition the file.
    """
    records = service_of(request).catalog.records
    shown = [plugin_item(record) for record in records[(page - 1) * size : page * size]]
    return PluginPage.model_validate(page_of(shown, len(records), page, size))
