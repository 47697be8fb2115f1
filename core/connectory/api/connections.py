"""`/connection`: create, change, list, read and delete connections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.engine import Connection

from connectory.api.answers import json_response
from connectory.api.bearer import actor, needs
from connectory.api.bodies import JsonBody, parse_json
from connectory.api.connection_items import CheckedItem, check_items
from connectory.api.connection_shapes import (
    REQUEST_EXAMPLES,
    ConnectionDetail,
    ConnectionItems,
    ConnectionPage,
    ConnectionsSaved,
    FailedConnection,
    connection_item,
)
from connectory.api.errors import PROTECTED, errors
from connectory.api.lookup import ConnectionKey, find_connection
from connectory.api.paging import PageNumber, PageSize, page_of
from connectory.api.sealing import open_masked_document
from connectory.api.service import Service, service_of
from connectory.store import audit
from connectory.store.audit import AuditEntry
from connectory.store.bulk_save import SaveFailed, save_connections
from connectory.store.connections import delete, load_last_test
from connectory.store.envelopes import load_envelopes, load_tokens
from connectory.store.listing import Filters, TestStatus, list_connections
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable

router = APIRouter(prefix="/api/v1", tags=["Connections"], responses=PROTECTED)

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


@router.get(
    "/connection",
    operation_id="listConnections",
    summary="List connections",
    dependencies=[needs("connection:read")],
    response_model=ConnectionPage,
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
    dependencies=[needs("connection:create_or_update")],
    response_model=ConnectionsSaved,
    responses=errors(409, 413, 415),
)
async def save_all(
    request: Request, body: Annotated[bytes, Depends(JsonBody(ConnectionItems, REQUEST_EXAMPLES))]
) -> Response:
    """A malformed item fails the whole request, and nothing is stored; what the store refuses is listed in `failed`.

    A key that is stored is changed in the members that are given; a new one is created. `secrets` are validated as by
    `PUT /connection/{connection_key}/secret`, and not tested.
    """
    return await run_in_threadpool(_save, service_of(request), body, actor(request))


def _save(service: Service, body: bytes, who: tuple[str, str]) -> Response:
    payload = parse_json(body)

    def save(database: Connection) -> Response:
        now = utc_now()
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

    return service.store.write_again(save)


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
    defaults = {"access": item.stored.access if item.stored else "read", "disabled": False}
    given = {**item.save.fields, "key": item.save.key, "connection_type": item.save.connection_type}
    return {name: given.get(name, defaults.get(name)) for name in FailedConnection.model_fields}


@router.get(
    "/connection/{connection_key}",
    operation_id="getConnection",
    summary="Read one connection, with its secrets masked",
    dependencies=[needs("connection:read")],
    response_model=ConnectionDetail,
    responses=errors(404),
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
        last_test = load_last_test(database, connection.id)
        authorized = consents and load_tokens(database, connection.id) is not None
    secrets, state = None, "absent"
    if masked is not None:
        try:
            secrets, state = open_masked_document(service.vault, connection, masked), "stored"
        except EnvelopeUnreadable:
            state = "unreadable"
    shown = {"secrets": secrets, "secrets_state": state, "authorized": authorized, "last_test": _last_test(last_test)}
    return json_response(connection_item(connection) | shown)


def _last_test(stored: str | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    report = orjson.loads(stored)
    return {"test_status": report["status"], "failure_code": report["code"], "steps": report["steps"]}


@router.delete(
    "/connection/{connection_key}",
    operation_id="deleteConnection",
    summary="Delete a connection, its secrets and its datasets",
    dependencies=[needs("connection:delete")],
    status_code=204,
    responses=errors(404),
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
