"""One-time codes to sign in to the console with.

A code is 32 random bytes, made here and shown once, and only its SHA-256 is stored. Whoever holds one can exchange it for a
bearer token, once, on any node.
"""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.engine import Connection

from connectory.store.clients import Grant, grant_of, hash_of, join_scopes
from connectory.store.tables import clients, console_codes

LIFETIME = timedelta(minutes=10)
"""How long a person may take to open the link."""

_GRANT = (
    select(
        console_codes.c.client_id,
        clients.c.name,
        console_codes.c.scopes,
        console_codes.c.created_at,
        console_codes.c.expires_at,
    )
    .join_from(console_codes, clients)
    .where(console_codes.c.code_hash == bindparam("hash"), console_codes.c.expires_at > bindparam("now"))
)
# Whoever deletes the client meanwhile waits, and does not find its rows locked one by one: the token that follows needs it.
_GRANT_OF_LOCKED_CLIENT = _GRANT.with_for_update(read=True, key_share=True, of=clients)


def issue_code(database: Connection, client_id: str, *, scopes: Iterable[str], now: datetime) -> tuple[str, datetime]:
    """Store a new code for a token of a client, and purge all expired ones. Returns the code and when it expires.

    Args:
        client_id: of a client that exists in this transaction.

    Raises:
        ValueError: a scope is empty or contains white space.
    """
    code, expires_at = secrets.token_urlsafe(32), now + LIFETIME
    database.execute(delete(console_codes).where(console_codes.c.expires_at <= now))
    database.execute(
        insert(console_codes).values(
            code_hash=hash_of(code),
            client_id=client_id,
            scopes=join_scopes(scopes),
            created_at=now,
            expires_at=expires_at,
        )
    )
    return code, expires_at


def code_grant(database: Connection, code: str, *, now: datetime) -> Grant | None:
    """What a code is good for; None if it is unknown, used or expired. Looking uses nothing up."""
    row = database.execute(_GRANT, {"hash": hash_of(code), "now": now}).one_or_none()
    return None if row is None else grant_of(row)


def use_code(database: Connection, code: str, *, now: datetime) -> Grant | None:
    """What a code is good for, once: of several who use it at the same time, one has it. None as for `code_grant`."""
    given = {"hash": hash_of(code), "now": now}
    row = database.execute(_GRANT_OF_LOCKED_CLIENT, given).one_or_none()
    if row is None:
        return None
    used = database.execute(delete(console_codes).where(console_codes.c.code_hash == given["hash"]))
    return grant_of(row) if used.rowcount == 1 else None
