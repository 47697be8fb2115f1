"""Authentication: every route declares the scope it needs, in its OpenAPI entry, and is refused without it.

The check runs before anything else of the request is looked at, its body and its path included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from connectory.api.errors import Refused
from connectory.api.service import Service, service_of
from connectory.api.token_cache import Caller
from connectory.scopes import SCOPES
from connectory.store.clients import verify_token
from connectory.store.timestamps import utc_now

SCHEME = "client_credentials"
"""The name of the security scheme in the OpenAPI document."""

_TOKEN = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]{1,512}) *", re.IGNORECASE)  # RFC 6750 §2.1


def needs(scope: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that needs `scope`. It is also what `ScopedRoute` enforces."""
    if scope not in SCOPES:
        raise ValueError(f"There is no scope {scope!r}.")
    return {"security": [{SCHEME: [scope]}]}


class ScopedRoute(APIRoute):
    """A route that needs a scope; one that declares none cannot be made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, behind the check."""
        handle = super().get_route_handler()
        [declared] = (self.openapi_extra or {})["security"]
        [scope] = declared[SCHEME]

        async def handle_authorized(request: Request) -> Response:
            caller = await authenticate(request)
            if scope not in caller.scopes:
                raise Refused(
                    403,
                    f"The token lacks the scope {scope}.",
                    {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
                )
            request.scope["client_id"] = caller.client_id
            return await handle(request)

        return handle_authorized


async def authenticate(request: Request) -> Caller:
    """Who sent the request.

    Raises:
        Refused: 401, without a valid bearer token.
    """
    header = next((value for name, value in request.scope["headers"] if name == b"authorization"), None)
    if header is None or not header[:7].lower() == b"bearer ":
        raise Refused(
            401,
            "A bearer token is needed; POST /api/v1/oauth/token gives one for a client's credentials.",
            {"WWW-Authenticate": 'Bearer realm="connectory"'},
        )
    match = _TOKEN.fullmatch(header)
    caller = await _caller(service_of(request), match[1].decode()) if match else None
    if caller is None:
        raise Refused(
            401,
            "The bearer token is not known, revoked or expired; get a new one from POST /api/v1/oauth/token.",
            {"WWW-Authenticate": 'Bearer realm="connectory", error="invalid_token"'},
        )
    return caller


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
