"""`/connection/{key}/history`: how a connection and its datasets were, over time."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.errors import PROTECTED, errors
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.means import Holdings
from connectory.api.node.service import service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.store.engine import Store
from connectory.store.schedules import Kind
from connectory.store.timestamps import utc_now
from connectory.store.verdicts import Outcome, Verdict, list_verdicts, purge_verdicts

router = Router(prefix="/api/v1", tags=["Schedules"], responses=PROTECTED)

_PURGED = 600.0
"""Seconds from one purge to the next."""


class PastVerdict(Answer):
    """What a test or a check found."""

    kind: Annotated[Kind, Field(description="A `test` of the connection, or a `check` of a dataset.")]
    at: Annotated[datetime, Field(examples=["2026-11-27T10:00:00.000000+00:00"])]
    by: Annotated[Literal["schedule", "hand"], Field(description="What asked for it.")]
    actor: Annotated[
        str | None,
        Field(description="The id of the client that asked for it; `null` by schedule.", examples=[None]),
    ]
    secrets_version: Annotated[
        int,
        Field(
            description="Which secrets were used: 1 were the first that were stored. 0: there were none.",
            ge=0,
            examples=[1],
        ),
    ]
    outcome: Annotated[
        Outcome,
        Field(
            description="A test has `succeeded` or `failed`. A dataset `fits` or has `drifted`; its check `failed` where that "
            "could not be found out."
        ),
    ]
    failure_code: Annotated[
        str | None,
        Field(description="Why it failed, as of a test or of a discovery; `null` unless it did.", examples=[None]),
    ]
    elapsed_ms: Annotated[float | None, Field(description="How long it took.", ge=0, examples=[12.4])]
    dataset: Annotated[
        str | None, Field(description="The `fides_key` of what was checked; `null` for a test.", examples=[None])
    ]
    coverage: Annotated[
        int | None,
        Field(
            description="Of the fields that are there, how many the dataset has, in percent.",
            ge=0,
            le=100,
            examples=[None],
        ),
    ]
    findings: Annotated[int | None, Field(description="How many things do not fit.", ge=0, examples=[None])]


class PastVerdictPage(Page[PastVerdict]):
    """The verdicts on a connection, newest first."""


@router.get(
    "/connection/{connection_key}/history",
    operation_id="listVerdicts",
    summary="List how a connection and its datasets were over time",
    dependencies=[needs("connection:read")],
    response_model=PastVerdictPage,
    responses=errors(404),
)
async def list_all(
    request: Request,
    connection_key: ConnectionKey,
    kind: Annotated[Kind | None, Query(description="Only tests, or only checks.")] = None,
    outcome: Annotated[list[Outcome], Query(description="With any of these outcomes.")] = [],  # noqa: B006
    dataset: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Only checks of the dataset with this `fides_key`.")
    ] = None,
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """Tests and checks, by schedule and by hand, newest first, for `CONNECTORY_HISTORY_RETENTION` days; the last of each stays.

    What says nothing about the connection is not kept: it was skipped, or its connector, its driver or its key is missing here,
    or the service itself failed. `GET /connection/{connection_key}/test_history` tells the last 100 tests at length.
    """
    service = service_of(request)
    filters = {"kind": kind, "outcomes": outcome, "dataset": dataset}
    look = partial(read_history, service, connection_key, page, size, **filters)
    return json_response(await service.threads.read(look))


def read_history(service: Holdings, key: str, page: int, size: int, **filters: Any) -> dict[str, Any]:
    """The members of `PastVerdictPage`.

    Args:
        filters: as `list_verdicts` takes them.

    Raises:
        Refused: there is no such connection.
    """
    with service.store.read() as database:
        connection = find_connection(database, key)
        found, total = list_verdicts(database, connection.id, page=page, size=size, **filters)
    return page_of([_shown(verdict) for verdict in found], total, page, size)


def _shown(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind,
        "at": verdict.at,
        "by": "schedule" if verdict.actor is None else "hand",
        "actor": verdict.actor,
        "secrets_version": verdict.secrets_version,
        "outcome": verdict.outcome,
        "failure_code": verdict.failure_code,
        "elapsed_ms": verdict.elapsed_ms,
        "dataset": verdict.dataset or None,
        "coverage": verdict.coverage,
        "findings": verdict.findings,
    }


def purging(store: Store, *, days: int) -> Callable[[], None]:
    """A chore that deletes, now and then, what is older than is kept.

    Args:
        days: that verdicts are kept.
    """
    due_at = 0.0

    def purge() -> None:
        nonlocal due_at
        if time.monotonic() >= due_at:
            due_at = time.monotonic() + _PURGED
            purge_verdicts(store, before=utc_now() - timedelta(days=days))

    return purge
