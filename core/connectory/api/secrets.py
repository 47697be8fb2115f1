"""`/connection/{key}/secret`: set the secrets of a connection, and test them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from connectory.api.bearer import ScopedRoute, actor, needs
from connectory.api.connection_tests import RESULT_EXAMPLE, run_test, test_result
from connectory.api.connections import ConnectionKey, find_connection
from connectory.api.errors import Refused
from connectory.api.jsonbody import json_response, parse_json, read_body
from connectory.api.openapi import answers, json_body
from connectory.api.sealing import (
    holds_mask,
    problems_of,
    seal_document,
    stored_document,
    usable_connector,
    validated,
)
from connectory.api.service import Service, service_of
from connectory.documents.validation import SecretsInvalid
from connectory.store import audit
from connectory.store.audit import AuditEntry
from connectory.store.connections import StoredConnection as Connection
from connectory.store.connections import store_secrets
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now

router = APIRouter(prefix="/api/v1", tags=["Secrets"], route_class=ScopedRoute)

Verify = Annotated[bool, Query(description="Test the connection with the new secrets.")]

_EXAMPLES = {
    "Parts": {
        "host": "host.docker.internal",
        "port": 5432,
        "dbname": "postgres_example",
        "username": "postgres",
        "password": "postgres",
    },
    "Url": {"url": "mongodb://mongo_user:mongo_pass@mongodb_example/mongo_test"},
}
_RESPONSES = answers(
    401,
    403,
    404,
    409,
    413,
    415,
    422,
    429,
    503,
    ok=(
        200,
        "TestResult",
        RESULT_EXAMPLE | {"msg": "Secrets updated for ConnectionConfig with key: app_postgres_db."},
    ),
)
_ATTEMPTS = 20
"""How often a merge starts again because somebody else stored secrets in between."""


@router.put(
    "/connection/{connection_key}/secret",
    operation_id="putSecrets",
    summary="Set the secrets of a connection",
    responses=_RESPONSES,
    openapi_extra=needs("connection:create_or_update") | json_body("Secrets", _EXAMPLES),
)
async def put_secrets(request: Request, connection_key: ConnectionKey, verify: Verify = True) -> Response:
    """Replaces what is stored. The secrets are stored even if the test then fails: see `test_status`.

    A value read back as `**********` and sent again means unchanged.
    """
    return await _set(request, connection_key, verify=verify, replace=True)


@router.patch(
    "/connection/{connection_key}/secret",
    operation_id="patchSecrets",
    summary="Change some of the secrets of a connection",
    responses=_RESPONSES,
    openapi_extra=needs("connection:create_or_update") | json_body("Secrets", {"Password": {"password": "new"}}),
)
async def patch_secrets(request: Request, connection_key: ConnectionKey, verify: Verify = True) -> Response:
    """Merges into what is stored; `null` removes a field.

    Where a field changes that decides where the secrets are sent, the sensitive ones must be sent again.
    """
    return await _set(request, connection_key, verify=verify, replace=False)


async def _set(request: Request, key: str, *, verify: bool, replace: bool) -> Response:
    service, who = service_of(request), actor(request)
    body = await read_body(request)
    connection, envelope = await run_in_threadpool(_store, service, key, body, who, replace=replace)
    report = await run_test(request, connection, envelope) if verify else None
    message = f"Secrets updated for ConnectionConfig with key: {connection.key}."
    return json_response(test_result(message, report), headers={"Cache-Control": "no-store"})


def _store(service: Service, key: str, body: bytes, who: tuple[str, str], *, replace: bool) -> tuple[Connection, str]:
    for _ in range(_ATTEMPTS):
        stored = _store_once(service, key, body, who, replace=replace)
        if stored is not None:
            return stored
    raise Refused(409, "The secrets are being changed by others at the same time; try again.")


def _store_once(
    service: Service, key: str, body: bytes, who: tuple[str, str], *, replace: bool
) -> tuple[Connection, str] | None:
    with service.store.read() as database:
        connection = find_connection(database, key)  # before the body is looked at: 404 wins over 422
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
    connector = usable_connector(service.catalog, connection)
    payload = parse_json(body)
    builds_on_stored = not replace or holds_mask(payload)
    before = stored_document(service.vault, connection, envelope) if builds_on_stored else None
    try:
        document = validated(connector, payload, before, replace=replace)
    except SecretsInvalid as error:
        raise Refused(422, problems_of(error, connector)) from None
    sealed = seal_document(service.vault, connector, connection.id, document)
    now = utc_now()
    with service.store.write() as database:
        expected = connection.secrets_version if builds_on_stored else None
        saved = store_secrets(database, connection.id, sealed, now=now, expected_secrets_version=expected)
        if saved is None:
            return None
        repairs = connection.secrets_kid is not None and connection.secrets_kid not in service.vault.ring.kids()
        action = "secrets_repaired" if repairs else "secrets_set"
        names = sorted(_names(payload, document))
        audit.append(database, AuditEntry(now, who[0], action, saved.id, saved.key, names, sealed.kid, None, who[1]))
    return saved, sealed.secrets


def _names(payload: Any, document: dict[str, Any]) -> set[str]:
    """The fields that were sent; they are names of the schema, since the document was valid."""
    return {name for name, value in payload.items() if value is None or name in document}
