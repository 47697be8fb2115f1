"""`POST /oauth/token` and `/oauth/revoke`: OAuth 2.0 client credentials (RFC 6749 §4.4, RFC 7009), by form or HTTP Basic."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from connectory.api.answers import NO_STORE, Answer
from connectory.api.bearer import actor_of
from connectory.api.bodies import RawBody
from connectory.api.errors import errors
from connectory.api.failed_logins import UNKNOWN
from connectory.api.logs import log
from connectory.api.service import Service, service_of
from connectory.scopes import SCOPES
from connectory.store.audit import append
from connectory.store.clients import (
    Client,
    authenticate_client,
    has_client,
    issue_token,
    revoke_token,
    verify_token,
)
from connectory.store.timestamps import utc_now

router = APIRouter(prefix="/api/v1", tags=["Authentication"])

_Given = TypeVar("_Given")
_FORM = "application/x-www-form-urlencoded"


class Token(Answer):
    """A bearer token, and the seconds that it is good for."""

    access_token: Annotated[str, Field(examples=["…"])]
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(examples=[43200])]
    scope: Annotated[str, Field(examples=["connection:read"])]


class TokenRequest(BaseModel):
    """The form fields of a request for a token. The credentials may be given by HTTP Basic instead."""

    grant_type: Literal["client_credentials"]
    client_id: str = ""
    client_secret: Annotated[str, Field(json_schema_extra={"writeOnly": True})] = ""
    scope: str = ""


class RevocationRequest(BaseModel):
    """The form fields of a request to revoke a token. The credentials may be given by HTTP Basic instead."""

    token: Annotated[str, Field(json_schema_extra={"writeOnly": True})]
    token_type_hint: Annotated[str, Field(description="Not needed, and not looked at.")] = ""
    client_id: str = ""
    client_secret: Annotated[str, Field(json_schema_extra={"writeOnly": True})] = ""


class Revoked(Answer):
    """An empty object: the token does not work, whether or not it did before."""


class OauthError(Answer):
    """An error of RFC 6749 §5.2."""

    error: str
    error_description: str


class _Refusal(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error, self.description, self.status, self.headers = error, description, status, headers or {}


_REFUSALS: dict[int | str, dict[str, Any]] = errors(413, 503) | {
    400: {"model": OauthError, "description": "The request is not as RFC 6749 has it"},
    401: {"model": OauthError, "description": "The credentials are not accepted"},
    429: {"model": OauthError, "description": "Too many failed logins; try again after `Retry-After` seconds"},
}


@router.post(
    "/oauth/token",
    operation_id="createToken",
    response_model=Token,
    summary="Get a bearer token for a client's credentials",
    responses=_REFUSALS,
)
async def create_token(
    request: Request,
    response: Response,
    body: Annotated[bytes, Depends(RawBody(TokenRequest, {"Form": {"grant_type": "client_credentials"}}, _FORM))],
) -> Token | JSONResponse:
    """The credentials are those of `connectory client create`, as form fields or as HTTP Basic.

    The token has all scopes of the client, or those of `scope`, separated by spaces. It survives a restart of the service.
    """
    return await _answer(_token, request, response, body)


@router.post(
    "/oauth/revoke",
    operation_id="revokeToken",
    response_model=Revoked,
    summary="Revoke a bearer token, with its client's credentials",
    responses=_REFUSALS,
)
async def revoke(
    request: Request,
    response: Response,
    body: Annotated[bytes, Depends(RawBody(RevocationRequest, {"Form": {"token": "…"}}, _FORM))],
) -> Revoked | JSONResponse:
    """The credentials are those of the client that the token was issued to. A token that is not known is as good as revoked.

    This node refuses the token at once, others within 5 seconds.
    """
    return await _answer(_revoke, request, response, body)


async def _answer(
    work: Callable[[Service, Request, bytes], _Given], request: Request, response: Response, body: bytes
) -> _Given | JSONResponse:
    try:
        service = service_of(request)
        given = await service.threads.write(work, service, request, body)
    except _Refusal as refusal:
        answer = OauthError(error=refusal.error, error_description=refusal.description)
        return JSONResponse(answer.model_dump(), refusal.status, {**NO_STORE, **refusal.headers})
    response.headers.update(NO_STORE)  # RFC 6749 §5.1
    return given


def _revoke(service: Service, request: Request, body: bytes) -> Revoked:
    form = _form(request, body, RevocationRequest)
    client = _authenticated(service, request, *_credentials(request, form))
    if not (token := form.get("token")):
        raise _Refusal("invalid_request", "Send the form field token.")
    with service.store.write() as database:
        if revoke_token(database, client.id, token):
            who = actor_of(request, client.id)
            append(database, who.did("tokens_revoked", object=client.id, result_code="200", details={"times": 1}))
        elif verify_token(database, token, now=utc_now()) is not None:
            raise _Refusal("invalid_grant", "The token was issued to another client.")  # RFC 7009 §2.1
    service.tokens.forget(token)
    return Revoked()


def _token(service: Service, request: Request, body: bytes) -> Token:
    form = _form(request, body, TokenRequest)
    if form.get("grant_type") != "client_credentials":
        kind = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
        raise _Refusal(kind, "Send the form field grant_type=client_credentials.")
    client_id, secret = _credentials(request, form)
    wanted = frozenset(form.get("scope", "").split())
    if not wanted <= SCOPES.keys():
        raise _Refusal("invalid_scope", f"A scope is not known; known are: {' '.join(SCOPES)}.")
    lifetime = timedelta(seconds=service.settings.token_lifetime)
    client = _authenticated(service, request, client_id, secret)
    if not wanted <= client.scopes:
        raise _Refusal("invalid_scope", "The client does not have every scope that was asked for.")
    granted = wanted or client.scopes
    with service.store.write() as database:
        if authenticate_client(database, client_id, secret) is None:  # deleted a moment ago
            _refuse_client()
        token, _ = issue_token(database, client.id, scopes=granted, lifetime=lifetime, now=utc_now())
        scopes = " ".join(sorted(granted))
        who = actor_of(request, client.id)
        details = {"scopes": scopes, "address": _address(request)}
        append(database, who.did("token_issued", object=client.id, result_code="200", details=details))
    return Token(
        access_token=token,
        token_type="bearer",
        expires_in=service.settings.token_lifetime,
        scope=scopes,
    )


def _credentials(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    basic = request.headers.get("authorization")
    client_id, secret = _basic(basic) if basic is not None else (form.get("client_id"), form.get("client_secret"))
    if not client_id or not secret:
        _refuse_client()
    return client_id, secret


def _authenticated(service: Service, request: Request, client_id: str, secret: str) -> Client:
    address = _address(request)
    _refuse_guessing(service, (address, client_id))
    with service.store.look() as database:
        client = authenticate_client(database, client_id, secret)
    if client is None:
        _note_failure(service, request, address, client_id)
        _refuse_client()
    return client


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _refuse_client() -> NoReturn:
    challenge = {"WWW-Authenticate": 'Basic realm="connectory"'}
    raise _Refusal("invalid_client", "The client id or secret is missing or wrong.", status=401, headers=challenge)


def _refuse_guessing(service: Service, caller: tuple[str, str | None]) -> None:
    if wait := service.login_limit.wait(caller):
        message = f"Too many failed logins; try again in {wait} seconds."
        raise _Refusal("temporarily_unavailable", message, status=429, headers={"Retry-After": str(wait)})


def _note_failure(service: Service, request: Request, address: str, client_id: str) -> None:
    with service.store.look() as database:
        known = has_client(database, client_id)
    caller = (address, client_id if known else None)
    _refuse_guessing(service, caller)
    service.login_limit.take(caller)
    # What was sent as an id may be a secret, so only an id that a client has is repeated.
    service.failed_logins.note(actor_of(request, client_id if known else UNKNOWN), address)
    log.warning("login failed", client=client_id if known else None, address=address)


def _form(request: Request, body: bytes, fields: type[BaseModel]) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise _Refusal("invalid_request", f"The body must be a form; send the header 'Content-Type: {_FORM}'.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError:
        raise _Refusal("invalid_request", "The body is not a form in percent-encoded UTF-8.") from None
    known = [(name, value) for name, value in pairs if name in fields.model_fields]
    if len(known) != len(dict(known)):
        raise _Refusal("invalid_request", "A form field is given twice.")
    return {name: value for name, value in known if value}


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
