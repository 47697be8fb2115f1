"""`/connection/{key}/authorize` and `/oauth/callback`: a person's consent, by OAuth 2.0 authorization code (RFC 6749 §4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, RootModel

from connectory.api.answers import NO_STORE, Answer
from connectory.api.bearer import actor, actor_of, needs
from connectory.api.consent_url import ConsentImpossible, consent_url, new_verifier
from connectory.api.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.logs import log
from connectory.api.lookup import ConnectionKey, find_connection
from connectory.api.sealing import seal_tokens, stored_document
from connectory.api.service import Service, service_of
from connectory.api.test_runs import run_probe
from connectory.catalog.catalog import ConnectorUnavailable
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.report import CheckReport
from connectory.checks.runner import Exchange
from connectory.contract.check import FailureCode
from connectory.contract.consent import Authorization
from connectory.documents.validation import Document, SecretsInvalid, parse_secrets
from connectory.store import audit, consents
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection, get_by_id
from connectory.store.consents import Asked
from connectory.store.envelopes import load_envelopes, store_tokens
from connectory.store.timestamps import utc_now
from connectory.vault import EnvelopeUnreadable

router = APIRouter(prefix="/api/v1", tags=["Authorization"], responses=PROTECTED)
# The provider sends a person's browser there, which has no token. What admits it is the state: random, sealed to one
# connection and its secrets, good for ten minutes and for one use.
public = APIRouter(prefix="/api/v1", tags=["Authorization"])

_ACTOR = "oauth callback"  # of consents that an earlier release asked for
_LONGEST_CODE = 4096
_UNKNOWN_STATE = "No authentication request found for the given state."
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


class ConsentAddress(RootModel[str]):
    """Where to send the person's browser."""

    root: Annotated[
        str,
        Field(
            json_schema_extra={"format": "uri"},
            examples=["https://provider.example/authorize?response_type=code&client_id=…&state=…"],
        ),
    ]


class Message(Answer):
    """What happened."""

    msg: Annotated[str, Field(examples=["Authorization completed for ConnectionConfig with key: crm."])]


@router.get(
    "/connection/{connection_key}/authorize",
    operation_id="authorizeConnection",
    summary="Get the address where a person consents to a connection",
    dependencies=[needs("connection:authorize")],
    responses=errors(400, 404, 409),
)
async def authorize(request: Request, response: Response, connection_key: ConnectionKey) -> ConsentAddress:
    """Open the address in a browser within ten minutes. It works once, and only while the secrets stay as they are."""
    service = service_of(request)
    address = await service.threads.write(_ask, service, connection_key, actor(request))
    response.headers.update(NO_STORE)
    return address


def _ask(service: Service, key: str, who: Actor) -> ConsentAddress:
    with service.store.read() as database:
        connection = find_connection(database, key)
        envelope = load_envelopes(database, connection.id)[0] if connection.has_secrets else None
    authorization = _authorization(service, connection, envelope, who.request_id)
    state, verifier = consents.new_state(), new_verifier() if authorization.pkce else None
    try:
        address = consent_url(authorization, state, verifier)
    except ConsentImpossible as problem:
        raise Refused(409, f"Consent cannot be asked for. {problem} Correct it in the secrets.") from None
    sealed = consents.seal_verifier(service.vault, state, verifier) if verifier is not None else None
    now = utc_now()
    with service.store.write() as database:
        stored = consents.ask(
            database,
            state,
            connection.id,
            secrets_version=connection.secrets_version,
            verifier=sealed,
            now=now,
            asked_by=who.id,
        )
        if stored:
            audit.append(database, who.did("consent_asked", connection, result_code="200", at=now))
    if not stored:
        raise Refused(409, "The secrets are being changed by others at the same time; try again.")
    return ConsentAddress(address)


def _authorization(
    service: Service, connection: StoredConnection, envelope: str | None, request_id: str | None
) -> Authorization:
    try:
        connector = service.catalog.require(connection.connection_type, connection.distribution)
    except ConnectorUnavailable as problem:
        raise Refused(409, f"Consent cannot be asked for. {problem}") from None
    if not connector.asks_for_consent:
        raise _uses_no_code()
    document = stored_document(service.vault, connection, envelope) or {}
    model = connector.secrets_model  # imports the plugin: a lost plugin must not be reported as a failure of its hook
    try:
        found = connector.authorization(parse_secrets(model, document))
    except SecretsInvalid:
        raise _incomplete(connection, connector, document) from None
    except Exception as error:  # the plugin's own; its text may hold a secret
        log.warning(
            "connector failed", connection_type=connector.identifier, error=type(error).__name__, request_id=request_id
        )
        message = (
            "Consent cannot be asked for: the connector failed in an unexpected way; the log names the error type."
        )
        raise Refused(409, message) from None
    if found is None:
        raise _uses_no_code()
    return found


