"""`/connection/{key}/dataset/{fides_key}/check`: whether a dataset still fits what its connection holds."""

from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.datasets.check_runs import run_check
from connectory.api.datasets.datasets import MISSING_CONNECTION, FidesKey, no_dataset
from connectory.api.datasets.discovery import connector_of
from connectory.api.datasets.discovery_runs import Subject
from connectory.api.datasets.discovery_shapes import DiscoveryRequest
from connectory.api.http.answers import NO_STORE, Answer, json_response
from connectory.api.http.errors import PROTECTED, Refused, errors
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.testing.test_runs import FailureFields, RetryAfter, refuse_too_often
from connectory.drift.codes import Code
from connectory.drift.findings import MOST_FINDINGS
from connectory.store.connections import StoredConnection
from connectory.store.datasets import get
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Discovery"], responses=PROTECTED)


class DriftFinding(BaseModel):
    """One thing that does not fit."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[Code, Field(examples=["field_missing"])]
    severity: Annotated[
        Literal["error", "warning"],
        Field(description="`error`: requests fail, or do the wrong thing; `warning`: they may miss something."),
    ]
    collection: Annotated[str, Field(examples=["customer"])]
    field: Annotated[
        str | list[str] | None,
        Field(
            description="Its names, with dots between them; a list where a name holds a dot. Not there where the finding is "
            "about the collection.",
            examples=["nickname"],
        ),
    ] = None
    message: Annotated[str, Field(examples=["The table has no field 'nickname'."])]
    remedy: Annotated[str, Field(examples=["Remove it from the dataset, or restore the field."])]


class DatasetCheck(Answer):
    """Whether a dataset still fits. Where that could not be found out, there is no coverage, and a reason."""

    status: Annotated[Literal["complete", "failed"], Field(examples=["complete"])]
    coverage: Annotated[
        int | None,
        Field(
            description="Of the fields that are there, how many the dataset has, in percent: 100 only for all of them.",
            ge=0,
            le=100,
            examples=[93],
        ),
    ]
    ok: Annotated[bool, Field(description="Whether it was found out, and nothing was found.", examples=[False])]
    counts: Annotated[
        dict[Code, int],
        Field(description="How many findings there are of each code that was found.", examples=[{"field_missing": 1}]),
    ]
    findings: Annotated[
        list[DriftFinding],
        Field(
            max_length=MOST_FINDINGS,
            description="The first ones; where not all have room, errors come before warnings.",
        ),
    ]
    findings_left_out: Annotated[
        int, Field(description="How many more there are than `findings` has room for.", ge=0, examples=[0])
    ]
    failure_code: Annotated[str | None, Field(description="Why it failed, as of a discovery.", examples=[None])]
    failure_reason: Annotated[str | None, Field(examples=[None])]
    failure_fields: FailureFields
    retry_after: RetryAfter


@router.post(
    "/connection/{connection_key}/dataset/{fides_key}/check",
    operation_id="checkDataset",
    summary="Compare a dataset with what its connection holds",
    dependencies=[needs("dataset:read"), needs("connection:read")],
    response_model=DatasetCheck,
    responses=errors(404, 409, 429),
)
async def check(request: Request, connection_key: ConnectionKey, fides_key: FidesKey) -> Response:
    """Opens a session, asks the system what there is in the dataset's schema, and compares. Nothing is stored or written.

    The answer is there after `CONNECTORY_DISCOVERY_DEADLINE` at the latest. Where the connection does not work, it is 200 too,
    with `status: failed`.
    """
    service, who = service_of(request), actor(request)
    connection, envelope, dataset = await service.threads.read(_load, service, connection_key, fides_key)
    connector = connector_of(service, connection)
    refuse_too_often(service, who)
    if service.discoveries.full:
        raise Refused(429, "Too many discoveries run and wait; try again later.", {"Retry-After": "5"})
    subject = Subject("", utc_now(), connection, connector, envelope, DiscoveryRequest(), who)
    run = await service.discoveries.start(run_check(service, subject, fides_key, dataset))
    return json_response(run.answer, NO_STORE)


def _load(service: Service, key: str, fides_key: str) -> tuple[StoredConnection, str | None, str]:
    with service.store.read() as database:
        connection = find_connection(database, key, MISSING_CONNECTION)
        found = get(database, connection.id, fides_key)
        if found is None:
            raise no_dataset(connection, fides_key, "connection key")
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
        return connection, envelope, found.dataset
