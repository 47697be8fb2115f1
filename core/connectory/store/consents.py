"""Consents that persons were asked for (RFC 6749 §4.1): found by their state, and used once.

Each remembers the browser that asked. One that comes from another browser is held, with its code, until somebody confirms it.

A state is 32 random bytes, made here and shown once; only its SHA-256 is stored, and so it is with what a held consent is
confirmed by. The PKCE code verifier and a held code are sealed for the state's row, so nothing of it can be used by who reads the
database.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.engine import Connection, CursorResult

from connectory.store.tables import authorizations, connections
from connectory.vault import Vault

LIFETIME = timedelta(minutes=10)
"""How long a person may take to consent, and somebody to confirm it: as long as a code may be good for (RFC 6749 §4.1.2)."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url
_TABLE, _VERIFIER, _CODE = "authorizations", "verifier_sealed", "code_sealed"

_LOCK = select(connections.c.secrets_version).where(connections.c.id == bindparam("connection_id")).with_for_update()
_NOT_HELD = authorizations.c.confirmation_hash.is_(None)
_PENDING = select(authorizations.c.connection_id).where(
    authorizations.c.state_hash == bindparam("hash"), authorizations.c.expires_at > bindparam("now"), _NOT_HELD
)
_CONSUME = (
    delete(authorizations)
    .where(authorizations.c.state_hash == bindparam("hash"), _NOT_HELD)
    .returning(*authorizations.c)
)
_CONFIRM = (
    delete(authorizations)
    .where(
        authorizations.c.confirmation_hash == bindparam("hash"),
        authorizations.c.connection_id == bindparam("connection_id"),
    )
    .returning(*authorizations.c)
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A consent that was asked for.

    Attributes:
        row: what its envelopes are sealed for.
        secrets_version: of the connection's secrets when it was asked for.
        asked_by: id of the client that asked.
        browser: hash of what the browser that asked was given.
        verifier: envelope of the PKCE code verifier; None without PKCE.
        code: envelope of the authorization code, where it was held.
    """

    row: str
    connection_id: str
    secrets_version: int
    asked_by: str | None
    browser: str | None = field(repr=False)
    verifier: str | None = field(repr=False)
    code: str | None = field(default=None, repr=False)

    def is_from(self, browser: str) -> bool:
        """Whether `browser`, something that a browser sent, is what the one that asked was given."""
        return self.browser is not None and hmac.compare_digest(self.browser, _hash(browser))


def new_secret() -> str:
    """A state for one authorization request, what its browser is known by, or what it is confirmed by: 32 random bytes."""
    return secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Whether `text` may be of `new_secret`."""
    return _SECRET.fullmatch(text) is not None


def seal_verifier(vault: Vault, state: str, verifier: str) -> str:
    """Seal a PKCE code verifier for one state, with the primary key."""
    return vault.seal(verifier.encode(), table=_TABLE, row_id=_hash(state), column=_VERIFIER)


def open_verifier(vault: Vault, asked: Asked) -> str | None:
    """The PKCE code verifier, where there is one.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    if asked.verifier is None:
        return None
    return vault.open(asked.verifier, table=_TABLE, row_id=asked.row, column=_VERIFIER).decode()


def seal_code(vault: Vault, state: str, code: str) -> str:
    """Seal an authorization code for one state, with the primary key."""
    return vault.seal(code.encode(), table=_TABLE, row_id=_hash(state), column=_CODE)


def open_code(vault: Vault, asked: Asked) -> str:
    """The code of a consent that was held.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(asked.code or "", table=_TABLE, row_id=asked.row, column=_CODE).decode()


def ask(
    database: Connection,
    state: str,
    connection_id: str,
    *,
    secrets_version: int,
    asked_by: str,
    browser: str,
    verifier: str | None,
    now: datetime,
) -> bool:
    """Store that a consent is asked for, for `LIFETIME`, and purge all expired ones.

    Args:
        state: of `new_secret`.
        secrets_version: of the secrets that the request was made from.
        asked_by: id of the client that asks.
        browser: what only the browser that asks will send.
        verifier: of `seal_verifier`.

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
            asked_by=asked_by,
            browser_hash=_hash(browser),
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )
    return True


def is_pending(database: Connection, state: str, *, now: datetime) -> bool:
    """Whether `consume` would find something. Only reads, so that whoever guesses states waits for no writer."""
    return is_secret(state) and database.execute(_PENDING, {"hash": _hash(state), "now": now}).scalar() is not None


def consume(database: Connection, state: str, *, now: datetime) -> Asked | None:
    """The consent that was asked for with this state, which can be used no more; None if it is unknown, used or expired.

    Of several that use a state at once, one gets it. The database compares hashes, so its timing tells nothing.
    """
    return _taken(database.execute(_CONSUME, {"hash": _hash(state)}), now) if is_secret(state) else None


def hold(database: Connection, asked: Asked, confirmation: str, code: str, *, now: datetime) -> None:
    """Keep a consent that was consumed, with its code, until `confirm`, for `LIFETIME`.

    Args:
        confirmation: of `new_secret`; known to nobody but the browser that the consent came from.
        code: of `seal_code`.
    """
    database.execute(
        insert(authorizations).values(
            state_hash=asked.row,
            connection_id=asked.connection_id,
            secrets_version=asked.secrets_version,
            verifier_sealed=asked.verifier,
            asked_by=asked.asked_by,
            browser_hash=asked.browser,
            confirmation_hash=_hash(confirmation),
            code_sealed=code,
            created_at=now,
            expires_at=now + LIFETIME,
        )
    )


def confirm(database: Connection, connection_id: str, confirmation: str, *, now: datetime) -> Asked | None:
    """The consent to this connection that was held, which can be used no more; None if it is unknown, used or expired."""
    if not is_secret(confirmation):
        return None
    given = {"hash": _hash(confirmation), "connection_id": connection_id}
    return _taken(database.execute(_CONFIRM, given), now)


def _taken(rows: CursorResult[Any], now: datetime) -> Asked | None:
    row = rows.one_or_none()
    if row is None or row.expires_at <= now:
        return None
    return Asked(
        row.state_hash,
        row.connection_id,
        row.secrets_version,
        row.asked_by,
        row.browser_hash,
        row.verifier_sealed,
        row.code_sealed,
    )


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
