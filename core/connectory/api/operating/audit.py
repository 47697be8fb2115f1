"""`/audit`: who did what."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.errors import PROTECTED, refuse_field
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.service import Service, service_of
from connectory.store.audit import ACTIONS
from connectory.store.audit_search import MOST_COUNTED, Wanted, list_entries, matching_actions

router = Router(prefix="/api/v1", tags=["Audit"], responses=PROTECTED)


class AuditItem(Answer):
    """One thing that was done. It names fields, and never holds a value of one."""

    at: Annotated[datetime, Field(examples=["2026-11-23T12:30:15.123456+00:00"])]
    actor: Annotated[
        str,
        Field(
            description="Id of the client that asked for it, or the command that did it; `serve` or `start` for what the "
            "service does by itself; `unknown` for a login with an id that no client has.",
            examples=["5f0c6e0e-3c3e-4bd1-9f2d-0b6d3f1a7c11"],
        ),
    ]
    action: Annotated[str, Field(examples=["secrets_set"])]
    connection_id: Annotated[str | None, Field(examples=["0b3f9a52-6f0e-4a7e-8a35-3c1a9d1f2b77"])]
    connection_key: Annotated[str | None, Field(examples=["app_postgres_db"])]
    changed_fields: Annotated[list[str], Field(examples=[["host", "password"]])]
    kid: Annotated[str | None, Field(description="Id of the key that sealed the secrets.", examples=["2026-11"])]
    result_code: Annotated[
        str | None,
        Field(
            description="The HTTP status; of a test, `succeeded` or its failure code; `succeeded` or `failed` for what was not "
            "asked for by HTTP; `null` where an earlier release wrote none.",
            examples=["200"],
        ),
    ]
    request_id: Annotated[str | None, Field(description="Made by the service.", examples=["9c1f0a52d6e84b3f"])]
    client_request_id: Annotated[
        str | None, Field(description="What the caller sent as `X-Request-ID`.", examples=["import-42"])
    ]
    object: Annotated[
        str | None, Field(description="Id of the client, or of the key, that it was done to.", examples=[None])
    ]
    details: Annotated[
        dict[str, str | int],
        Field(description="More, like the address that a login came from; nothing secret.", examples=[{}]),
    ]
    id: Annotated[int, Field(description="Number of the entry.", examples=[1042])]


class AuditPage(Page[AuditItem]):
    """Entries, newest first."""

    total: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_COUNTED,
            description=f"How many there are, counted up to {MOST_COUNTED}. For older ones, give `until`.",
            examples=[1],
        ),
    ]


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")  # RFC 3339
_BEGINNING = re.compile(r"[a-z_]{0,40}\*")
_ACTION_PATTERN = f"^({'|'.join(ACTIONS)}|{_BEGINNING.pattern})$"


def _text(description: str) -> Any:
    return Query(min_length=1, max_length=200, description=description)


def _time(description: str) -> Any:
    return Query(description=f"{description}, in RFC 3339.", json_schema_extra={"format": "date-time"})


@router.get(
    "/audit",
    operation_id="listAuditEntries",
    summary="List what was done, and by whom",
    dependencies=[needs("audit:read")],
    response_model=AuditPage,
)
async def list_all(
    request: Request,
    actor: Annotated[str | None, _text("Only of this client, or command.")] = None,
    action: Annotated[
        str | None,
        Query(
            description="Only of this action; or of those that begin so, like `key*`.",
            json_schema_extra={"pattern": _ACTION_PATTERN},
        ),
    ] = None,
    connection_key: Annotated[str | None, _text("Only of the connection that has, or had, this key.")] = None,
    object: Annotated[str | None, _text("Only what was done to the client, or the key, of this id.")] = None,  # noqa: A002
    result_code: Annotated[str | None, _text("Only of this result.")] = None,
    since: Annotated[str | None, _time("Only from this time on")] = None,
    until: Annotated[str | None, _time("Only before this time")] = None,
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """Newest first; all filters must hold. An entry is there as soon as what it tells of is: one transaction stores both."""
    wanted = Wanted(
        actor, _actions(action), connection_key, object, result_code, _moment("since", since), _moment("until", until)
    )
    service = service_of(request)
    return await service.threads.read(_list, service, wanted, page, size)


def _list(service: Service, wanted: Wanted, page: int, size: int) -> Response:
    with service.store.read() as database:
        found, total = list_entries(database, wanted, page=page, size=size)
    return json_response(page_of([asdict(entry) for entry in found], total, page, size))


def _actions(name: str | None) -> tuple[str, ...] | None:
    if name is None:
        return None
    found = matching_actions(name)
    if not found and not _BEGINNING.fullmatch(name):
        message = f"Must be one of: {', '.join(ACTIONS)}; or the beginning of one, and `*` after it."
        raise refuse_field(["query", "action"], message, "enum")
    return found


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "Must be a time with its zone, like 2026-11-23T12:30:00Z; in a query, a plus sign is written %2B."
        raise refuse_field(["query", name], message, "datetime_parsing") from None
