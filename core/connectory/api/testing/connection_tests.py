"""`/connection/{key}/test`: test a stored connection."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import NO_STORE
from connectory.api.http.errors import PROTECTED, errors
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.testing.event_stream import EVENTS, answer_test
from connectory.api.testing.rights import with_rights
from connectory.api.testing.test_runs import TestResult, run_test, unless_abandoned
from connectory.checks.progress import Observer
from connectory.checks.report import CheckReport
from connectory.store.connections import StoredConnection
from connectory.store.envelopes import has_tokens, load_envelopes

router = Router(prefix="/api/v1", tags=["Tests"], responses=PROTECTED)


@router.get(
    "/connection/{connection_key}/test",
    operation_id="testConnection",
    summary="Test a connection",
    dependencies=[needs("connection:read")],
    response_model=TestResult,
    responses=errors(404, 429) | EVENTS,
)
@router.post(
    "/connection/{connection_key}/test",
    operation_id="testConnectionByPost",
    summary="Test a connection (the same as GET)",
    dependencies=[needs("connection:read")],
    response_model=TestResult,
    responses=errors(404, 429) | EVENTS,
)
async def connection_test(
    request: Request,
    connection_key: ConnectionKey,
    privileges: Annotated[
        bool, Query(description="Also say whether the account may do what the connection is for, and no more.")
    ] = False,
) -> Response:
    """Makes a trivial request to the system behind the connection, and always answers by the deadline.

    `failure_code` is one of a closed set. The verdict is stored, unless the secrets were changed in the meantime, or it says
    nothing about the connection: its connector, its driver or its key is missing here, or the service itself failed.

    With `privileges`, a test that succeeded has one more step of that name, and its answer an `access_report`, as that of a
    discovery. Nothing is tried out, no verdict changes, and the finding is `unknown` where the system does not tell.

    With `Accept: text/event-stream`, each step is told when it begins and ends, and this answer follows as the last event.
    """
    service = service_of(request)
    connection, envelope, holds_tokens = await service.threads.read(_load, service, connection_key)
    if request.scope["bodiless"]:  # HEAD is safe (RFC 9110 §9.2.1): nothing is tested for it
        return Response(headers=NO_STORE)
    message = f"Test completed for ConnectionConfig with key: {connection.key}."

    async def test(observer: Observer | None) -> CheckReport:
        report = await run_test(request, connection, envelope, has_tokens=holds_tokens, observer=observer)
        if not privileges:
            return report
        client = actor(request).id
        return await unless_abandoned(request, with_rights(service, connection, envelope, report, client, observer))

    return await answer_test(request, message, test)


def _load(service: Service, key: str) -> tuple[StoredConnection, str | None, bool]:
    with service.store.read() as database:
        connection = find_connection(database, key)
        if not connection.has_secrets:
            return connection, None, False
        return connection, load_envelopes(database, connection.id)[0], has_tokens(database, connection.id)
