"""`POST /oauth/introspect` (RFC 7662): what a token, or a code to sign in with, is good for. Whoever has it may ask."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from connectory.api.access.console_codes import note_wrong
from connectory.api.access.oauth import FORM, REFUSALS, OauthRefused, address_of, oauth_answer, read_form
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.bodies import RawBody
from connectory.api.node.service import Service, service_of
from connectory.store.clients import Grant, token_grant
from connectory.store.console_codes import code_grant
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Authentication"])


class IntrospectionRequest(BaseModel):
    """The form fields of a question about a token."""

    token: Annotated[
        str,
        Field(
            min_length=1,
            description="A bearer token, or a code of `connectory console`.",
            json_schema_extra={"writeOnly": True},
        ),
    ]
    token_type_hint: Annotated[str, Field(description="Not needed, and not looked at.")] = ""


class Introspection(Answer):
    """What a token is good for. Where it is good for nothing, `active` is the only member."""

    active: Annotated[bool, Field(examples=[True])]
    token_type: Annotated[Literal["bearer", "console_code"], Field(examples=["bearer"])] = "bearer"
    client_id: Annotated[str, Field(examples=["5f0c6e0e-3c3e-4bd1-9f2d-0b6d3f1a7c11"])] = ""
    client_name: Annotated[str, Field(examples=["root"])] = ""
    scope: Annotated[str, Field(examples=["connection:read"])] = ""
    exp: Annotated[int, Field(description="When it ends, in seconds since 1970.", examples=[1795780800])] = 0
    iat: Annotated[int, Field(description="When it was made, in seconds since 1970.", examples=[1795737600])] = 0


@router.post(
    "/oauth/introspect",
    operation_id="introspectToken",
    response_model=Introspection,
    response_model_exclude_unset=True,
    summary="Ask what a token, or a code to sign in with, is good for",
    responses={status: described for status, described in REFUSALS.items() if status != 401},
)
async def introspect(
    request: Request,
    response: Response,
    body: Annotated[bytes, Depends(RawBody(IntrospectionRequest, {"Form": {"token": "…"}}, FORM))],
) -> Introspection | JSONResponse:
    """The token itself is the credential. Nothing is used up: a code can still be exchanged, once.

    `{"active": false}` where it is unknown, revoked, used or expired. Too many such questions from an address are refused.
    """
    service = service_of(request)
    return await oauth_answer(service.threads.read(_introspect, service, request, body), response)


def _introspect(service: Service, request: Request, body: bytes) -> Introspection:
    form = read_form(request, body, IntrospectionRequest)
    if not (token := form.get("token")):
        raise OauthRefused("invalid_request", "Send the form field token.")
    now = utc_now()
    with service.store.read() as database:
        if grant := token_grant(database, token, now=now):
            return _active("bearer", grant)
        if grant := code_grant(database, token, now=now):
            return _active("console_code", grant)
    note_wrong(service, address_of(request))
    return Introspection(active=False)


def _active(kind: Literal["bearer", "console_code"], grant: Grant) -> Introspection:
    return Introspection(
        active=True,
        token_type=kind,
        client_id=grant.client_id,
        client_name=grant.client_name,
        scope=" ".join(sorted(grant.scopes)),
        exp=_seconds(grant.expires_at),
        iat=_seconds(grant.created_at),
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
