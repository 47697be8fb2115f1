"""`/oauth/callback` and `…/authorization/confirm`: a person's consent comes back as a code, which is exchanged for tokens."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.engine import Connection

from connectory.api.access.bearer import actor, actor_of, needs
from connectory.api.access.routes import Router
from connectory.api.consents.consent_browser import browsers_of
from connectory.api.consents.consent_page import confirmation_page, outcome_page, wants_page
from connectory.api.http.answers import NO_STORE, Answer
from connectory.api.http.bodies import JsonBody, parse_json
from connectory.api.http.errors import PROTECTED, Refused, errors, rebuild
from connectory.api.http.logs import log
from connectory.api.node.recordings import recorded
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.api.stored.sealing import seal_tokens
from connectory.api.testing.probes import run_probe
from connectory.checks.report import CheckReport
from connectory.checks.runner import Exchange
from connectory.contract.check import FailureCode
from connectory.store import audit, consents
from connectory.store.audit import Actor
from connectory.store.clients import client_name
from connectory.store.connections import StoredConnection, get_by_id
from connectory.store.consents import Asked
from connectory.store.envelopes import load_envelopes
from connectory.store.timestamps import utc_now
from connectory.store.token_turns import replace_tokens
from connectory.vault import EnvelopeUnreadable

router = Router(prefix="/api/v1", tags=["Authorization"], responses=PROTECTED)
# The provider sends a person's browser there, which has no token. What admits it is the state: random, sealed to one
# connection and its secrets, good for ten minutes and for one use. What makes it count is the browser, or a confirmation.
public = Router(prefix="/api/v1", tags=["Authorization"])

_ACTOR = "oauth callback"  # who brings a consent that nobody is known to have asked for
_LONGEST_CODE = 4096
_UNKNOWN_STATE = "No authentication request found for the given state."
_UNKNOWN_CONFIRMATION = (
    "No consent to '{key}' waits for this confirmation; it is unknown, used, or more than ten minutes old."
)
_CHANGED = "The secrets of '{key}' were changed after consent was asked for; ask again with {again}."
# Of RFC 6749 §4.1.2.1. The provider's own description is not repeated: whoever made the link wrote it.
_PROVIDER_ERRORS = {
    "access_denied": "The person, or the provider, refused consent",
    "invalid_request": "The provider does not accept the request (invalid_request); check the client id and redirect URI",
    "unauthorized_client": "The provider does not let this client ask for consent (unauthorized_client); check its registration",
    "unsupported_response_type": "The provider gives this client no codes (unsupported_response_type); check its registration",
    "invalid_scope": "The provider does not give this client the scopes that the connector needs (invalid_scope)",
    "server_error": "The provider failed (server_error)",
    "temporarily_unavailable": "The provider is not available at present (temporarily_unavailable)",
}
_UNKNOWN_ERROR = "The provider answered with an error in place of a code"
_CONFIRMATIONS = {"Held": {"confirmation": "mXf4Zk0cT1o6jVQ0f2c1WmJ5d0d3cGl2bGFzdGluZzA"}}


class HeldConsent(Answer):
    """A consent that came from another browser than the one that asked: nothing is stored until somebody confirms it."""

    msg: Annotated[str, Field(examples=["Nothing is stored yet: this browser did not ask for the consent."])]
    connection_key: Annotated[str, Field(examples=["crm"])]
    asked_by: Annotated[str | None, Field(description="Name of the client that asked.", examples=["root"])]
    confirmation: Annotated[str, Field(description="What to confirm it with; shown here and nowhere else.")]


class Confirmation(BaseModel):
    """Which consent is confirmed."""

    confirmation: Annotated[
        str, Field(min_length=1, max_length=100, description="As the browser was shown it that brought the consent.")
    ]


class Message(Answer):
    """What happened."""

    msg: Annotated[str, Field(examples=["Authorization completed for ConnectionConfig with key: crm."])]


@dataclass(frozen=True)
class _Answered:
    """A consent that was asked for, and the connection as it is when the answer comes.

    Attributes:
        confirmation: what it is confirmed by, where it is held.
        client: the name of the client that asked, where it is held.
        problem: why there is nothing to exchange.
    """

    asked: Asked
    connection: StoredConnection
    envelope: str | None = field(repr=False)
    confirmation: str | None = field(default=None, repr=False)
    client: str | None = None
    problem: str | None = None


@public.get(
    "/oauth/callback",
    operation_id="completeAuthorization",
    summary="Where a provider sends the browser back to",
    response_model=Message,
    responses={
        202: {"model": HeldConsent, "description": "It came from another browser than the one that asked"},
        **errors(400, 404, 429, 503),
    },
    # Not parameters of the function: FastAPI would take one that is given twice for one that is given once.
    openapi_extra={
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in {
                "state": "As sent to the provider.",
                "code": "The authorization code.",
                "error": "In place of a code: why there is none.",
            }.items()
        ],
    },
)
async def complete(request: Request, response: Response) -> Message | Response:
    """Exchanges the code for tokens, which are stored sealed. Needs no bearer token: the state admits it, once.

    In another browser than the one that asked for the consent nothing is exchanged or stored: it is held for ten minutes, until
    somebody confirms it.
    """
    response.headers.update(NO_STORE)
    if request.scope["bodiless"]:  # HEAD is safe (RFC 9110 §9.2.1): a link that is looked at is not used up
        return Response(headers=NO_STORE)
    service = service_of(request)
    state, code, error = (_parameter(request, name) for name in ("state", "code", "error"))
    who = actor_of(request, _ACTOR)
    key = None
    try:
        answered = await service.threads.write(_come_back, service, state, code, error, browsers_of(request), who)
        key = answered.connection.key
        if answered.problem is not None:
            raise _refused(answered.problem)
        if answered.confirmation is not None:
            return _held(request, answered, answered.confirmation)
        done = await _complete(service, answered, code, actor_of(request, answered.asked.asked_by or _ACTOR))
    except Refused as refused:
        if not wants_page(request) or not isinstance(refused.detail, str):
            raise
        return outcome_page(request, refused.status, refused.detail, key)
    return outcome_page(request, 200, done.msg, key) if wants_page(request) else done


@router.post(
    "/connection/{connection_key}/authorization/confirm",
    operation_id="confirmAuthorization",
    summary="Confirm a consent that came from another browser",
    responses=errors(400, 404, 413, 415, 429),
)
async def confirm(
    request: Request,
    response: Response,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("connection:authorize", JsonBody(Confirmation, _CONFIRMATIONS))],
) -> Message:
    """Exchanges the code that was held for tokens, which are stored sealed. Works once."""
    response.headers.update(NO_STORE)
    service = service_of(request)
    answered, code = await service.threads.write(_confirm, service, connection_key, body)
    return await _complete(service, answered, code, actor(request))


def _parameter(request: Request, name: str) -> str:
    """A parameter of the query, which may stand there once (RFC 6749 §3.1); else it is as if it were absent."""
    values = request.query_params.getlist(name)
    return values[0] if len(values) == 1 else ""


def _refused(message: str) -> Refused:
    return Refused(400, message, NO_STORE)


def _come_back(service: Service, state: str, code: str, error: str, browsers: list[str], who: Actor) -> _Answered:
    """Use the state; hold the consent where it counts for nothing by itself."""
    now = utc_now()
    answered = None
    with service.store.read() as database:
        pending = consents.is_pending(database, state, now=now)
    if pending:
        sealed = consents.seal_code(service.vault, state, code)
        with service.store.write() as database:
            asked = consents.consume(database, state, now=now)
            answered = _found(database, asked) if asked is not None else None
            if answered is not None and _problem(answered, code, error) is None:
                known = any(map(answered.asked.is_from, browsers))
                if not known and not service.settings.consent_anywhere:
                    answered = _hold(database, answered, sealed, who)
    if answered is None:  # not inside: refusing would undo the use
        raise Refused(404, _UNKNOWN_STATE, NO_STORE)
    return replace(answered, problem=_problem(answered, code, error))


def _found(database: Connection, asked: Asked) -> _Answered | None:
    connection = get_by_id(database, asked.connection_id)
    return _Answered(asked, connection, load_envelopes(database, connection.id)[0]) if connection is not None else None


def _problem(answered: _Answered, code: str, error: str) -> str | None:
    """Why there is nothing to exchange."""
    again = f"GET /api/v1/connection/{answered.connection.key}/authorize"
    if answered.asked.secrets_version != answered.connection.secrets_version:
        return _CHANGED.format(key=answered.connection.key, again=again)
    if error:
        return f"{_PROVIDER_ERRORS.get(error, _UNKNOWN_ERROR)}; ask again with {again}."
    if not 0 < len(code) <= _LONGEST_CODE:
        return f"The provider sent neither a code nor an error; ask again with {again}."
    return None


def _hold(database: Connection, answered: _Answered, sealed: str, who: Actor) -> _Answered:
    now, connection = utc_now(), answered.connection
    confirmation = consents.new_secret()
    consents.hold(database, answered.asked, confirmation, sealed, now=now)
    audit.append(database, who.did("consent_held", connection, result_code="202", at=now))
    client = client_name(database, answered.asked.asked_by) if answered.asked.asked_by is not None else None
    return replace(answered, confirmation=confirmation, client=client)


def _held(request: Request, answered: _Answered, confirmation: str) -> Response:
    key = answered.connection.key
    path = f"/api/v1/connection/{key}/authorization/confirm"
    if wants_page(request):
        return confirmation_page(request, path, key, answered.client or "(deleted)", confirmation)
    message = (
        "Nothing is stored yet: this browser did not ask for the consent. "
        f"If you meant to give it, confirm it with POST {path} within ten minutes."
    )
    held = HeldConsent(msg=message, connection_key=key, asked_by=answered.client, confirmation=confirmation)
    return Response(held.model_dump_json(), 202, NO_STORE, "application/json")


def _confirm(service: Service, key: str, body: bytes) -> tuple[_Answered, str]:
    with service.store.read() as database:
        connection = find_connection(database, key)
    try:
        given = Confirmation.model_validate(parse_json(body))
    except ValidationError as error:
        raise Refused(422, rebuild(error.errors(), ["body"])) from None
    with service.store.write() as database:
        asked = consents.confirm(database, connection.id, given.confirmation, now=utc_now())
        answered = _found(database, asked) if asked is not None else None
    if answered is None:
        raise Refused(404, _UNKNOWN_CONFIRMATION.format(key=key), NO_STORE)
    try:
        code = consents.open_code(service.vault, answered.asked)
    except EnvelopeUnreadable:
        raise _refused("The code was sealed with a key that is missing; ask again.") from None
    if problem := _problem(answered, code, ""):
        raise _refused(problem)
    return answered, code


async def _complete(service: Service, answered: _Answered, code: str, who: Actor) -> Message:
    """Exchange the code, and record what it gave."""
    connection = answered.connection
    report = await _exchange(service, answered, code, who.id)
    if report.error_type is not None:
        log.warning(
            "driver failed",
            connection_type=connection.connection_type,
            error=report.error_type,
            request_id=who.request_id,
        )
    record = partial(_record, service, connection, report, who)
    if not await recorded(service.recordings.keep(record, f"consent to the connection '{connection.key}'")):
        again = f"GET /api/v1/connection/{connection.key}/authorize"
        raise _refused(_CHANGED.format(key=connection.key, again=again))
    if report.status != "succeeded":
        reason = report.reason or FailureCode.INTERNAL_DRIVER_ERROR.reason
        raise _refused(f"The code could not be exchanged for tokens. {reason}")
    return Message(msg=f"Authorization completed for ConnectionConfig with key: {connection.key}.")


async def _exchange(service: Service, answered: _Answered, code: str, client: str) -> CheckReport:
    try:
        verifier = consents.open_verifier(service.vault, answered.asked)
    except EnvelopeUnreadable:
        return CheckReport("failed", FailureCode.SECRETS_UNREADABLE, FailureCode.SECRETS_UNREADABLE.reason)
    # A flight of its own, and without the tokens of an earlier consent, which this one replaces. Who comes back from a provider
    # has no token: all of them share the turns that a client has.
    exchange = Exchange(code, verifier)
    return await run_probe(service, answered.connection, object(), answered.envelope, exchange=exchange, client=client)


def _record(service: Service, connection: StoredConnection, report: CheckReport, who: Actor) -> bool:
    """Store the tokens, if there are any; False if the secrets they were obtained with are no longer stored."""
    now = utc_now()
    sealed = seal_tokens(service.vault, connection, report.tokens) if report.tokens is not None else None
    with service.store.write() as database:
        kept = sealed is None or replace_tokens(
            database, connection.id, sealed, secrets_version=connection.secrets_version
        )
        code = (report.code or report.status) if kept else "secrets_changed"
        kid = sealed.kid if sealed is not None and kept else None
        audit.append(database, who.did("authorized", connection, result_code=code, at=now, kid=kid))
    return kept
