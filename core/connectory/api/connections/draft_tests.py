"""`/connection_type/{type}/test` and `/validate`: try secrets that nobody has stored, and that nothing here stores."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.connections.connection_shapes import Key, Secrets
from connectory.api.connections.connection_types import TypeIdentifier
from connectory.api.connections.secrets import ATTEMPTS, document_meant, document_of, names_sent
from connectory.api.http.answers import Answer
from connectory.api.http.bodies import JsonBody, parse_json
from connectory.api.http.errors import PROTECTED, Refused, errors, rebuild, refuse_field
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import find_connection, unknown_type
from connectory.api.stored.sealing import usable_connector
from connectory.api.testing.event_stream import EVENTS, answer_test
from connectory.api.testing.probes import of_connection, probe
from connectory.api.testing.test_runs import (
    TestResult,
    count,
    refuse_too_often,
    unless_abandoned,
)
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.progress import Observer
from connectory.checks.report import CheckReport
from connectory.documents.validation import Document, FieldProblem
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection

router = Router(prefix="/api/v1", responses=PROTECTED)

_EXAMPLES = {
    "New": {"secrets": {"host": "db.example", "dbname": "app", "username": "reader", "password": "tiger-lily"}},
    "Changed": {
        "secrets": {"host": "db.example", "dbname": "crm", "username": "reader", "password": "**********"},
        "connection_key": "application_postgresql_db",
    },
}


class DraftSecrets(BaseModel):
    """Secrets to try, of which nothing is stored."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    secrets: Secrets
    connection_key: Annotated[
        Key | None,
        Field(
            description="A connection of this type. A value that is sent as `**********` is then the one that it has."
        ),
    ] = None


class DraftValid(Answer):
    """The secrets can be stored."""

    valid: Literal[True]


@dataclass(frozen=True)
class _Draft:
    """Secrets to try, and the connection whose masked values are in them."""

    connector: LoadedConnector
    connection: StoredConnection | None
    document: Document = field(repr=False)
    names: list[str]


_BODY = needs("connection:create_or_update", JsonBody(DraftSecrets, _EXAMPLES))
_ERRORS = errors(404, 409, 413, 415)


@router.post(
    "/connection_type/{connection_type}/validate",
    operation_id="validateSecrets",
    summary="Check secrets without storing them",
    tags=["Secrets"],
    response_model=DraftValid,
    responses=_ERRORS,
)
async def validate_secrets(
    request: Request, connection_type: TypeIdentifier, body: Annotated[bytes, _BODY]
) -> DraftValid:
    """Tells what `PUT /connection/{connection_key}/secret` would tell, and connects to nothing."""
    service = service_of(request)
    await service.threads.read(_draft, service, connection_type, body)
    return DraftValid(valid=True)


@router.post(
    "/connection_type/{connection_type}/test",
    operation_id="testSecrets",
    summary="Test secrets without storing them",
    tags=["Tests"],
    response_model=TestResult,
    responses=_ERRORS | errors(429) | EVENTS,
)
async def test_secrets(request: Request, connection_type: TypeIdentifier, body: Annotated[bytes, _BODY]) -> Response:
    """Runs as a test of a stored connection does, without tokens of a consent. Only the audit trail tells of it."""
    service = service_of(request)
    draft = await service.threads.read(_draft, service, connection_type, body)
    message = f"Test completed for secrets of connection type: {draft.connector.identifier}."
    return await answer_test(request, message, lambda observer: _run(request, draft, observer))


def _draft(service: Service, connection_type: str, body: bytes) -> _Draft:
    connector = service.catalog.get(connection_type)
    if connector is None:
        raise unknown_type(service.catalog, connection_type)
    given = _given(body)
    payload = given.secrets.root
    if given.connection_key is None:
        document = document_of(connector, payload, None, replace=True)
        return _Draft(connector, None, document, sorted(names_sent(payload, document)))
    for _ in range(ATTEMPTS):
        connection = _connection(service, given.connection_key, connection_type)
        connector = usable_connector(service.catalog, connection)
        meant = document_meant(service, connection, connector, payload, replace=True)
        if meant is not None:
            return _Draft(connector, connection, meant, sorted(names_sent(payload, meant)))
    raise Refused(409, "The secrets are being changed by others at the same time; try again.")


def _given(body: bytes) -> DraftSecrets:
    try:
        return DraftSecrets.model_validate(parse_json(body))
    except ValidationError as error:
        raise Refused(
            422, [_problem(found) for found in error.errors(include_url=False, include_input=False)]
        ) from None


def _problem(error: Mapping[str, Any]) -> FieldProblem:
    if error["type"] == "extra_forbidden":
        message = "Holds a member that is not known. Known: secrets, connection_key."
        return FieldProblem(loc=["body"], msg=message, type=error["type"])
    return rebuild([error], ["body"])[0]


def _connection(service: Service, key: str, connection_type: str) -> StoredConnection:
    with service.store.look() as database:
        connection = find_connection(database, key)
    if connection.connection_type != connection_type:
        message = f"The connection is of type '{connection.connection_type}'; test it as that."
        raise refuse_field(["body", "connection_key"], message, "type_fixed")
    return connection


async def _run(request: Request, draft: _Draft, observer: Observer | None) -> CheckReport:
    service, who = service_of(request), actor(request)
    refuse_too_often(service, who)
    # Never with the tokens of the connection: they are for the secrets that are stored, and a provider may replace them.
    test = probe(service, draft.connector, object(), lambda: draft.document, client=who.id, observer=observer)
    try:
        report = await unless_abandoned(request, test)
    except Refused as refused:
        if refused.status == 499:  # whoever leaves has tried something nevertheless
            await service.threads.write(_record, service, draft, who, "499")
        raise
    if draft.connection is not None:
        report = of_connection(report, draft.connection)
    count(service, draft.connector.identifier, report, who)
    await service.threads.write(_record, service, draft, who, report.code or report.status)
    return report


def _record(service: Service, draft: _Draft, who: Actor, result: str) -> None:
    details = {"connection_type": draft.connector.identifier}
    entry = who.did("draft_tested", draft.connection, draft.names, result_code=result, details=details)
    with service.store.write() as database:
        audit.append(database, entry)
