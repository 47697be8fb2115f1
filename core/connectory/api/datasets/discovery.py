"""`/connection/{key}/discovery`: what a connection holds, as datasets of the Fides language."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import timedelta
from typing import Annotated, Any

import orjson
from fastapi import Header, Path, Query, Request, Response

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.datasets.datasets import no_dataset
from connectory.api.datasets.discovery_runs import Subject, answer_of, run_discovery
from connectory.api.datasets.discovery_shapes import Discovery, DiscoveryRequest
from connectory.api.http.answers import NO_STORE, json_response
from connectory.api.http.bodies import JsonBody, parse_body
from connectory.api.http.errors import PROTECTED, Refused, errors
from connectory.api.node.means import Holdings, Means
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.testing.test_runs import refuse_too_often
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.contract.check import FailureCode
from connectory.store.connections import StoredConnection
from connectory.store.datasets import get
from connectory.store.discoveries import begin_discovery, get_discovery
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Discovery"], responses=PROTECTED)

DiscoveryId = Annotated[
    str,
    Path(
        description="The `id` of an answer, as in its `Location`.",
        examples=["d_5f0a3c9be2417d60"],
        json_schema_extra={"pattern": "^d_[0-9a-f]{16}$"},
    ),
]
_ID = re.compile(r"d_[0-9a-f]{16}")
_EXAMPLES = {"Everything": {}, "Some schemas": {"scope": {"schemas": ["public"]}, "sample": 1000}}
_WAIT = re.compile(r"(?:^|[,;\s])wait(?:\s*=\s*\"?(\d{1,6})\"?)?\s*(?:$|[,;])", re.IGNORECASE)
_LOST = timedelta(seconds=60)
"""How long after its deadline a discovery that still runs has been lost: it waited for its turn, and its answer for the store."""
_AFTER = 2.0
"""Seconds after its deadline in which an answer is there for whoever waits for it."""
_GONE = "The service that looked ended before it was done; ask again."


@router.post(
    "/connection/{connection_key}/discovery",
    operation_id="discoverConnection",
    summary="Find out what a connection holds",
    response_model=Discovery,
    responses=errors(404, 409, 413, 415, 429)
    | {
        202: {
            "model": Discovery,
            "description": "It runs; `Location` is where its answer will be",
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    },
)
async def discover(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:read", JsonBody(DiscoveryRequest, _EXAMPLES, required=False))],
    prefer: Annotated[
        str,
        Header(
            max_length=200,
            description="`wait=10` to wait ten seconds for the answer, `wait` to wait for it (RFC 7240).",
            examples=["wait=10"],
        ),
    ] = "",
    merge: Annotated[
        str,
        Query(
            max_length=200,
            description="The `fides_key` of a dataset of the connection: `datasets` is then this one, with what is new.",
            examples=[""],
        ),
    ] = "",
) -> Response:
    """Opens a session, asks the system what there is, and makes datasets of it: nothing is stored as a dataset, and nothing is
    written behind the connection.

    Without `Prefer: wait`, or where it takes longer, the answer is 202, and the discovery goes on.
    """
    service, who = service_of(request), actor(request)
    connection, envelope, stored = await service.threads.read(load_connection, service, connection_key, merge)
    wanted = parse_body(body, DiscoveryRequest) if body else DiscoveryRequest()
    connector = connector_of(service, connection)
    refuse_too_often(service, who)
    if service.discoveries.full:
        raise Refused(429, "Too many discoveries run and wait; try again later.", {"Retry-After": "5"})
    found = new_id()
    subject = Subject(found, utc_now(), connection, connector, envelope, wanted, who, stored)
    await service.threads.write(begin, service, subject)
    task = service.discoveries.start(run_discovery(service, subject))
    wait = _wait(prefer, service.settings.discovery_deadline + _AFTER)
    if wait:
        await asyncio.wait({task}, timeout=wait)
    applied = NO_STORE | ({"Preference-Applied": "wait"} if wait else {})
    if task.done():
        return Response(task.result(), headers=applied, media_type="application/json")
    location = f"{request.url.path}/{found}"
    return json_response(answer_of(found, connector, subject.started_at), applied | {"Location": location}, 202)


def new_id() -> str:
    """The id of a discovery: unguessable."""
    return f"d_{secrets.token_hex(8)}"


def _wait(prefer: str, most: float) -> float:
    """The seconds to wait that a header asks for."""
    found = _WAIT.search(prefer)
    if found is None:
        return 0.0
    return most if found[1] is None else min(float(found[1]), most)


def connector_of(service: Holdings, connection: StoredConnection) -> LoadedConnector:
    """The connector that can say what the connection holds; refused where there is none."""
    try:
        connector = service.catalog.require(connection.connection_type, connection.distribution)
    except ConnectorUnavailable as problem:
        raise Refused(409, f"The connection cannot be discovered. {problem}") from None
    if "discovery" not in connector.supported_actions:
        message = (
            f"Connections of type '{connection.connection_type}' cannot be discovered; GET /connection_type names those that "
            "can: `discovery` is among their `supported_actions`."
        )
        raise Refused(409, message)
    return connector


def load_connection(service: Means, key: str, merge: str = "") -> tuple[StoredConnection, str | None, str | None]:
    """The connection, the envelope of its secrets, and the dataset `merge` as JSON text; `None` where there is none.

    Raises:
        Refused: 404, where there is no such connection, or no such dataset.
    """
    with service.store.read() as database:
        connection = find_connection(database, key)
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
        if not merge:
            return connection, envelope, None
        dataset = get(database, connection.id, merge)
        if dataset is None:
            raise no_dataset(connection, merge, "connection key")
        return connection, envelope, dataset.dataset


def begin(service: Means, subject: Subject) -> None:
    """Note that a discovery has begun.

    Raises:
        Refused: the connection is not there any more.
    """
    connection = subject.connection
    with service.store.write() as database:
        begun = begin_discovery(
            database,
            connection.id,
            subject.id,
            secrets_version=connection.secrets_version,
            actor=subject.who.id,
            at=subject.started_at,
        )
        if not begun:
            find_connection(database, connection.key)
            raise Refused(409, "The connection was replaced by another one meanwhile; try again.")


@router.get(
    "/connection/{connection_key}/discovery/{discovery_id}",
    operation_id="getDiscovery",
    summary="Read what was found behind a connection",
    dependencies=[needs("connection:read")],
    response_model=Discovery,
    responses=errors(404),
)
async def get_one(request: Request, connection_key: ConnectionKey, discovery_id: DiscoveryId) -> Response:
    """The last five of each connection are kept."""
    service = service_of(request)
    return await service.threads.read(_get, service, connection_key, discovery_id)


def _get(service: Service, key: str, discovery_id: str) -> Response:
    with service.store.read() as database:
        connection = find_connection(database, key)
        found = get_discovery(database, connection.id, discovery_id) if _ID.fullmatch(discovery_id) else None
    if found is None:
        raise Refused(404, f"The connection '{key}' has no such discovery; the last five are kept.")
    if found.report is not None:
        return json_response(orjson.Fragment(found.report), NO_STORE)
    connector = service.catalog.get(connection.connection_type)
    said: dict[str, Any] = {}
    if utc_now() - found.started_at > timedelta(seconds=service.settings.discovery_deadline) + _LOST:
        said = {"status": "failed", "failure_code": FailureCode.CRASHED, "failure_reason": _GONE}
    return json_response(answer_of(found.id, connector, found.started_at, **said), NO_STORE)
