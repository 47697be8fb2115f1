"""`/connection/{key}/secret`: set the secrets of a connection, and test them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.connections.connection_shapes import Secrets
from connectory.api.http.bodies import JsonBody, parse_json
from connectory.api.http.errors import PROTECTED, Refused, errors
from connectory.api.http.preconditions import IfMatch, require_match
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.stored.sealing import (
    holds_mask,
    problems_of,
    seal_document,
    stored_document,
    usable_connector,
    validated,
)
from connectory.api.testing.test_runs import TestResult, run_test, test_response
from connectory.catalog.loaded import LoadedConnector
from connectory.documents.validation import Document, SecretsInvalid
from connectory.store import audit
from connectory.store.audit import Action, Actor
from connectory.store.connections import StoredConnection, store_secrets
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Secrets"], responses=PROTECTED)

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
_ERRORS = errors(404, 409, 412, 413, 415, 429)
ATTEMPTS = 20
"""How often a merge starts again because somebody else stored secrets in between."""


@router.put(
    "/connection/{connection_key}/secret",
    operation_id="putSecrets",
    summary="Set the secrets of a connection",
    response_model=TestResult,
    responses=_ERRORS,
)
async def put_secrets(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:create_or_update", JsonBody(Secrets, _EXAMPLES))],
    verify: Verify = True,
    if_match: IfMatch = None,
) -> Response:
    """Replaces what is stored. The secrets are stored even if the test then fails: see `test_status`.

    A value read back as `**********` and sent again means unchanged.
    """
    return await _set(request, connection_key, body, if_match, verify=verify, replace=True)


@router.patch(
    "/connection/{connection_key}/secret",
    operation_id="patchSecrets",
    summary="Change some of the secrets of a connection",
    response_model=TestResult,
    responses=_ERRORS,
)
async def patch_secrets(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:create_or_update", JsonBody(Secrets, {"Password": {"password": "new"}}))],
    verify: Verify = True,
    if_match: IfMatch = None,
) -> Response:
    """Merges into what is stored; `null` removes a field.

    Where a field changes that decides where the secrets are sent, the sensitive ones must be sent again.
    """
    return await _set(request, connection_key, body, if_match, verify=verify, replace=False)


async def _set(
    request: Request, key: str, body: bytes, if_match: str | None, *, verify: bool, replace: bool
) -> Response:
    service, who = service_of(request), actor(request)
    connection, envelope = await service.threads.write(_store, service, key, body, who, if_match, replace)
    report = await run_test(request, connection, envelope) if verify else None
    return test_response(f"Secrets updated for ConnectionConfig with key: {connection.key}.", report)


def _store(
    service: Service, key: str, body: bytes, who: Actor, if_match: str | None, replace: bool
) -> tuple[StoredConnection, str]:
    for _ in range(ATTEMPTS):
        stored = _store_once(service, key, body, who, if_match, replace=replace)
        if stored is not None:
            return stored
    raise Refused(409, "The secrets are being changed by others at the same time; try again.")


def _store_once(
    service: Service, key: str, body: bytes, who: Actor, if_match: str | None, *, replace: bool
) -> tuple[StoredConnection, str] | None:
    with service.store.look() as database:
        connection = find_connection(database, key)  # before the body is looked at: 404 wins over 422
    require_match(if_match, connection)
    connector = usable_connector(service.catalog, connection)
    payload = parse_json(body)
    document = document_meant(service, connection, connector, payload, replace=replace)
    if document is None:
        return None
    sealed = seal_document(service.vault, connector, connection.id, document)
    now = utc_now()
    with service.store.write() as database:
        saved = store_secrets(
            database,
            connection.id,
            sealed,
            now=now,
            expected_secrets_version=connection.secrets_version
            if _builds_on_stored(payload, replace=replace)
            else None,
            # The transaction itself compares what `If-Match` was compared with; if it differs, all begins again.
            expected_version=connection.version if if_match is not None else None,
        )
        if saved is None:
            return None
        repairs = connection.secrets_kid is not None and connection.secrets_kid not in service.vault.ring.kids()
        action: Action = "secrets_repaired" if repairs else "secrets_set"
        names = sorted(names_sent(payload, document))
        audit.append(database, who.did(action, saved, names, result_code="200", at=now, kid=sealed.kid))
    return saved, sealed.secrets


def document_meant(
    service: Service, connection: StoredConnection, connector: LoadedConnector, payload: Any, *, replace: bool
) -> Document | None:
    """The secrets that `payload` means for a stored connection; `None` where others stored secrets since it was looked up.

    Raises:
        Refused: 422, where they are not valid; 409, where they build on stored ones that cannot be opened.
    """
    before = None
    if _builds_on_stored(payload, replace=replace) and connection.has_secrets:
        with service.store.look() as database:
            envelope, _, version = load_envelopes(database, connection.id)
        if version != connection.secrets_version:
            return None
        before = stored_document(service.vault, connection, envelope)
    return document_of(connector, payload, before, replace=replace)


def document_of(connector: LoadedConnector, payload: Any, stored: Document | None, *, replace: bool) -> Document:
    """The same, given what is stored.

    Raises:
        Refused: 422, where they are not valid.
    """
    try:
        return validated(connector, payload, stored, replace=replace)
    except SecretsInvalid as error:
        raise Refused(422, problems_of(error)) from None


def _builds_on_stored(payload: Any, *, replace: bool) -> bool:
    return not replace or holds_mask(payload)


def names_sent(payload: Any, document: Document) -> set[str]:
    """The fields that were sent; they are names of the schema, since the document was valid."""
    return {name for name, value in payload.items() if value is None or name in document}
