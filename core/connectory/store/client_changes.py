"""Changes to clients and their tokens, each told to the audit trail in its transaction: by a command, or by the API."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.engine import Connection

from connectory.store.audit import Actor, append
from connectory.store.client_listing import delete_token
from connectory.store.clients import Client, create_client, delete_client, revoke_tokens, rotate_secret


def add_client(
    database: Connection,
    who: Actor,
    *,
    name: str,
    scopes: Iterable[str],
    now: datetime,
    result_code: str = "succeeded",
) -> tuple[Client, str]:
    """Create a client. Returns it with its secret, which cannot be read again."""
    client, secret = create_client(database, name=name, scopes=scopes, now=now)
    details = {"name": name, "scopes": " ".join(sorted(client.scopes))}
    append(database, who.did("client_created", object=client.id, result_code=result_code, details=details))
    return client, secret


def renew_secret(
    database: Connection, who: Actor, client_id: str, *, revoke: bool, result_code: str = "succeeded"
) -> tuple[str, int] | None:
    """Give a client a new secret, which cannot be read again.

    Args:
        revoke: its tokens too.

    Returns:
        The secret, and how many tokens were revoked; None if there is no such client.
    """
    secret = rotate_secret(database, client_id)
    if secret is None:
        return None
    append(database, who.did("client_secret_rotated", object=client_id, result_code=result_code))
    return secret, end_tokens(database, who, client_id, result_code=result_code) if revoke else 0


def remove_client(database: Connection, who: Actor, client_id: str, *, result_code: str = "succeeded") -> bool:
    """Delete a client and revoke its tokens; False if there is none."""
    revoked = revoke_tokens(database, client_id)
    if not delete_client(database, client_id):
        return False
    append(database, who.did("client_deleted", object=client_id, result_code=result_code))
    if revoked:
        _tell_revoked(database, who, client_id, revoked, result_code)
    return True


def end_tokens(database: Connection, who: Actor, client_id: str, *, result_code: str = "succeeded") -> int:
    """Revoke all tokens of a client. Returns how many it had, expired ones included."""
    revoked = revoke_tokens(database, client_id)
    _tell_revoked(database, who, client_id, revoked, result_code)
    return revoked


def end_token(database: Connection, who: Actor, client_id: str, token_id: str, *, result_code: str) -> bool:
    """Revoke one token of a client; False if it has none of this id."""
    if not delete_token(database, client_id, token_id):
        return False
    _tell_revoked(database, who, client_id, 1, result_code)
    return True


def _tell_revoked(database: Connection, who: Actor, client_id: str, times: int, result_code: str) -> None:
    append(database, who.did("tokens_revoked", object=client_id, result_code=result_code, details={"times": times}))
