"""Authentication: every route names the scope it needs, `dependencies=[needs("connection:read")]`, and is refused without it.

FastAPI solves a route's own dependencies first, so the token is looked at before the path, the query and the body.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes

from connectory.api.errors import Refused
from connectory.api.service import Service, service_of
from connectory.api.token_cache import Caller
from connectory.scopes import SCOPES
from connectory.store.clients import verify_token
from connectory.store.timestamps import utc_now

_SCHEME = OAuth2(
    scheme_name="client_credentials",
    flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/api/v1/oauth/token", scopes=SCOPES)),
    auto_error=False,
)
_TOKEN = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,512}) *", re.IGNORECASE)  # RFC 6750 §2.1


async def authenticate(
    request: Request, needed: SecurityScopes, authorization: Annotated[str | None, Security(_SCHEME)]
) -> Caller:
    """Who sent the request; its client's id is noted for the log and the audit trail.

    Raises:
        Refused: 401, without a valid bearer token; 403, where the token lacks a scope that the route needs.
    """
    if authorization is None or authorization[:7].lower() != "bearer ":
        raise Refused(
            401,
            "A bearer token is needed; POST /api/v1/oauth/token gives one for a client's credentials.",
            {"WWW-Authenticate": 'Bearer realm="connectory"'},
        )
    match = _TOKEN.fullmatch(authorization)
    caller = await _caller(service_of(request), match[1]) if match else None
    if caller is None:
        raise Refused(
            401,
            "The bearer token is not known, revoked or expired; get a new one from POST /api/v1/oauth/token.",
            {"WWW-Authenticate": 'Bearer realm="connectory", error="invalid_token"'},
        )
    for scope in needed.scopes:
        if scope not in caller.scopes:
            raise Refused(
                403,
                f"The token lacks the scope {scope}.",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            )
    request.scope["client_id"] = caller.client_id
    return caller


def needs(scope: str) -> Any:
    """The dependency of a route that needs `scope`."""
    if scope not in SCOPES:
        raise ValueError(f"There is no scope {scope!r}.")
    return Security(authenticate, scopes=[scope])


async def _caller(service: Service, token: str) -> Caller | None:
    return service.tokens.get(token) or await run_in_threadpool(_look_up, service, token)


def _look_up(service: Service, token: str) -> Caller | None:
    with service.store.read() as database:
        found = verify_token(database, token, now=utc_now())
    if found is None:
        return None
    client_id, scopes, expires_at = found
    caller = Caller(client_id, scopes)
    service.tokens.put(token, caller, expires_at)
    return caller


def actor(request: Request) -> tuple[str, str]:
    """For the audit trail: the id of the client that sent the request, and the request's id."""
    return request.scope["client_id"], request.scope["request_id"]
