"""`/connection/{key}/schedule`: what is done of a connection again and again."""

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.datasets.discovery import connector_of
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.bodies import JsonBody, parse_body
from connectory.api.http.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.node.means import Holdings
from connectory.api.node.service import service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.watching.belongings import end_belonging, has_none
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.schedules import Kind, Schedule, delete_schedule, get_schedule, put_schedule
from connectory.store.timestamps import database_now

router = Router(prefix="/api/v1", tags=["Schedules"], responses=PROTECTED)

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_MOST = 30 * 86_400
# From 1m to 30d, so that the document says it too.
_PATTERN = (
    r"^(([1-9][0-9]{0,3}|[1-3][0-9]{4}|4[0-2][0-9]{3}|43[01][0-9]{2}|43200)m"
    r"|([1-9][0-9]?|[1-6][0-9]{2}|7[01][0-9]|720)h|([1-9]|[12][0-9]|30)d)$"
)
_FORM = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_INVALID = "Must be a whole number of minutes, hours or days, like 15m, 6h or 1d: at least 1m, at most 30d."
_NOTHING = "Must have test_every, check_every, or both; DELETE ends a schedule."
_EXAMPLES = {"Test and check": {"test_every": "15m", "check_every": "1d"}, "Only test": {"test_every": "1h"}}

_TestEvery = Field(description="How often the connection is tested, like 15m, 6h or 1d.", examples=["15m"])
_CheckEvery = Field(description="How often each of its datasets is checked.", examples=["1d"])


class ScheduleToSet(BaseModel):
    """How often something is done: one of both at least."""

    model_config = ConfigDict(
        strict=True, extra="forbid", hide_input_in_errors=True, json_schema_extra={"minProperties": 1}
    )

    test_every: Annotated[str, _TestEvery, Field(json_schema_extra={"pattern": _PATTERN})] = Field(default_factory=str)
    check_every: Annotated[str, _CheckEvery, Field(json_schema_extra={"pattern": _PATTERN})] = Field(
        default_factory=str
    )


_DueAt = Annotated[
    datetime | None,
    Field(
        description="When it is due next, or since when it has been. `null` where it is not done, or the connection is disabled.",
        examples=["2026-11-27T10:14:12.511742+00:00"],
    ),
]
_RanAt = Annotated[
    datetime | None,
    Field(description="When it last ran by schedule.", examples=["2026-11-27T09:59:12.731290+00:00"]),
]


class ConnectionSchedule(Answer):
    """What is done of a connection again and again. What is not done is `null`."""

    test_every: Annotated[str | None, _TestEvery]
    test_due_at: _DueAt
    test_ran_at: _RanAt
    check_every: Annotated[str | None, _CheckEvery]
    check_due_at: _DueAt
    check_ran_at: _RanAt
    paused: Annotated[
        bool,
        Field(description="Whether nothing is done now, because the connection is disabled.", examples=[False]),
    ]


@router.put(
    "/connection/{connection_key}/schedule",
    operation_id="putSchedule",
    summary="Have a connection tested, and its datasets checked, again and again",
    response_model=ConnectionSchedule,
    responses=errors(404, 409, 413, 415),
)
async def put_one(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:create_or_update", JsonBody(ScheduleToSet, _EXAMPLES))],
) -> Response:
    """Replaces the schedule. What keeps its interval is due when it was.

    Each is done once in every interval, up to a tenth of one before its end: how much follows from the connection, so that
    not all are tested at once. What was missed is done once.
    """
    service = service_of(request)
    return json_response(await service.threads.write(set_schedule, service, connection_key, body, actor(request)))


def set_schedule(service: Holdings, key: str, body: bytes, who: Actor) -> dict[str, Any]:
    """Replace the schedule of a connection by what a body says; the members of `ConnectionSchedule`.

    Raises:
        Refused: there is no such connection, the body is none, or the connection's datasets cannot be checked.
    """
    with service.store.look() as database:
        connection = find_connection(database, key)
    every = _intervals(parse_body(body, ScheduleToSet))
    if "check" in every:
        connector_of(service, connection)
    with service.store.write() as database:
        if not put_schedule(database, connection.id, every, now=database_now(database)):
            find_connection(database, key)
            raise Refused(409, "The connection was replaced by another one meanwhile; try again.")
        told = {f"{kind}_every": shortest(seconds) for kind, seconds in every.items()}
        audit.append(database, who.did("schedule_set", connection, sorted(told), result_code="200", details=told))
        return _shown(connection, get_schedule(database, connection.id))


def _intervals(given: ScheduleToSet) -> dict[Kind, int]:
    if not given.model_fields_set:
        raise refuse_field(["body"], _NOTHING, "schedule_empty")
    texts: dict[Kind, str] = {"test": given.test_every, "check": given.check_every}
    sent = {kind: text for kind, text in texts.items() if f"{kind}_every" in given.model_fields_set}
    return {kind: _seconds(f"{kind}_every", text) for kind, text in sent.items()}


def _seconds(name: str, text: str) -> int:
    match = _FORM.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _MOST:
        raise refuse_field(["body", name], _INVALID, "interval_invalid")
    return seconds


def shortest(seconds: int) -> str:
    """An interval of whole minutes in its largest unit: `1d`, and not `24h`."""
    unit = next(unit for unit in ("d", "h", "m") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


@router.get(
    "/connection/{connection_key}/schedule",
    operation_id="getSchedule",
    summary="Read what is done of a connection again and again",
    dependencies=[needs("connection:read")],
    response_model=ConnectionSchedule,
    responses=errors(404),
)
async def get_one(request: Request, connection_key: ConnectionKey) -> Response:
    """With when each is due next, and when it last ran. What came of it, the history of the connection tells."""
    service = service_of(request)
    return json_response(await service.threads.read(read_schedule, service, connection_key))


def read_schedule(service: Holdings, key: str) -> dict[str, Any]:
    """The members of `ConnectionSchedule`.

    Raises:
        Refused: there is no such connection, or it has none.
    """
    with service.store.read() as database:
        connection = find_connection(database, key)
        found = get_schedule(database, connection.id)
    if not found:
        raise has_none(key, "schedule")
    return _shown(connection, found)


@router.delete(
    "/connection/{connection_key}/schedule",
    operation_id="deleteSchedule",
    summary="End the schedule of a connection",
    dependencies=[needs("connection:create_or_update")],
    status_code=204,
    responses=errors(404),
)
async def delete_one(request: Request, connection_key: ConnectionKey) -> Response:
    """What runs by it goes on to its end. It also ends when the connection is deleted."""
    service = service_of(request)
    await service.threads.write(end_schedule, service, connection_key, actor(request))
    return Response(status_code=204)


def end_schedule(service: Holdings, key: str, who: Actor) -> None:
    """Do nothing of a connection any more.

    Raises:
        Refused: there is no such connection, or it has no schedule.
    """
    end_belonging(service, key, who, "schedule", delete_schedule)


def _shown(connection: StoredConnection, schedules: list[Schedule]) -> dict[str, Any]:
    shown: dict[str, Any] = dict.fromkeys(ConnectionSchedule.model_fields)
    for one in schedules:
        shown[f"{one.kind}_every"] = shortest(one.every)
        shown[f"{one.kind}_due_at"] = None if connection.disabled else one.due_at
        shown[f"{one.kind}_ran_at"] = one.ran_at
    return shown | {"paused": connection.disabled}