def _uses_no_code() -> Refused:
    message = "The connection config does not use OAuth2 Authorization Code authentication."
    return refuse_field(["path", "connection_key"], message, "authorization_not_used")


def _incomplete(connection: StoredConnection, connector: LoadedConnector, document: Document) -> Refused:
    missing = [name for name in connector.schema["required"] if name not in document]
    if not missing:
        outdated = "The stored secrets do not fit this version of the connector; send a complete set again."
        return Refused(409, outdated)
    return Refused(400, f"Missing required secret(s) '{', '.join(missing)}' for {connection.key}")


@dataclass(frozen=True)
class _Answered:
    """A consent that was asked for, and the connection as it is when the answer comes."""

    asked: Asked
    connection: StoredConnection
    envelope: str | None = field(repr=False)


@public.get(
    "/oauth/callback",
    operation_id="completeAuthorization",
    summary="Where a provider sends the browser back to",
    responses=errors(400, 404, 429, 503),
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
async def complete(request: Request, response: Response) -> Message:
    """Exchanges the code for tokens, which are stored sealed. Needs no bearer token: the state admits it, once."""
    service = service_of(request)
    state, code, error = (_parameter(request, name) for name in ("state", "code", "error"))
    answered = await service.threads.write(_consume, service, state)
    connection, who = answered.connection, actor_of(request, answered.asked.asked_by or _ACTOR)
    again = f"GET /api/v1/connection/{connection.key}/authorize"
    if answered.asked.secrets_version != connection.secrets_version:
        raise _refused(_CHANGED.format(key=connection.key, again=again))
    if error:
        raise _refused(f"{_PROVIDER_ERRORS.get(error, _UNKNOWN_ERROR)}; ask again with {again}.")
    if not 0 < len(code) <= _LONGEST_CODE:
        raise _refused(f"The provider sent neither a code nor an error; ask again with {again}.")
    report = await _exchange(service, answered, state, code)
    if report.error_type is not None:
        log.warning(
            "driver failed",
            connection_type=connection.connection_type,
            error=report.error_type,
            request_id=who.request_id,
        )
    if not await service.threads.write(_record, service, connection, report, who):
        raise _refused(_CHANGED.format(key=connection.key, again=again))
    if report.status != "succeeded":
        reason = report.reason or FailureCode.INTERNAL_DRIVER_ERROR.reason
        raise _refused(f"The code could not be exchanged for tokens. {reason}")
    response.headers.update(NO_STORE)
    return Message(msg=f"Authorization completed for ConnectionConfig with key: {connection.key}.")


def _parameter(request: Request, name: str) -> str:
    """A parameter of the query, which may stand there once (RFC 6749 §3.1); else it is as if it were absent."""
    values = request.query_params.getlist(name)
    return values[0] if len(values) == 1 else ""


def _refused(message: str) -> Refused:
    return Refused(400, message, NO_STORE)


def _consume(service: Service, state: str) -> _Answered:
    now = utc_now()
    answered = None
    with service.store.read() as database:
        pending = consents.is_pending(database, state, now=now)
    if pending:
        with service.store.write() as database:
            asked = consents.consume(database, state, now=now)
            connection = get_by_id(database, asked.connection_id) if asked is not None else None
            if asked is not None and connection is not None:
                envelope = load_envelopes(database, connection.id)[0]
                answered = _Answered(asked, connection, envelope)
    if answered is None:  # not inside: refusing would undo the use
        raise Refused(404, _UNKNOWN_STATE, NO_STORE)
    return answered


async def _exchange(service: Service, answered: _Answered, state: str, code: str) -> CheckReport:
    sealed = answered.asked.verifier
    try:
        verifier = consents.open_verifier(service.vault, state, sealed) if sealed is not None else None
    except EnvelopeUnreadable:
        return CheckReport("failed", FailureCode.SECRETS_UNREADABLE, FailureCode.SECRETS_UNREADABLE.reason)
    # A flight of its own, and without the tokens of an earlier consent, which this one replaces.
    return await run_probe(service, answered.connection, object(), answered.envelope, None, Exchange(code, verifier))


def _record(service: Service, connection: StoredConnection, report: CheckReport, who: Actor) -> bool:
    """Store the tokens, if there are any; False if the secrets they were obtained with are no longer stored."""
    now = utc_now()
    sealed = seal_tokens(service.vault, connection, report.tokens) if report.tokens is not None else None
    with service.store.write() as database:
        kept = sealed is None or store_tokens(
            database, connection.id, sealed, secrets_version=connection.secrets_version
        )
        code = (report.code or report.status) if kept else "secrets_changed"
        kid = sealed.kid if sealed is not None and kept else None
        audit.append(database, who.did("authorized", connection, result_code=code, at=now, kid=kid))
    return kept
