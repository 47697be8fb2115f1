"""`/connection`: create, change, list, read and delete connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.engine import Connection as DatabaseConnection

from connectory.api.bearer import ScopedRoute, actor, needs
from connectory.api.connection_items import CheckedItem, check_items
from connectory.api.errors import Refused
from connectory.api.jsonbody import json_response, parse_json, read_body
from connectory.api.openapi import KEY_PATTERN, answers, json_body
from connectory.api.paging import PageNumber, PageSize, page_of
from connectory.api.sealing import open_masked_document
from connectory.api.service import Service, service_of
from connectory.store import audit
from connectory.store.audit import AuditEntry
from connectory.store.bulk_save import SaveFailed, save_connections
from connectory.store.connections import KEY_PATTERN as KEY_GRAMMAR
from connectory.store.connections import StoredConnection as Connection
from connectory.store.connections import delete, find_similar_key, get_by_key
from connectory.store.envelopes import load_envelopes, load_tokens
from connectory.store.listing import Filters, TestStatus, list_connections
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable

router = APIRouter(prefix="/api/v1", tags=["Connections"], route_class=ScopedRoute)

ConnectionKey = Annotated[
    str,
    Path(
        description="The connection's key; case-sensitive.",
        examples=["application_postgresql_db"],
        json_schema_extra={"pattern": KEY_PATTERN, "minLength": 1, "maxLength": 200},
    ),
]

ITEM_EXAMPLE = {
    "name": "Application PostgreSQL DB",
    "key": "application_postgresql_db",
    "description": None,
    "connection_type": "postgres",
    "access": "read",
    "created_at": "2022-06-16T22:20:24.972539+00:00",
    "updated_at": "2022-06-16T22:20:24.972539+00:00",
    "disabled": False,
    "last_test_timestamp": None,
    "last_test_succeeded": None,
}
_REQUEST_EXAMPLES = {
    "PostgreSQL": [
        {
            "name": "Application PostgreSQL DB",
            "key": "application_postgresql_db",
            "connection_type": "postgres",
            "access": "read",
        }
    ],
    "Manual": [
        {
            "name": "Manual connector",
            "key": "manual_connector",
            "connection_type": "manual",
            "access": "read",
            "disabled": False,
            "description": "Connector describing manual actions",
        }
    ],
}
_TEST_STATUS: dict[str, TestStatus] = {
    "passed": "passed",
    "succeeded": "passed",
    "true": "passed",
    "failed": "failed",
    "false": "failed",
    "untested": "untested",
}
_TestStatusWord = Literal["passed", "failed", "untested", "succeeded", "true", "false"]
_SYSTEM_TYPE = r"^[a-z][a-z0-9_-]{0,63}$"


def connection_item(connection: Connection) -> dict[str, Any]:
    """What lists show of a connection."""
    return {
        "name": connection.name,
        "key": connection.key,
        "description": connection.description,
        "connection_type": connection.connection_type,
        "access": connection.access,
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
        "disabled": connection.disabled,
        "last_test_timestamp": connection.last_test_timestamp,
        "last_test_succeeded": connection.last_test_succeeded,
    }


def find_connection(
    database: DatabaseConnection, key: str, missing: str = "No connection configuration found with key '{key}'."
) -> Connection:
    """The connection of this key.

    Args:
        missing: the message where there is none.

    Raises:
        Refused: 404; where a stored key differs only by case, `-` or `_`, it is named.
    """
    if not KEY_GRAMMAR.fullmatch(key):
        raise Refused(404, "No connection configuration found: a key has 1 to 200 letters, digits, '_', '.' or '-'.")
    found = get_by_key(database, key)
    if found is not None:
        return found
    similar = find_similar_key(database, key)
    hint = f" Did you mean '{similar}'?" if similar is not None else ""
    raise Refused(404, missing.format(key=key) + hint)


@router.get(
    "/connection",
    operation_id="listConnections",
    summary="List connections",
    responses=answers(
        401,
        403,
        422,
        503,
        ok=(200, "ConnectionPage", {"items": [ITEM_EXAMPLE], "total": 1, "page": 1, "size": 50, "pages": 1}),
    ),
    openapi_extra=needs("connection:read"),
)
def list_all(
    request: Request,
    search: Annotated[
        str, Query(max_length=500, description="Part of the name, key or description, in any case.")
    ] = "",
    connection_type: Annotated[list[str], Query(max_length=100, description="Of any of these types.")] = [],  # noqa: B006
    disabled: Annotated[bool | None, Query(description="Only disabled, or only enabled ones.")] = None,
    test_status: Annotated[_TestStatusWord | None, Query(description="By the last test.")] = None,
    testing_status: Annotated[_TestStatusWord | None, Query(description="Alias of `test_status`.")] = None,
    system_type: Annotated[
        str | None, Query(pattern=_SYSTEM_TYPE, description="`database`, `saas`, `manual`, or a plugin's own word.")
    ] = None,
    system_status: Annotated[str | None, Query(pattern=_SYSTEM_TYPE, description="Alias of `system_type`.")] = None,
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """All filters must hold. Ordered by name, then key."""
    words = {_TEST_STATUS[word] for word in (test_status, testing_status) if word is not None}
    kinds = {kind for kind in (system_type, system_status) if kind is not None}
    if len(words) > 1 or len(kinds) > 1:  # a filter and its alias that differ: nothing is both
        return json_response(page_of([], 0, page, size))
    filters = Filters(
        connection_types=[word.lower() for word in connection_type],
        system_types=list(kinds),
        disabled=disabled,
        test_status=words.pop() if words else None,
        search=search or None,
    )
    with service_of(request).store.read() as database:
        found, total = list_connections(database, filters, page=page, size=size)
    return json_response(page_of([connection_item(row) for row in found], total, page, size))


@router.patch(
    "/connection",
    operation_id="saveConnections",
    summary="Create and change connections, up to 50 at once",
    responses=answers(
        401, 403, 409, 413, 415, 422, 503, ok=(200, "ConnectionsSaved", {"succeeded": [ITEM_EXAMPLE], "failed": []})
    ),
    openapi_extra=needs("connection:create_or_update") | json_body("ConnectionItems", _REQUEST_EXAMPLES),
)
async def save_all(request: Request) -> Response:
    """A malformed item fails the whole request, and nothing is stored; what the store refuses is listed in `failed`.

    A key that is stored is changed in the members that are given; a new one is created. `secrets` are validated as by
    `PUT /connection/{connection_key}/secret`, and not tested.
    """
    body = await read_body(request)
    return await run_in_threadpool(_save, service_of(request), body, actor(request))


def _save(service: Service, body: bytes, who: tuple[str, str]) -> Response:
    payload = parse_json(body)
    now = utc_now()
    with service.store.write() as database:
        items = check_items(service, database, payload)
        outcomes = save_connections(database, [item.save for item in items], now=now)
        succeeded, failed, trail = [], [], []
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, SaveFailed):
                failed.append({"message": _failure(outcome), "data": _echo(item)})
                continue
            connection = outcome.connection
            succeeded.append(connection_item(connection))
            action = "created" if outcome.created else "updated"
            kid = connection.secrets_kid if "secrets" in outcome.changed else None
            trail.append(
                AuditEntry(now, who[0], action, connection.id, connection.key, outcome.changed, kid, None, who[1])
            )
        audit.append(database, *trail)
    return json_response({"succeeded": succeeded, "failed": failed})


def _failure(failed: SaveFailed) -> str:
    match failed.reason:
        case "key_exists":
            return (
                f"Key {failed.key} already exists in ConnectionConfig. Keys will be snake-cased names if not provided. "
                "If you are seeing this error without providing a key, please provide a key or a different name."
            )
        case "type_fixed":
            return (
                f"The connection '{failed.key}' is of type '{failed.stored_type}', which cannot change; "
                "use another key, or delete it first."
            )
        case _:
            return "The name gives no valid key in snake case; please provide a key."


def _echo(item: CheckedItem) -> dict[str, Any]:
    given: Mapping[str, Any] = item.save.fields
    return {
        "name": given.get("name"),
        "key": item.save.key,
        "connection_type": item.save.connection_type,
        "access": given.get("access", item.stored.access if item.stored else "read"),
        "disabled": given.get("disabled", False),
        "description": given.get("description"),
    }


@router.get(
    "/connection/{connection_key}",
    operation_id="getConnection",
    summary="Read one connection, with its secrets masked",
    responses=answers(
        401,
        403,
        404,
        422,
        503,
        ok=(
            200,
            "ConnectionDetail",
            ITEM_EXAMPLE
            | {
                "secrets": {"host": "db.example", "dbname": "app", "username": "reader", "password": "**********"},
                "secrets_state": "stored",
                "authorized": False,
            },
        ),
    ),
    openapi_extra=needs("connection:read"),
)
def get_one(request: Request, connection_key: ConnectionKey) -> Response:
    """Sensitive values read as `**********`; sent back, that means unchanged. Secrets are never decrypted for this.

    `authorized`: a person has consented, by `GET /connection/{connection_key}/authorize`, and the secrets are still the same.
    """
    service = service_of(request)
    with service.store.read() as database:
        connection = find_connection(database, connection_key)
        _, masked, _ = load_envelopes(database, connection.id) if connection.has_secrets else (None, None, 0)
        connector = service.catalog.get(connection.connection_type)
        consents = connector is not None and connector.asks_for_consent
        authorized = consents and load_tokens(database, connection.id) is not None
    secrets, state = None, "absent"
    if masked is not None:
        try:
            secrets, state = open_masked_document(service.vault, connection, masked), "stored"
        except EnvelopeUnreadable:
            state = "unreadable"
    shown = {"secrets": secrets, "secrets_state": state, "authorized": authorized}
    return json_response(connection_item(connection) | shown)


@router.delete(
    "/connection/{connection_key}",
    operation_id="deleteConnection",
    summary="Delete a connection, its secrets and its datasets",
    status_code=204,
    responses=answers(401, 403, 404, 422, 503, ok=(204, None, None)),
    openapi_extra=needs("connection:delete"),
)
def delete_one(request: Request, connection_key: ConnectionKey) -> Response:
    """Cannot be undone."""
    client, request_id = actor(request)
    with service_of(request).store.write() as database:
        connection = find_connection(database, connection_key)
        delete(database, connection.id)
        entry = AuditEntry(utc_now(), client, "deleted", connection.id, connection.key, request_id=request_id)
        audit.append(database, entry)
    return Response(status_code=204)
