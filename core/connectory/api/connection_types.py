"""`/connection_type`: which connectors can be used, and the secrets each needs."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from connectory.api.bearer import ScopedRoute, needs
from connectory.api.errors import Refused, refuse_field
from connectory.api.openapi import answers
from connectory.api.paging import PageNumber, PageSize, page_of
from connectory.api.service import service_of
from connectory.catalog.catalog import Catalog
from connectory.catalog.discovery import IDENTIFIER

router = APIRouter(prefix="/api/v1", tags=["Connection types"], route_class=ScopedRoute)

_SECRET_SCHEMA_EXAMPLE = {
    "title": "sentry_schema",
    "description": "Sentry secrets schema",
    "type": "object",
    "properties": {"access_token": {"title": "Access Token", "type": "string", "sensitive": True}},
    "required": ["access_token"],
    "additionalProperties": False,
}
_ITEM_EXAMPLE: dict[str, Any] = {
    "identifier": "manual",
    "type": "manual",
    "human_readable": "Manual Connector",
    "encoded_icon": None,
    "authorization_required": False,
    "user_guide": None,
    "supported_actions": [],
    "category": "MANUAL",
}

_DISTRIBUTIONS = {
    "bigquery": "connectory-bigquery",
    "mariadb": "connectory-mariadb",
    "mongodb": "connectory-mongodb",
    "mssql": "connectory-mssql",
    "mysql": "connectory-mysql",
    "postgres": "connectory-postgres",
    "redshift": "connectory-redshift",
    "snowflake": "connectory-snowflake",
} | dict.fromkeys(
    (
        "adobe_campaign",
        "auth0",
        "datadog",
        "hubspot",
        "mailchimp",
        "outreach",
        "salesforce",
        "segment",
        "sendgrid",
        "sentry",
        "stripe",
        "zendesk",
    ),
    "connectory-saas",
)
# For the hint to a consumer only: which official distribution ships a connector that is not installed here.


class RenderedTypes:
    """The catalogue as response bodies, each rendered once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.schemas = {name: orjson.dumps(found.schema) for name, found in catalog.connectors.items()}
        self.page = lru_cache(maxsize=256)(self._render)

    def _render(self, search: str, system_type: str | None, page: int, size: int) -> bytes:
        found = [
            connector.listing()
            for connector in self._catalog.connectors.values()
            if (system_type is None or connector.system_type == system_type)
            and (search in connector.identifier or search in connector.description.human_readable.casefold())
        ]
        return orjson.dumps(page_of(found[(page - 1) * size : page * size], len(found), page, size))


@router.get(
    "/connection_type",
    operation_id="listConnectionTypes",
    summary="List the connection types that can be used",
    responses=answers(
        401,
        403,
        422,
        503,
        ok=(200, "ConnectionTypePage", {"items": [_ITEM_EXAMPLE], "total": 1, "page": 1, "size": 50, "pages": 1}),
    ),
    openapi_extra=needs("connection_type:read"),
)
async def list_connection_types(
    request: Request,
    search: Annotated[
        str, Query(max_length=200, description="Part of the identifier or the human name, in any case.")
    ] = "",
    system_type: Annotated[str | None, Query(description="Only of this kind.")] = None,
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """Databases first, then SaaS, then the rest, each in alphabetical order."""
    catalog = service_of(request).catalog
    if system_type is not None and system_type not in catalog.types:
        known = ", ".join(sorted(catalog.types))
        raise refuse_field(["query", "system_type"], f"Must be one of: {known}.", "enum")
    rendered: RenderedTypes = request.app.state.rendered_types
    return Response(rendered.page(search.casefold(), system_type, page, size), media_type="application/json")


@router.get(
    "/connection_type/{connection_type}/secret",
    operation_id="getSecretSchema",
    summary="Read which secrets a connection type needs",
    responses=answers(401, 403, 404, 422, 503, ok=(200, "SecretSchema", _SECRET_SCHEMA_EXAMPLE)),
    openapi_extra=needs("connection_type:read"),
)
async def get_secret_schema(
    request: Request,
    connection_type: Annotated[str, Path(description="An identifier from the list of types.", examples=["manual"])],
) -> Response:
    """A JSON Schema. `sensitive` marks the fields that are never shown again once stored."""
    rendered: RenderedTypes = request.app.state.rendered_types
    schema = rendered.schemas.get(connection_type)
    if schema is None:
        raise Refused(404, _unknown_type_message(service_of(request).catalog, connection_type))
    return Response(schema, media_type="application/json")


def _unknown_type_message(catalog: Catalog, identifier: str) -> str:
    # The path may hold anything, so only what could be an identifier is repeated.
    if not IDENTIFIER.fullmatch(identifier):
        return "No connection type found with that name."
    return f"No connection type found with name '{identifier}'. {_how_to_get(catalog, identifier)}".rstrip()


def unknown_type_problem(catalog: Catalog, identifier: str) -> str:
    """What to answer where `identifier` is given as a connection's type and no connector of that name can be used."""
    return f"Must be one of: {', '.join(catalog.connectors)}. {_how_to_get(catalog, identifier)}".rstrip()


def _how_to_get(catalog: Catalog, identifier: str) -> str:
    if identifier in _DISTRIBUTIONS or any(record.identifier == identifier for record in catalog.records):
        return catalog.unavailable_reason(identifier, _DISTRIBUTIONS.get(identifier, ""))
    return ""
