"""`/connection/{key}/webhook`: where changes of a connection's verdicts are told."""

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.bodies import JsonBody, parse_body
from connectory.api.http.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.node.means import Holdings
from connectory.api.node.service import Service, service_of
from connectory.api.operating.egress import report_on
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.testing.test_runs import refuse_too_often
from connectory.api.watching.belongings import end_belonging, has_none
from connectory.api.watching.webhook_calls import Target, refusal, target_of
from connectory.checks.egress_check import EgressReport
from connectory.contract.check import FailureCode
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.timestamps import utc_now
from connectory.store.webhooks import Webhook, delete_webhook, get_webhook, put_webhook, seal_secret

router = Router(prefix="/api/v1", tags=["Schedules"], responses=PROTECTED)

_INVALID = (
    "Must be an address like https://hooks.example.com/connectory, in ASCII, without a user and a fragment; http only where it "
    "is on loopback."
)
_URL_SCHEMA = {"format": "uri", "pattern": r"^https?://[!\"$-~]+$"}
_EXAMPLE = {"url": "https://hooks.example.com/connectory", "secret": "at least sixteen characters"}


class WebhookToSet(BaseModel):
    """Where changes are told, and with what they are signed."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[
        str,
        Field(
            description="https; or http, where it is on loopback and the service may connect there.",
            max_length=2000,
            examples=["https://hooks.example.com/connectory"],
            json_schema_extra=_URL_SCHEMA,
        ),
    ]
    secret: Annotated[
        str,
        Field(
            description="What the signature is made with. It is never shown again.",
            min_length=16,
            max_length=500,
            examples=["at least sixteen characters"],
            repr=False,
        ),
    ]


class Delivery(Answer):
    """The last call."""

    state: Annotated[
        Literal["delivered", "retrying", "given_up"],
        Field(
            description="`given_up` after five calls, within about an hour. Then nothing is told of this event any more."
        ),
    ]
    event_id: Annotated[str, Field(examples=["e_5f0a3c9be2417d605f0a3c9be2417d60"])]
    at: Annotated[datetime, Field(examples=["2026-11-27T10:00:00.000000+00:00"])]
    attempts: Annotated[int, Field(description="Calls with this event so far.", ge=1, examples=[1])]
    status: Annotated[
        int | None, Field(description="HTTP status of the answer; `null` where there was none.", examples=[204])
    ]
    failure_code: Annotated[
        FailureCode | None,
        Field(
            description="Why there was no answer, in the words of a test; `null` where there was one.", examples=[None]
        ),
    ]


class ConnectionWebhook(Answer):
    """Where changes of a connection's verdicts are told, and how that went."""

    url: Annotated[str, Field(examples=["https://hooks.example.com/connectory"])]
    has_secret: Annotated[bool, Field(description="Whether there is a secret, which is not shown.", examples=[True])]
    updated_at: Annotated[datetime, Field(examples=["2026-11-27T09:00:00.000000+00:00"])]
    pending: Annotated[int, Field(description="Events that it has still to be told.", ge=0, examples=[0])]
    last_delivery: Annotated[Delivery | None, Field(examples=[None])]


@router.put(
    "/connection/{connection_key}/webhook",
    operation_id="putWebhook",
    summary="Be told when a connection or a dataset of it changes for better or worse",
    response_model=ConnectionWebhook,
    responses=errors(404, 409, 413, 415, 429),
)
async def put_one(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:create_or_update", JsonBody(WebhookToSet, {"Webhook": _EXAMPLE}))],
) -> Response:
    """It is called when a verdict is another one than the last of the same secrets, by schedule or by hand; never for the first.

    The egress policy has to allow the address, now and at each call. Redirects are not followed. A call that is not answered
    with 2xx within ten seconds is repeated up to four times, within about an hour. Setting one counts as one connection test
    of the client: the host is resolved.
    """
    service, who = service_of(request), actor(request)
    await service.threads.read(_look, service, connection_key)  # 404 wins over 422
    wanted = parse_body(body, WebhookToSet)
    refuse_too_often(service, who)
    target = wanted_target(wanted)
    refuse_address(target, await report_on(service, target.host, target.port, who.id))
    return json_response(await service.threads.write(set_webhook, service, connection_key, wanted, who))


def _look(service: Service, key: str) -> None:
    with service.store.read() as database:
        find_connection(database, key)


def wanted_target(wanted: WebhookToSet) -> Target:
    """Where the webhook is; refused where it is nowhere."""
    target = target_of(wanted.url)
    if target is None:
        raise refuse_field(["body", "url"], _INVALID, "url_invalid")
    return target


def refuse_address(target: Target, report: EgressReport) -> None:
    """Refuse a webhook that would not be called, by what the egress policy says of its host."""
    code = refusal(target, report)
    if code is not None:
        raise refuse_field(["body", "url"], code.reason, code)


def set_webhook(service: Holdings, key: str, wanted: WebhookToSet, who: Actor) -> dict[str, Any]:
    """Replace the webhook of a connection; the members of `ConnectionWebhook`.

    Raises:
        Refused: there is no such connection.
    """
    with service.store.look() as database:
        connection = find_connection(database, key)
    sealed = seal_secret(service.vault, connection.id, wanted.secret.encode())
    with service.store.write() as database:
        if not put_webhook(database, connection.id, wanted.url, sealed, now=utc_now()):
            find_connection(database, key)
            raise Refused(409, "The connection was replaced by another one meanwhile; try again.")
        changed = ("secret", "url")
        audit.append(database, who.did("webhook_set", connection, changed, result_code="200", kid=sealed.kid))
        found = get_webhook(database, connection.id)
    assert found is not None
    return _shown(found)


@router.get(
    "/connection/{connection_key}/webhook",
    operation_id="getWebhook",
    summary="Read where changes of a connection are told, and how the last call went",
    dependencies=[needs("connection:read")],
    response_model=ConnectionWebhook,
    responses=errors(404),
)
async def get_one(request: Request, connection_key: ConnectionKey) -> Response:
    """Never the secret."""
    service = service_of(request)
    return json_response(await service.threads.read(read_webhook, service, connection_key))


def read_webhook(service: Holdings, key: str) -> dict[str, Any]:
    """The members of `ConnectionWebhook`.

    Raises:
        Refused: there is no such connection, or it has none.
    """
    with service.store.read() as database:
        connection = find_connection(database, key)
        found = get_webhook(database, connection.id)
    if found is None:
        raise has_none(key, "webhook")
    return _shown(found)


@router.delete(
    "/connection/{connection_key}/webhook",
    operation_id="deleteWebhook",
    summary="Have changes of a connection told no more",
    dependencies=[needs("connection:create_or_update")],
    status_code=204,
    responses=errors(404),
)
async def delete_one(request: Request, connection_key: ConnectionKey) -> Response:
    """What has still to be told is not told. It also ends when the connection is deleted."""
    service = service_of(request)
    await service.threads.write(end_webhook, service, connection_key, actor(request))
    return Response(status_code=204)


def end_webhook(service: Holdings, key: str, who: Actor) -> None:
    """Have changes of a connection told no more.

    Raises:
        Refused: there is no such connection, or it has no webhook.
    """
    end_belonging(service, key, who, "webhook", delete_webhook)


def _shown(found: Webhook) -> dict[str, Any]:
    last = found.last_delivery
    return {
        "url": found.url,
        "has_secret": True,
        "updated_at": found.updated_at,
        "pending": found.pending,
        "last_delivery": None if last is None else orjson.Fragment(last),
    }
