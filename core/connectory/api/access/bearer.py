"""Authentication: every route names the scope it needs, and is refused without it.

`dependencies=[needs("connection:read")]`, or for a body `body: Annotated[bytes, needs("connection:delete", JsonBody(...))]`.
FastAPI solves a route's own dependencies first, so the token is looked at before the path, the query and the body.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request, Security
from fastapi.openapi.models import OAuthFlowClientCredentials, OAuthFlows
from fastapi.security import OAuth2

from connectory.api.http.bodies import RawBody
from connectory.api.http.errors import Refused
from connectory.api.node.service import Service, service_of
from connectory.api.node.token_cache import Caller
from connectory.scopes import SCOPES
from connectory.store.audit import Actor
from connectory.store.clients import verify_token
from connectory.store.timestamps import utc_now

_FLOWS = OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl="/api/v1/oauth/token", scopes=SCOPES))
_TOKEN = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]{1,512}) *", re.IGNORECASE)  # RFC 6750 §2.1


def needs(scope: str, body: RawBody | None = None) -> Any:
    """The dependency of a route that needs `scope`.

    Args:
        body: of the requests of the route. The dependency's value is then its bytes. Default: the route reads no body.
    """
    if scope not in SCOPES:
        raise ValueError(f"There is no scope {scope!r}.")
    return Security(Needs(scope, body), scopes=[scope])


class Needs(OAuth2):
    """A security scheme that is also the check, and reads the body: FastAPI's usual way is a dependency for each, and each takes
    some 60 µs of the event loop's time (of the 400 µs that `GET /connection/{key}` takes).

    Attributes:
        body: what the body of a request may be; None where the route reads none.
    """

    def __init__(self, scope: str, body: RawBody | None) -> None:
        super().__init__(scheme_name="client_credentials", flows=_FLOWS)
        self._scope = scope
        self.body = body

    async def __call__(self, request: Request) -> bytes | None:  # type: ignore[override]  # it guards no WebSocket
        """Note the client's id for the log and the audit trail.

        Returns:
            The body, where the route reads one.

        Raises:
            Refused: 401, without a valid bearer token; 403, where the token lacks the scope; 415, where the body says that
                it is of another type.
        """
        caller = await _authenticate(request)
        if self._scope not in caller.scopes:
            raise Refused(
                403,
                f"The token lacks the scope {self._scope}.",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self._scope}"'},
            )
        request.scope["client_id"], request.scope["token_scopes"] = caller
        return None if self.body is None else await self.body(request)


async def _authenticate(request: Request) -> Caller:
    header = next((value for name, value in request.scope["headers"] if name == b"authorization"), None)
    if header is None or header[:7].lower() != b"bearer ":
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
    return service.tokens.get(token) or await service.threads.read(_look_up, service, token)


def _look_up(service: Service, token: str) -> Caller | None:
    with service.store.look() as database:
        found = verify_token(database, token, now=utc_now())
    if found is None:
        return None
    client_id, scopes, expires_at = found
    caller = Caller(client_id, scopes)
    service.tokens.put(token, caller, expires_at)
    return caller


def actor(request: Request) -> Actor:
    """For the audit trail: the id of the client that sent the request, and the request's id."""
    return actor_of(request, request.scope["client_id"])


def scopes_of(request: Request) -> frozenset[str]:
    """The scopes of the token that the request was sent with."""
    scopes: frozenset[str] = request.scope["token_scopes"]
    return scopes


def actor_of(request: Request, client_id: str) -> Actor:
    """The same, where no bearer token says who sent the request."""
    return Actor(client_id, request.scope["request_id"], request.scope["client_request_id"])
