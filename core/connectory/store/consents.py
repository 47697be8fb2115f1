"""Consents that persons were asked for and have not given yet (RFC 6749 §4.1): found by their state, and used once.

A state is 32 random bytes, made here and shown once; only its SHA-256 is stored. The PKCE code verifier is sealed for
the state's row, so neither can be used by who reads the database.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.engine import Connection

from connectory.store.tables import authorizations, connections
from connectory.vault import Vault

LIFETIME = timedelta(minutes=10)
"""How long a person may take to consent."""

_STATE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url
_TABLE, _VERIFIER = "authorizations", "verifier_sealed"

_LOCK = select(connections.c.secrets_version).where(connections.c.id == bindparam("connection_id")).with_for_update()
_PENDING = select(authorizations.c.connection_id).where(
    authorizations.c.state_hash == bindparam("hash"), authorizations.c.expires_at > bindparam("now")
)
_CONSUME = (
    delete(authorizations)
    .where(authorizations.c.state_hash == bindparam("hash"))
    .returning(
        authorizations.c.connection_id,
        authorizations.c.secrets_version,
        authorizations.c.verifier_sealed,
        authorizations.c.expires_at,
        authorizations.c.asked_by,
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A consent that was asked for.

    Attributes:
        secrets_version: of the connection's secrets when it was asked for.
        verifier: envelope of the PKCE code verifier; None without PKCE.
        asked_by: id of the client that asked for it; None if that is not known.
    """

    connection_id: str
    secrets_version: int
    verifier: str | None = field(repr=False)
    asked_by: str | None = None


def new_state() -> str:
    """A state for one authorization request."""
    return secrets.token_urlsafe(32)


def seal_verifier(vault: Vault, state: str, verifier: str) -> str:
    """Seal a PKCE code verifier for one state, with the primary key."""
    return vault.seal(verifier.encode(), table=_TABLE, row_id=_hash(state), column=_VERIFIER)


def open_verifier(vault: Vault, state: str, envelope: str) -> str:
    """The PKCE code verifier.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=_hash(state), column=_VERIFIER).decode()


def ask(
    database: Connection,
    state: str,
    connection_id: str,
    *,
    secrets_version: int,
    verifier: str | None,
    now: datetime,
    asked_by: str | None = None,
) -> bool:
    """Store that a consent is asked for, for `LIFETIME`, and purge all expired ones.

    Args:
        state: of `new_state`.
        secrets_version: of the secrets that the request was made from.
        verifier: of `seal_verifier`.
        asked_by: id of the client that asks.

    Returns:
        False if other secrets were stored since, or the connection was deleted; then nothing is stored.
    """
    database.execute(delete(authorizations).where(authorizations.c.expires_at <= now))
    if database.execute(_LOCK, {"connection_id": connection_id}).scalar() != secrets_version:
        return False
    database.execute(
        insert(authorizations).values(
            state_hash=_hash(state),
            connection_id=connection_id,
            secrets_version=secrets_version,
            verifier_sealed=verifier,
            created_at=now,
            expires_at=now + LIFETIME,
            asked_by=asked_by,
        )
    )
    return True


def is_pending(database: Connection, state: str, *, now: datetime) -> bool:
    """Whether `consume` would find something. Only reads, so that whoever guesses states waits for no writer."""
    if not _STATE.fullmatch(state):
        return False
    return database.execute(_PENDING, {"hash": _hash(state), "now": now}).scalar() is not None


def consume(database: Connection, state: str, *, now: datetime) -> Asked | None:
    """The consent that was asked for with this state, which can be used no more; None if it is unknown, used or expired.

    Of several that use a state at once, one gets it. The database compares hashes, so its timing tells nothing.
    """
    if not _STATE.fullmatch(state):
        return None
    row = database.execute(_CONSUME, {"hash": _hash(state)}).one_or_none()
    if row is None or row.expires_at <= now:
        return None
    return Asked(row.connection_id, row.secrets_version, row.verifier_sealed, row.asked_by)


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
