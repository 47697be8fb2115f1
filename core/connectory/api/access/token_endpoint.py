"""`POST /oauth/token` and `/oauth/revoke`: client credentials (RFC 6749 §4.4) or a code for a token, and its end (RFC 7009)."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, NoReturn
from urllib.parse import unquote_plus

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from connectory.api.access.bearer import actor_of
from connectory.api.access.console_codes import CONSOLE_CODE, exchange_code
from connectory.api.access.oauth import (
    FORM,
    REFUSALS,
    OauthRefused,
    address_of,
    oauth_answer,
    read_form,
    refuse_guessing,
)
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.bodies import RawBody
from connectory.api.http.logs import log
from connectory.api.node.failed_logins import UNKNOWN
from connectory.api.node.service import Service, service_of
from connectory.scopes import SCOPES
from connectory.store.audit import append
from connectory.store.clients import (
    Client,
    authenticate_client,
    find_client,
    issue_token,
    revoke_token,
    verify_token,
)
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Authentication"])


class Token(Answer):
    """A bearer token, and the seconds that it is good for."""

    access_token: Annotated[str, Field(examples=["…"])]
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(examples=[43200])]
    scope: Annotated[str, Field(examples=["connection:read"])]
    client_id: Annotated[str | None, Field(description="Given for a code only.")] = None
    client_name: Annotated[str | None, Field(description="Given for a code only.")] = None


class TokenRequest(BaseModel):
    """The form fields of a request for a token. The credentials may be given by HTTP Basic instead; for a code there are none."""

    # Not an enumeration, of which generators of clients make a type of its own: programs that pass the first as text go on.
    grant_type: Annotated[
        str,
        Field(
            pattern=f"^(client_credentials|{CONSOLE_CODE})$",
            description=f"`client_credentials`, or `{CONSOLE_CODE}` for a code.",
        ),
    ]
    client_id: str = ""
    client_secret: Annotated[str, Field(json_schema_extra={"writeOnly": True})] = ""
    scope: Annotated[str, Field(description="A code has its scopes already.")] = ""
    code: Annotated[
        str,
        Field(
            description="The one-time code of `connectory console`, for its grant.",
            json_schema_extra={"writeOnly": True},
        ),
    ] = ""


class RevocationRequest(BaseModel):
    """The form fields of a request to revoke a token. The credentials may be given by HTTP Basic instead."""

    token: Annotated[str, Field(json_schema_extra={"writeOnly": True})]
    token_type_hint: Annotated[str, Field(description="Not needed, and not looked at.")] = ""
    client_id: str = ""
    client_secret: Annotated[str, Field(json_schema_extra={"writeOnly": True})] = ""


class Revoked(Answer):
    """An empty object: the token does not work, whether or not it did before."""


_TOKEN_EXAMPLES = {
    "Credentials": {"grant_type": "client_credentials"},
    "Code": {"grant_type": CONSOLE_CODE, "code": "…"},
}


@router.post(
    "/oauth/token",
    operation_id="createToken",
    response_model=Token,
    response_model_exclude_unset=True,
    summary="Get a bearer token for a client's credentials, or for a code",
    responses=REFUSALS,
)
async def create_token(
    request: Request,
    response: Response,
    body: Annotated[bytes, Depends(RawBody(TokenRequest, _TOKEN_EXAMPLES, FORM))],
) -> Token | JSONResponse:
    """The credentials are those of `connectory client create`, as form fields or as HTTP Basic.

    The token has all scopes of the client, or those of `scope`, separated by spaces. It survives a restart of the service.

    A one-time code of `connectory console` is exchanged by the grant type `urn:connectory:grant-type:console-code`, without
    credentials. The answer then also has the client's id and name.
    """
    service = service_of(request)
    return await oauth_answer(service.threads.write(_token, service, request, body), response)


@router.post(
    "/oauth/revoke",
    operation_id="revokeToken",
    response_model=Revoked,
    summary="Revoke a bearer token, with its client's credentials",
    responses=REFUSALS,
)
async def revoke(
    request: Request,
    response: Response,
    body: Annotated[bytes, Depends(RawBody(RevocationRequest, {"Form": {"token": "…"}}, FORM))],
) -> Revoked | JSONResponse:
    """The credentials are those of the client that the token was issued to, or the token itself, as the bearer token. A token
    that is not known is as good as revoked.

    This node refuses the token at once, others within 5 seconds.
    """
    service = service_of(request)
    return await oauth_answer(service.threads.write(_revoke, service, request, body), response)


def _revoke(service: Service, request: Request, body: bytes) -> Revoked:
    form = read_form(request, body, RevocationRequest)
    token = form.get("token")
    # Whoever sends it as the bearer token has it, and may end it: a person who signs out knows no client's secret.
    if token and hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode()):
        with service.store.look() as database:
            found = verify_token(database, token, now=utc_now())
        if found is None:
            return Revoked()
        client_id = found[0]
    else:
        client_id = _authenticated(service, request, *_credentials(request, form)).id
    if not token:
        raise OauthRefused("invalid_request", "Send the form field token.")
    with service.store.write() as database:
        if revoke_token(database, client_id, token):
            who = actor_of(request, client_id)
            append(database, who.did("tokens_revoked", object=client_id, result_code="200", details={"times": 1}))
        elif verify_token(database, token, now=utc_now()) is not None:
            raise OauthRefused("invalid_grant", "The token was issued to another client.")  # RFC 7009 §2.1
    service.tokens.forget(token)
    return Revoked()


def _token(service: Service, request: Request, body: bytes) -> Token:
    form = read_form(request, body, TokenRequest)
    if form.get("grant_type") == CONSOLE_CODE:
        return _token_for_code(service, request, form)
    if form.get("grant_type") != "client_credentials":
        kind = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
        raise OauthRefused(kind, "Send the form field grant_type=client_credentials.")
    client_id, secret = _credentials(request, form)
    wanted = frozenset(form.get("scope", "").split())
    if not wanted <= SCOPES.keys():
        raise OauthRefused("invalid_scope", f"A scope is not known; known are: {' '.join(SCOPES)}.")
    lifetime = timedelta(seconds=service.settings.token_lifetime)
    client = _authenticated(service, request, client_id, secret)
    if not wanted <= client.scopes:
        raise OauthRefused("invalid_scope", "The client does not have every scope that was asked for.")
    granted = wanted or client.scopes
    with service.store.write() as database:
        if authenticate_client(database, client_id, secret) is None:  # deleted a moment ago
            _refuse_client()
        token, _ = issue_token(database, client.id, scopes=granted, lifetime=lifetime, now=utc_now())
        scopes = " ".join(sorted(granted))
        who = actor_of(request, client.id)
        details = {"scopes": scopes, "address": address_of(request)}
        append(database, who.did("token_issued", object=client.id, result_code="200", details=details))
    return Token(
        access_token=token,
        token_type="bearer",
        expires_in=service.settings.token_lifetime,
        scope=scopes,
    )


def _token_for_code(service: Service, request: Request, form: Mapping[str, str]) -> Token:
    token, grant = exchange_code(service, request, form)
    return Token(
        access_token=token,
        token_type="bearer",
        expires_in=service.settings.token_lifetime,
        scope=" ".join(sorted(grant.scopes)),
        client_id=grant.client_id,
        client_name=grant.client_name,
    )


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    basic = request.headers.get("authorization")
    client_id, secret = _basic(basic) if basic is not None else (form.get("client_id"), form.get("client_secret"))
    if not client_id or not secret:
        _refuse_client()
    return client_id, secret


def _authenticated(service: Service, request: Request, client_id: str, secret: str) -> Client:
    address = address_of(request)
    refuse_guessing(service, (address, client_id))
    with service.store.look() as database:
        client = authenticate_client(database, client_id, secret)
    if client is None:
        _note_failure(service, request, address, client_id)
        _refuse_client()
    return client


def _refuse_client() -> NoReturn:
    challenge = {"WWW-Authenticate": 'Basic realm="connectory"'}
    raise OauthRefused("invalid_client", "The client id or secret is missing or wrong.", status=401, headers=challenge)


def _note_failure(service: Service, request: Request, address: str, client_id: str) -> None:
    with service.store.look() as database:
        known = find_client(database, client_id) is not None
    caller = (address, client_id if known else None)
    refuse_guessing(service, caller)
    service.login_limit.take(caller)
    # What was sent as an id may be a secret, so only an id that a client has is repeated.
    service.failed_logins.note(actor_of(request, client_id if known else UNKNOWN), address)
    log.warning("login failed", client=client_id if known else None, address=address)


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        decoded = ""
    client_id, colon, secret = decoded.partition(":")
    if scheme.lower() != "basic" or not colon:
        _refuse_client()
    return unquote_plus(client_id), unquote_plus(secret)  # RFC 6749 §2.3.1
