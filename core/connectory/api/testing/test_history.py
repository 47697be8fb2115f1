"""`/connection/{key}/test_history`: the last tests of a connection, and how each ended."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import json_response
from connectory.api.http.errors import PROTECTED, errors
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.testing.test_reports import RecordedTest, recorded_test
from connectory.store.test_history import list_tests

router = Router(prefix="/api/v1", tags=["Tests"], responses=PROTECTED)


class PastTest(RecordedTest):
    """A test that was recorded, with who asked for it, and which secrets it was of."""

    actor: Annotated[str, Field(description="The id of the client that asked for it.", examples=["backoffice"])]
    secrets_version: Annotated[
        int,
        Field(
            description="Which secrets were tested: 1 were the first that were stored, 2 the next. 0: there were none.",
            ge=0,
            examples=[1],
        ),
    ]


class PastTestPage(Page[PastTest]):
    """The last tests of a connection, newest first."""


@router.get(
    "/connection/{connection_key}/test_history",
    operation_id="listPastTests",
    summary="List the last tests of a connection",
    dependencies=[needs("connection:read")],
    response_model=PastTestPage,
    responses=errors(404),
)
async def list_all(
    request: Request, connection_key: ConnectionKey, page: PageNumber = 1, size: PageSize = 50
) -> Response:
    """Newest first; the last 100 are kept, those of earlier secrets too.

    A test that says nothing about the connection is not kept: it was skipped, or its connector, its driver or its key is missing
    here, or the service itself failed.
    """
    service = service_of(request)
    return await service.threads.read(_list, service, connection_key, page, size)


def _list(service: Service, key: str, page: int, size: int) -> Response:
    with service.store.read() as database:
        connection = find_connection(database, key)
        found, total = list_tests(database, connection.id, page=page, size=size)
    shown = [
        recorded_test(key, test.at, test.report) | {"actor": test.actor, "secrets_version": test.secrets_version}
        for test in found
    ]
    return json_response(page_of(shown, total, page, size))
