"""API clients and their bearer tokens.

Client secrets and tokens are 32 random bytes, made here and shown once. Only their SHA-256 is stored: with 256 bits of
entropy there is nothing to guess, so a slow password hash would cost every request time and protect nothing.
"""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

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
            id=client.id, name=name, secret_hash=_hash(secret), scopes=_join(client.scopes), created_at=now
        )
    )
    return client, secret


def client_name(database: Connection, client_id: str) -> str | None:
    """The name of a client; None if there is no such client."""
    name: str | None = database.execute(select(clients.c.name).where(clients.c.id == client_id)).scalar()
    return name


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
    changed = database.execute(update(clients).where(clients.c.id == client_id).values(secret_hash=_hash(secret)))
    return secret if changed.rowcount == 1 else None


def revoke_token(database: Connection, client_id: str, token: str) -> bool:
    """Revoke one token of a client; False if it has no such token."""
    revoked = delete(client_tokens).where(client_tokens.c.token_hash == _hash(token))
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


def has_client(database: Connection, client_id: str) -> bool:
    """Whether there is a client of this id."""
    return storable(client_id) and database.execute(_CLIENTS.where(clients.c.id == client_id)).first() is not None


def authenticate_client(database: Connection, client_id: str, secret: str) -> Client | None:
    """The client, if there is one of this id and this is its secret. Takes the same time for either mistake."""
    row = database.execute(_CLIENTS.where(clients.c.id == client_id)).one_or_none() if storable(client_id) else None
    expected = "" if row is None else row.secret_hash
    if not hmac.compare_digest(_hash(secret), expected) or row is None:
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
            token_hash=_hash(token), client_id=client_id, scopes=_join(scopes), created_at=now, expires_at=expires_at
        )
    )
    return token, expires_at


def verify_token(database: Connection, token: str, *, now: datetime) -> tuple[str, frozenset[str], datetime] | None:
    """The client id, the scopes and the expiry of a token; None if it is unknown, revoked or expired.

    One look-up by primary key. The database compares hashes, so its timing tells nothing about stored tokens.
    """
    row = database.execute(_VERIFY, {"token_hash": _hash(token), "now": now}).one_or_none()
    return None if row is None else (row.client_id, frozenset(row.scopes.split()), row.expires_at)


def _client(client_id: str, name: str, scopes: str, created_at: datetime) -> Client:
    return Client(client_id, name, frozenset(scopes.split()), created_at)


def _hash(text: str) -> str:
    # What a caller presents may hold anything; surrogatepass only keeps hashing it from raising.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _join(scopes: Iterable[str]) -> str:
    words = sorted(set(scopes))
    for word in words:
        if word.split() != [word]:
            raise ValueError(f"The scope {word!r} is empty or contains white space.")
    return " ".join(words)
