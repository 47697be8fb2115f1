"""API clients and their bearer tokens.

Client secrets and tokens are 32 random bytes, made here and shown once. Only their SHA-256 is stored: with 256 bits of
entropy there is nothing to guess, so a slow password hash would cost every request time and protect nothing.
"""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from connectory.store.search import storable
from connectory.store.tables import client_tokens, clients


@dataclass(frozen=True, slots=True)
class Client:
    """Who may ask for tokens, and the scopes these may have."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime


class Grant(NamedTuple):
    """What a token, or a code for one, lets its bearer do, and until when."""

    client_id: str
    client_name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime


_VERIFY = select(client_tokens.c.client_id, client_tokens.c.scopes, client_tokens.c.expires_at).where(
    client_tokens.c.token_hash == bindparam("token_hash"), client_tokens.c.expires_at > bindparam("now")
)
_CLIENTS = select(clients.c.id, clients.c.name, clients.c.scopes, clients.c.created_at, clients.c.secret_hash)


def create_client(database: Connection, *, name: str, scopes: Iterable[str], now: datetime) -> tuple[Client, str]:
    """Store a new client. Returns it with its secret, which cannot be read again.

    Raises:
        ValueError: a scope is empty or contains white space.
    """
    client = Client(id=str(uuid.uuid4()), name=name, scopes=frozenset(scopes), created_at=now)
    secret = secrets.token_urlsafe(32)
    database.execute(
        insert(clients).values(
            id=client.id, name=name, secret_hash=hash_of(secret), scopes=join_scopes(client.scopes), created_at=now
        )
    )
    return client, secret


def client_name(database: Connection, client_id: str) -> str | None:
    """The name of a client; None if there is no such client."""
    name: str | None = database.execute(select(clients.c.name).where(clients.c.id == client_id)).scalar()
    return name


def find_client(database: Connection, client_id: str) -> Client | None:
    """The client of this id, if there is one."""
    if not storable(client_id):
        return None
    row = database.execute(_CLIENTS.where(clients.c.id == client_id)).one_or_none()
    return None if row is None else _client(row.id, row.name, row.scopes, row.created_at)


def list_clients(database: Connection) -> list[Client]:
    """All clients, oldest first."""
    rows = database.execute(_CLIENTS.order_by(clients.c.created_at, clients.c.id))
    return [_client(row.id, row.name, row.scopes, row.created_at) for row in rows]


def rotate_secret(database: Connection, client_id: str) -> str | None:
    """Give a client a new secret, which cannot be read again. The old one is refused from then on.

    The client's tokens stay: see `revoke_tokens`.

    Returns:
        The new secret, or None if there is no such client.
    """
    if not storable(client_id):
        return None
    secret = secrets.token_urlsafe(32)
    changed = database.execute(update(clients).where(clients.c.id == client_id).values(secret_hash=hash_of(secret)))
    return secret if changed.rowcount == 1 else None


def revoke_token(database: Connection, client_id: str, token: str) -> bool:
    """Revoke one token of a client; False if it has no such token."""
    revoked = delete(client_tokens).where(client_tokens.c.token_hash == hash_of(token))
    return database.execute(revoked.where(client_tokens.c.client_id == client_id)).rowcount == 1


def revoke_tokens(database: Connection, client_id: str) -> int:
    """Revoke all tokens of a client. Returns how many it had, expired ones included."""
    if not storable(client_id):
        return 0
    return database.execute(delete(client_tokens).where(client_tokens.c.client_id == client_id)).rowcount


def delete_client(database: Connection, client_id: str) -> bool:
    """Delete a client and revoke its tokens; False if there is none."""
    if not storable(client_id):
        return False
    return database.execute(delete(clients).where(clients.c.id == client_id)).rowcount == 1


def authenticate_client(database: Connection, client_id: str, secret: str) -> Client | None:
    """The client, if there is one of this id and this is its secret. Takes the same time for either mistake."""
    row = database.execute(_CLIENTS.where(clients.c.id == client_id)).one_or_none() if storable(client_id) else None
    expected = "" if row is None else row.secret_hash
    if not hmac.compare_digest(hash_of(secret), expected) or row is None:
        return None
    return _client(row.id, row.name, row.scopes, row.created_at)


def issue_token(
    database: Connection, client_id: str, *, scopes: Iterable[str], lifetime: timedelta, now: datetime
) -> tuple[str, datetime]:
    """Store a new token of a client, and purge all expired ones. Returns the token and when it expires.

    Args:
        client_id: of a client that exists in this transaction.

    Raises:
        ValueError: a scope is empty or contains white space.
    """
    token, expires_at = secrets.token_urlsafe(32), now + lifetime
    database.execute(delete(client_tokens).where(client_tokens.c.expires_at <= now))
    database.execute(
        insert(client_tokens).values(
            token_hash=hash_of(token),
            client_id=client_id,
            scopes=join_scopes(scopes),
            created_at=now,
            expires_at=expires_at,
        )
    )
    return token, expires_at


def verify_token(database: Connection, token: str, *, now: datetime) -> tuple[str, frozenset[str], datetime] | None:
    """The client id, the scopes and the expiry of a token; None if it is unknown, revoked or expired.

    One look-up by primary key. The database compares hashes, so its timing tells nothing about stored tokens.
    """
    row = database.execute(_VERIFY, {"token_hash": hash_of(token), "now": now}).one_or_none()
    return None if row is None else (row.client_id, frozenset(row.scopes.split()), row.expires_at)


def token_grant(database: Connection, token: str, *, now: datetime) -> Grant | None:
    """All that is known of a token; None if it is unknown, revoked or expired."""
    columns = client_tokens.c.client_id, clients.c.name, client_tokens.c.scopes
    found = (
        select(*columns, client_tokens.c.created_at, client_tokens.c.expires_at)
        .join_from(client_tokens, clients)
        .where(client_tokens.c.token_hash == hash_of(token), client_tokens.c.expires_at > now)
    )
    row = database.execute(found).one_or_none()
    return None if row is None else grant_of(row)


def grant_of(row: Sequence[Any]) -> Grant:
    """A grant from client id, client name, scopes, when it was made, and when it ends."""
    client_id, name, scopes, created_at, expires_at = row
    return Grant(client_id, name, frozenset(scopes.split()), created_at, expires_at)


def _client(client_id: str, name: str, scopes: str, created_at: datetime) -> Client:
    return Client(client_id, name, frozenset(scopes.split()), created_at)


def hash_of(text: str) -> str:
    """The SHA-256 of a secret, in hexadecimal: what the database holds of it."""
    # What a caller presents may hold anything; surrogatepass only keeps hashing it from raising.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def join_scopes(scopes: Iterable[str]) -> str:
    """Scopes as they are stored: sorted, separated by spaces.

    Raises:
        ValueError: a scope is empty or contains white space.
    """
    words = sorted(set(scopes))
    for word in words:
        if word.split() != [word]:
            raise ValueError(f"The scope {word!r} is empty or contains white space.")
    return " ".join(words)
