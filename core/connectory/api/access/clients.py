"""`/client`: who may ask for tokens, and which tokens there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Request, Response
from sqlalchemy.engine import Connection

from connectory.api.access.bearer import actor, needs, scopes_of
from connectory.api.access.client_shapes import (
    ApiClient,
    ClientId,
    ClientPage,
    ClientRequest,
    ClientSecret,
    NewClient,
    SecretRequest,
    TokenId,
    TokenPage,
)
from connectory.api.access.routes import Router
from connectory.api.http.answers import NO_STORE, json_response
from connectory.api.http.bodies import JsonBody, parse_body
from connectory.api.http.errors import PROTECTED, Refused, errors
from connectory.api.http.paging import PageNumber, PageSize, page_of
from connectory.api.node.service import Service, service_of
from connectory.store.audit import Actor
from connectory.store.client_changes import add_client, end_token, end_tokens, remove_client, renew_secret
from connectory.store.client_listing import (
    ListedClient,
    listed_client,
    lock_holders,
    page_of_clients,
    page_of_tokens,
)
from connectory.store.timestamps import utc_now

router = Router(prefix="/api/v1", tags=["Clients"], responses=PROTECTED)

MANAGE = "client:manage"
_NO_CLIENT = "There is no client of this id; GET /api/v1/client lists them."
_NO_TOKEN = "The client has no token of this id; GET /api/v1/client/{client_id}/token lists them."


@router.get(
    "/client",
    operation_id="listClients",
    summary="List the clients",
    dependencies=[needs(MANAGE)],
    response_model=ClientPage,
)
async def list_all(request: Request, page: PageNumber = 1, size: PageSize = 50) -> Response:
    """Oldest first. No secret is shown: the store has none."""
    service = service_of(request)
    return await service.threads.read(_list, service, page, size)


def _list(service: Service, page: int, size: int) -> Response:
    with service.store.read() as database:
        found, total = page_of_clients(database, now=utc_now(), page=page, size=size)
    return json_response(page_of([asdict(client) for client in found], total, page, size))


@router.post(
    "/client",
    operation_id="createClient",
    summary="Make a client",
    status_code=201,
    response_model=NewClient,
    responses=errors(413, 415),
)
async def create(
    request: Request,
    body: Annotated[
        bytes,
        needs(MANAGE, JsonBody(ClientRequest, {"Reader": {"name": "dashboard", "scopes": ["connection:read"]}})),
    ],
) -> Response:
    """The answer has its secret, which cannot be shown again. Nobody gives a client a scope that the own token lacks."""
    service = service_of(request)
    return await service.threads.write(_create, service, body, scopes_of(request), actor(request))


def _create(service: Service, body: bytes, held: frozenset[str], who: Actor) -> Response:
    wanted = parse_body(body, ClientRequest)
    _refuse_granting(wanted.scopes, held)
    with service.store.write() as database:
        client, secret = add_client(
            database, who, name=wanted.name, scopes=wanted.scopes, now=utc_now(), result_code="201"
        )
    listed = ListedClient(client.id, client.name, sorted(client.scopes), client.created_at, 0)
    return json_response(asdict(listed) | {"client_secret": secret}, NO_STORE, 201)


def _refuse_granting(scopes: Any, held: frozenset[str]) -> None:
    if lacking := sorted(set(scopes) - held):
        raise Refused(403, f"The token lacks the scope {lacking[0]}, so it cannot give it to a client.")


@router.get(
    "/client/{client_id}",
    operation_id="getClient",
    summary="Read one client",
    dependencies=[needs(MANAGE)],
    response_model=ApiClient,
    responses=errors(404),
)
async def get_one(request: Request, client_id: ClientId) -> Response:
    """As it is listed."""
    service = service_of(request)
    return await service.threads.read(_get, service, client_id)


def _get(service: Service, client_id: str) -> Response:
    with service.store.read() as database:
        return json_response(asdict(_find(database, client_id)))


def _find(database: Connection, client_id: str) -> ListedClient:
    found = listed_client(database, client_id, now=utc_now())
    if found is None:
        raise Refused(404, _NO_CLIENT)
    return found


@router.delete(
    "/client/{client_id}",
    operation_id="deleteClient",
    summary="Delete a client, and revoke its tokens",
    dependencies=[needs(MANAGE)],
    status_code=204,
    responses=errors(404, 409),
)
async def delete_one(request: Request, client_id: ClientId) -> Response:
    """This node refuses its tokens at once, others within 5 seconds. The last client that may manage clients stays."""
    service = service_of(request)
    return await service.threads.write(_change, service, client_id, actor(request), _delete)


def _delete(database: Connection, client_id: str, who: Actor) -> Response:
    if lock_holders(database, MANAGE) == {client_id}:
        raise Refused(409, f"It is the last client with the scope {MANAGE}; give the scope to another one first.")
    if not remove_client(database, who, client_id, result_code="204"):
        raise Refused(404, _NO_CLIENT)
    return Response(status_code=204)


def _change(
    service: Service, client_id: str, who: Actor, change: Callable[[Connection, str, Actor], Response]
) -> Response:
    """Change a client or its tokens, and have this node look its tokens up again."""
    with service.store.write() as database:
        answer = change(database, client_id, who)
    service.tokens.forget_client(client_id)
    return answer


@router.post(
    "/client/{client_id}/secret",
    operation_id="rotateClientSecret",
    summary="Give a client a new secret",
    response_model=ClientSecret,
    responses=errors(404, 413, 415),
)
async def rotate(
    request: Request,
    client_id: ClientId,
    body: Annotated[
        bytes,
        needs(MANAGE, JsonBody(SecretRequest, {"Stolen": {"revoke_tokens": True}}, required=False)),
    ],
) -> Response:
    """The old one is refused at once. The answer has the new one, which cannot be shown again.

    Refused where the client has a scope that the own token lacks. Its tokens work on, unless `revoke_tokens` is sent.
    """
    held = scopes_of(request)

    def change(database: Connection, client_id: str, who: Actor) -> Response:
        client = _find(database, client_id)
        revoke = parse_body(body, SecretRequest).revoke_tokens if body else False
        _refuse_granting(client.scopes, held)
        renewed = renew_secret(database, who, client_id, revoke=revoke, result_code="200")
        if renewed is None:  # deleted a moment ago
            raise Refused(404, _NO_CLIENT)
        secret, revoked = renewed
        shown = {"client_id": client_id, "client_secret": secret, "revoked_tokens": revoked}
        return json_response(shown, NO_STORE)

    service = service_of(request)
    return await service.threads.write(_change, service, client_id, actor(request), change)


@router.get(
    "/client/{client_id}/token",
    operation_id="listClientTokens",
    summary="List the tokens of a client",
    dependencies=[needs(MANAGE)],
    response_model=TokenPage,
    responses=errors(404),
)
async def list_tokens(request: Request, client_id: ClientId, page: PageNumber = 1, size: PageSize = 50) -> Response:
    """Newest first, without those that have expired. A token itself is shown when it is issued, and never again."""
    service = service_of(request)
    return await service.threads.read(_list_tokens, service, client_id, page, size)


def _list_tokens(service: Service, client_id: str, page: int, size: int) -> Response:
    with service.store.read() as database:
        _find(database, client_id)
        found, total = page_of_tokens(database, client_id, now=utc_now(), page=page, size=size)
    return json_response(page_of([asdict(token) for token in found], total, page, size))


@router.delete(
    "/client/{client_id}/token/{token_id}",
    operation_id="revokeClientToken",
    summary="Revoke one token of a client",
    dependencies=[needs(MANAGE)],
    status_code=204,
    responses=errors(404),
)
async def revoke_one(request: Request, client_id: ClientId, token_id: TokenId) -> Response:
    """This node refuses it at once, others within 5 seconds."""

    def change(database: Connection, client_id: str, who: Actor) -> Response:
        _find(database, client_id)
        if not end_token(database, who, client_id, token_id, result_code="204"):
            raise Refused(404, _NO_TOKEN)
        return Response(status_code=204)

    service = service_of(request)
    return await service.threads.write(_change, service, client_id, actor(request), change)


@router.delete(
    "/client/{client_id}/token",
    operation_id="revokeClientTokens",
    summary="Revoke all tokens of a client",
    dependencies=[needs(MANAGE)],
    status_code=204,
    responses=errors(404),
)
async def revoke_all(request: Request, client_id: ClientId) -> Response:
    """This node refuses them at once, others within 5 seconds. With its secret the client gets new ones."""
    service = service_of(request)
    return await service.threads.write(_change, service, client_id, actor(request), _revoke_all)


def _revoke_all(database: Connection, client_id: str, who: Actor) -> Response:
    _find(database, client_id)
    end_tokens(database, who, client_id, result_code="204")
    return Response(status_code=204)
