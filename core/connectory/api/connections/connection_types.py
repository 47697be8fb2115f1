"""`/connection_type`: which connectors can be used, and the secrets each needs."""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import orjson
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.errors import PROTECTED, errors, refuse_field
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.service import service_of
from connectory.api.stored.lookup import unknown_type
from connectory.catalog.catalog import Catalog
from connectory.catalog.loaded import LoadedConnector
from connectory.contract.fields import RoleName
from connectory.documents.form import Group, Widget, form_description

router = Router(prefix="/api/v1", tags=["Connection types"], responses=PROTECTED)


TypeIdentifier = Annotated[str, Path(description="An identifier from the list of types.", examples=["manual"])]


class ConnectionType(Answer):
    """A connector that can be used."""

    identifier: Annotated[str, Field(examples=["manual"])]
    type: Annotated[str, Field(examples=["manual"])]
    human_readable: Annotated[str, Field(examples=["Manual Connector"])]
    encoded_icon: Annotated[
        str | None, Field(description="An SVG document in base64, to be shown as an image; never null.")
    ]
    authorization_required: Annotated[bool, Field(examples=[False])]
    user_guide: str | None
    supported_actions: Annotated[list[str], Field(examples=[[]])]
    category: Annotated[str | None, Field(examples=["MANUAL"])]


class ConnectionTypePage(Page[ConnectionType]):
    """Connection types: databases first, then SaaS, then the rest, each in alphabetical order."""


class SecretField(BaseModel):
    """The JSON Schema of one field, which may have further keywords."""

    model_config = ConfigDict(extra="allow")

    title: str = ""
    description: str = ""
    type: str = ""
    sensitive: bool = False


class SecretSchema(BaseModel):
    """The JSON Schema of a connection type's secrets."""

    # Closed: in an open model, clients' generators keep what is further under the very name `additional_properties`.
    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(examples=["sentry_schema"])]
    description: Annotated[str, Field(examples=["Sentry secrets schema"])]
    type: Literal["object"]
    properties: Annotated[
        dict[str, SecretField],
        Field(examples=[{"access_token": {"title": "Access Token", "type": "string", "sensitive": True}}]),
    ]
    required: Annotated[list[str], Field(examples=[["access_token"]])]
    additional_properties: Annotated[Literal[False], Field(alias="additionalProperties")]
    any_of: Annotated[list[Any], Field(alias="anyOf", default_factory=list)]
    all_of: Annotated[list[Any], Field(alias="allOf", default_factory=list)]


class FormField(Answer):
    """How a form shows one field."""

    name: Annotated[str, Field(examples=["access_token"])]
    role: Annotated[
        RoleName,
        Field(
            description="What it is for. Where a test fails, `failure_fields` are of one role.", examples=["credential"]
        ),
    ]
    repoints: Annotated[
        bool,
        Field(description="Whether its change makes the service ask for the sensitive values again.", examples=[False]),
    ]
    widget: Annotated[Widget, Field(description="What to enter it with.", examples=["secret"])]
    group: Annotated[Group, Field(description="Whether it is shown at first.", examples=["main"])]


class FormOption(Answer):
    """One way to choose, and the fields that belong to it alone."""

    title: Annotated[str, Field(examples=["One URL"])]
    fields: Annotated[list[str], Field(examples=[["url"]])]


class FormChoice(Answer):
    """One of the options is taken; the fields of the others are not sent."""

    title: Annotated[str, Field(examples=["Address"])]
    options: list[FormOption]


class SecretForm(Answer):
    """How a form shows a connection type's secrets, beside their schema."""

    fields: list[FormField]
    choices: Annotated[list[FormChoice], Field(examples=[[]])]
    authorization_required: Annotated[
        bool,
        Field(
            description="Whether a person has to consent at the provider before a test can succeed.", examples=[False]
        ),
    ]


def connection_type(connector: LoadedConnector) -> ConnectionType:
    """What lists show of a connector."""
    described = connector.description
    return ConnectionType(
        identifier=connector.identifier,
        type=connector.system_type,
        human_readable=described.human_readable,
        encoded_icon=base64.b64encode(connector.icon.encode()).decode(),
        authorization_required=described.authorization_required,
        user_guide=described.user_guide,
        supported_actions=list(connector.supported_actions),
        category=described.category,
    )


class RenderedTypes:
    """The catalogue as response bodies, each rendered once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.schemas = {name: orjson.dumps(found.schema) for name, found in catalog.connectors.items()}
        self.forms = {
            name: orjson.dumps(
                form_description(found.fields, found.schema)
                | {"authorization_required": found.description.authorization_required}
            )
            for name, found in catalog.connectors.items()
        }
        self.page = lru_cache(maxsize=256)(self._render)

    def _render(self, search: str, system_type: str | None, page: int, size: int) -> bytes:
        found = [
            connection_type(connector).model_dump()
            for connector in self._catalog.connectors.values()
            if (system_type is None or connector.system_type == system_type)
            and (search in connector.identifier or search in connector.description.human_readable.casefold())
        ]
        return orjson.dumps(page_of(found[(page - 1) * size : page * size], len(found), page, size))


@router.get(
    "/connection_type",
    operation_id="listConnectionTypes",
    summary="List the connection types that can be used",
    dependencies=[needs("connection_type:read")],
    response_model=ConnectionTypePage,
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
    dependencies=[needs("connection_type:read")],
    response_model=SecretSchema,
    responses=errors(404),
)
async def get_secret_schema(request: Request, connection_type: TypeIdentifier) -> Response:
    """A JSON Schema. `sensitive` marks the fields that are never shown again once stored."""
    rendered: RenderedTypes = request.app.state.rendered_types
    return _of_type(request, rendered.schemas, connection_type)


@router.get(
    "/connection_type/{connection_type}/form",
    operation_id="getSecretForm",
    summary="Read how a form shows the secrets of a connection type",
    dependencies=[needs("connection_type:read")],
    response_model=SecretForm,
    responses=errors(404),
)
async def get_secret_form(request: Request, connection_type: TypeIdentifier) -> Response:
    """Every field of the schema, in its order, and nothing else: titles, rules and defaults are the schema's."""
    rendered: RenderedTypes = request.app.state.rendered_types
    return _of_type(request, rendered.forms, connection_type)


def _of_type(request: Request, rendered: Mapping[str, bytes], connection_type: str) -> Response:
    body = rendered.get(connection_type)
    if body is None:
        raise unknown_type(service_of(request).catalog, connection_type)
    return Response(body, media_type="application/json")
