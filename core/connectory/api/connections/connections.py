"""`/connection`: create, change, list, read and delete connections."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from sqlalchemy.engine import Connection

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.connections.connection_health import health_of, usable_kids
from connectory.api.connections.connection_items import CheckedItem, ParsedItems, check_items, parse_items
from connectory.api.connections.connection_shapes import (
    REQUEST_EXAMPLES,
    ConnectionDetail,
    ConnectionItems,
    ConnectionPage,
    ConnectionsSaved,
    FailedConnection,
    connection_item,
)
from connectory.api.http.answers import json_response
from connectory.api.http.bodies import JsonBody, parse_json
from connectory.api.http.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.http.paging import PageNumber, PageSize, page_of
from connectory.api.http.preconditions import SHOWS_TAG, IfMatch, IfNoneMatch, entity_tag, is_known, require_match
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection, find_detail
from connectory.api.stored.sealing import open_masked_document
from connectory.api.testing.test_reports import recorded_test
from connectory.contract.check import FailureCode
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.bulk_save import SaveFailed, Superseded, save_connections
from connectory.store.connections import StoredConnection, delete, find_by_keys, lock_by_keys
from connectory.store.envelopes import those_with_tokens
from connectory.store.listing import Filters, Sort, TestStatus, list_connections
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable

router = Router(prefix="/api/v1", tags=["Connections"], responses=PROTECTED)

_TEST_STATUS: dict[str, TestStatus] = {
    "passed": "passed",
    "succeeded": "passed",
    "true": "passed",
    "failed": "failed",
    "false": "failed",
    "untested": "untested",
}
_TestStatusWord = Literal["passed", "failed", "untested", "succeeded", "true", "false"]
_ATTEMPTS = 20
"""How often a request starts again because others created, deleted or changed its connections in between."""
_ONE_STATEMENT = Filters(), "name"
_SYSTEM_TYPE = r"^[a-z][a-z0-9_-]{0,63}$"


@router.get(
    "/connection",
    operation_id="listConnections",
    summary="List connections",
    dependencies=[needs("connection:read")],
    response_model=ConnectionPage,
)
async def list_all(
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
    failure_code: Annotated[
        list[FailureCode], Query(description="The last test failed, with any of these codes.")
    ] = [],  # noqa: B006
    connector: Annotated[
        Literal["missing"] | None, Query(description="Only those of types that this node has no connector of.")
    ] = None,
    secrets: Annotated[
        Literal["unreadable"] | None, Query(description="Only those with secrets of keys that this node cannot use.")
    ] = None,
    expand: Annotated[Literal["health"] | None, Query(description="Show of each how it is, as `health`.")] = None,
    sort: Annotated[Sort, Query(description="`-` descends. What was never tested comes last.")] = "name",
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """All filters must hold. Connections of the same value are ordered by key, in the same direction."""
    words = {_TEST_STATUS[word] for word in (test_status, testing_status) if word is not None}
    kinds = {kind for kind in (system_type, system_status) if kind is not None}
    if len(words) > 1 or len(kinds) > 1:  # a filter and its alias that differ: nothing is both
        return json_response(page_of([], 0, page, size))
    service = service_of(request)
    filters = Filters(
        connection_types=tuple(word.lower() for word in connection_type),
        system_types=tuple(kinds),
        disabled=disabled,
        test_status=words.pop() if words else None,
        failure_codes=tuple(failure_code),
        other_types_than=service.catalog.connectors.keys() if connector else None,
        other_keys_than=usable_kids(service) if secrets else None,
        search=search or None,
    )
    return await service.threads.read(_list, service, filters, sort, page, size, expand == "health")


def _list(service: Service, filters: Filters, sort: Sort, page: int, size: int, with_health: bool) -> Response:
    # All else may take several, which have to see one state.
    at_once = (filters, sort) == _ONE_STATEMENT and not with_health
    with service.store.look() if at_once else service.store.read() as database:
        found, total = list_connections(database, filters, sort=sort, page=page, size=size)
        authorized = those_with_tokens(database, [row.id for row in found]) if with_health else frozenset()
    items = [connection_item(row) for row in found]
    if with_health:
        for item, health in zip(items, health_of(service, found, authorized), strict=True):
            item["health"] = health
    return json_response(page_of(items, total, page, size))


@router.patch(
    "/connection",
    operation_id="saveConnections",
    summary="Create and change connections, up to 50 at once",
    response_model=ConnectionsSaved,
    responses=errors(409, 412, 413, 415),
)
async def save_all(
    request: Request,
    body: Annotated[bytes, needs("connection:create_or_update", JsonBody(ConnectionItems, REQUEST_EXAMPLES))],
    if_match: IfMatch = None,
) -> Response:
    """A malformed item fails the whole request, and nothing is stored; what the store refuses is listed in `failed`.

    A key that is stored is changed in the members that are given; a new one is created. `secrets` are validated as by
    `PUT /connection/{connection_key}/secret`, and not tested. `If-Match` goes with exactly one item.
    """
    service = service_of(request)
    return await service.threads.write(_save, service, body, actor(request), if_match)


def _save(service: Service, body: bytes, who: Actor, if_match: str | None) -> Response:
    parsed = parse_items(parse_json(body))
    if if_match is not None and len(parsed.items) != 1:
        message = "An ETag is of one connection; send exactly one item with this header."
        raise refuse_field(["header", "If-Match"], message, "one_item")
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(Superseded):
            return _save_once(service, parsed, who, if_match)
    raise Refused(409, "The connections are being changed by others at the same time; try again.")


def _save_once(service: Service, parsed: ParsedItems, who: Actor, if_match: str | None) -> Response:
    # Validating, importing a plugin for that, and sealing take their time, and nobody waits for them at the database.
    with service.store.look() as database:
        seen = find_by_keys(database, {item.key for item in parsed.items if item and item.key is not None})
    if parsed.items != [None]:  # which is a 422
        require_match(if_match, next(iter(seen.values()), None))
    checked = check_items(service, parsed, seen)

    def save(database: Connection) -> Response:
        now = utc_now()
        items = [item.save for item in checked]
        outcomes = save_connections(database, items, now=now, seen=seen, exactly=if_match is not None)
        succeeded, failed, trail = [], [], []
        for item, outcome in zip(checked, outcomes, strict=True):
            if isinstance(outcome, SaveFailed):
                failed.append({"message": _failure(outcome), "data": _echo(item)})
                continue
            connection = outcome.connection
            succeeded.append(connection_item(connection))
            trail.append(
                who.did(
                    "created" if outcome.created else "updated",
                    connection,
                    outcome.changed,
                    result_code="200",
                    at=now,
                    kid=connection.secrets_kid if "secrets" in outcome.changed else None,
                )
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
        case "key_reserved":
            return (
                f"The key '{failed.key}' cannot be given to a connection: GET /connection/{failed.key} answers something else; "
                "use another key, or another name."
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
    responses=errors(404) | SHOWS_TAG,
)
async def get_one(request: Request, connection_key: ConnectionKey, if_none_match: IfNoneMatch = None) -> Response:
    """Sensitive values read as `**********`; sent back, that means unchanged. Secrets are never decrypted for this.

    `authorized`: a person has consented, by `GET /connection/{connection_key}/authorize`, and the secrets are still the same.
    """
    service = service_of(request)
    return await service.threads.read(_get, service, connection_key, if_none_match)


def _get(service: Service, key: str, if_none_match: str | None) -> Response:
    with service.store.look() as database:
        found = find_detail(database, key)
    secrets, state = None, "absent"
    if found.masked is not None:
        try:
            secrets, state = open_masked_document(service.vault, found.connection, found.masked), "stored"
        except EnvelopeUnreadable:
            state = "unreadable"
    kind, catalog = found.connection.connection_type, service.catalog
    connector = catalog.get(kind)
    shown = {
        "secrets": secrets,
        "secrets_state": state,
        "authorized": found.authorized and connector is not None and connector.asks_for_consent,
        "last_test": _last_test(found.connection, found.last_test),
        "connector_problem": (
            catalog.unavailable_reason(kind, found.connection.distribution) if connector is None else None
        ),
    }
    answer = json_response(connection_item(found.connection) | shown)
    tag = {"ETag": entity_tag(found.connection, bytes(answer.body))}
    if is_known(if_none_match, tag["ETag"]):
        return Response(None, 304, tag)
    answer.headers.update(tag)
    return answer


def _last_test(connection: StoredConnection, stored: str | None) -> dict[str, Any] | None:
    at = connection.last_test_timestamp
    return recorded_test(connection.key, at, stored) if at is not None and stored is not None else None


@router.delete(
    "/connection/{connection_key}",
    operation_id="deleteConnection",
    summary="Delete a connection, its secrets and its datasets",
    dependencies=[needs("connection:delete")],
    status_code=204,
    responses=errors(404, 412),
)
async def delete_one(request: Request, connection_key: ConnectionKey, if_match: IfMatch = None) -> Response:
    """Cannot be undone."""
    service = service_of(request)
    await service.threads.write(_delete, service, connection_key, actor(request), if_match)
    return Response(status_code=204)


def _delete(service: Service, key: str, who: Actor, if_match: str | None) -> None:
    with service.store.write() as database:
        if if_match is not None:
            lock_by_keys(database, [key])  # what is compared is what is deleted
        connection = find_connection(database, key)
        require_match(if_match, connection)
        delete(database, connection.id)
        audit.append(database, who.did("deleted", connection, result_code="204"))
