"""Clients and tokens, a page at a time: for people who look after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, select
from sqlalchemy.engine import Connection

from connectory.store.paging import load_page, paged
from connectory.store.search import storable
from connectory.store.tables import client_tokens, clients

ID_LENGTH = 16
"""Hexadecimal digits of a token's id: the first ones of its SHA-256. 64 bits tell the tokens of one client apart."""

_LIVE = client_tokens.c.expires_at > bindparam("now")
_TOKENS = (
    select(func.count()).where(client_tokens.c.client_id == clients.c.id, _LIVE).correlate(clients).scalar_subquery()
)
_CLIENTS = select(clients.c.id, clients.c.name, clients.c.scopes, clients.c.created_at, _TOKENS)
_PAGE_OF_CLIENTS = paged(_CLIENTS.order_by(clients.c.created_at, clients.c.id))
_COUNT_CLIENTS = select(func.count()).select_from(clients)

_token_id: ColumnElement[str] = func.substr(client_tokens.c.token_hash, 1, ID_LENGTH)
_OF_CLIENT = client_tokens.c.client_id == bindparam("client")
_PAGE_OF_TOKENS = paged(
    select(_token_id, client_tokens.c.scopes, client_tokens.c.created_at, client_tokens.c.expires_at)
    .where(_OF_CLIENT, _LIVE)
    .order_by(client_tokens.c.created_at.desc(), client_tokens.c.token_hash)
)
_COUNT_TOKENS = select(func.count()).select_from(client_tokens).where(_OF_CLIENT, _LIVE)


@dataclass(frozen=True, slots=True)
class ListedClient:
    """A client, and how many tokens it has that have not expired."""

    client_id: str
    name: str
    scopes: Sequence[str]
    created_at: datetime
    tokens: int


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token that has not expired, by its id, which is good for nothing but to revoke it."""

    id: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime


def page_of_clients(database: Connection, *, now: datetime, page: int, size: int) -> tuple[list[ListedClient], int]:
    """One page of the clients, oldest first, and how many there are."""
    rows, total = load_page(database, _COUNT_CLIENTS, lambda _: _PAGE_OF_CLIENTS, {"now": now}, page=page, size=size)
    return [_listed(row) for row in rows], total


def listed_client(database: Connection, client_id: str, *, now: datetime) -> ListedClient | None:
    """One client, as it is listed; None if there is none."""
    if not storable(client_id):
        return None
    row = database.execute(_CLIENTS.where(clients.c.id == client_id), {"now": now}).one_or_none()
    return None if row is None else _listed(row)


def page_of_tokens(
    database: Connection, client_id: str, *, now: datetime, page: int, size: int
) -> tuple[list[ListedToken], int]:
    """One page of a client's tokens that have not expired, newest first, and how many there are."""
    values = {"client": client_id, "now": now}
    rows, total = load_page(database, _COUNT_TOKENS, lambda _: _PAGE_OF_TOKENS, values, page=page, size=size)
    return [_token(row) for row in rows], total


def delete_token(database: Connection, client_id: str, token_id: str) -> bool:
    """Revoke a client's token by its id; False if it has none of this id."""
    if not storable(client_id) or not storable(token_id):
        return False
    found = delete(client_tokens).where(client_tokens.c.client_id == client_id, _token_id == token_id)
    return database.execute(found).rowcount > 0


def lock_holders(database: Connection, scope: str) -> set[str]:
    """The ids of all clients that have a scope. Nobody else deletes one of them until the transaction ends."""
    found = select(clients.c.id, clients.c.scopes).where(clients.c.scopes.contains(scope, autoescape=True))
    rows = database.execute(found.order_by(clients.c.id).with_for_update())
    return {row.id for row in rows if scope in row.scopes.split()}


def _listed(row: Sequence[Any]) -> ListedClient:
    client_id, name, scopes, created_at, tokens = row
    return ListedClient(client_id, name, sorted(scopes.split()), created_at, tokens)


def _token(row: Sequence[Any]) -> ListedToken:
    token_id, scopes, created_at, expires_at = row
    return ListedToken(token_id, sorted(scopes.split()), created_at, expires_at)
