"""A connection's envelopes, which are one row of `connection_secrets`: sealed, opened, loaded and stored.

The secret document is sealed twice: as it is, and with its sensitive values masked. Showing a connection opens only the
second, so the values that must not be shown are not even decrypted. Tokens that were obtained with the secrets, by a test
or by a person's consent, have an envelope of their own and are forgotten with the secrets. Each envelope opens only in
its own row and column. Only this module and `sealed_rows` read or write them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.engine import Connection

from connectory.store.asked import asked, is_asked
from connectory.store.inserting import replace_rows
from connectory.store.prepared import Prepared
from connectory.store.tables import connection_secrets, connections
from connectory.vault import Vault

_TABLE = "connection_secrets"
_SECRETS, _MASKED, _TOKENS = "secrets_sealed", "masked_sealed", "tokens_sealed"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Both envelopes of one connection's secrets, and the id of the key that sealed them."""

    secrets: str
    masked: str
    kid: str


@dataclass(frozen=True, slots=True)
class SealedTokens:
    """The envelope of one connection's tokens, and the id of the key that sealed it."""

    tokens: str
    kid: str


def seal(vault: Vault, connection_id: str, *, secrets: bytes, masked: bytes) -> Sealed:
    """Seal both documents for one connection, with the primary key."""
    [sealed] = seal_all(vault, [(connection_id, secrets, masked)])
    return sealed


def seal_all(vault: Vault, documents: Sequence[tuple[str, bytes, bytes]]) -> list[Sealed]:
    """`seal` for many connections; much faster than one after the other.

    Args:
        documents: for each its id, the secrets, and the masked document.
    """
    pinned = vault.pinned()
    rows = [(connection_id, ((_SECRETS, secrets), (_MASKED, masked))) for connection_id, secrets, masked in documents]
    kid = pinned.ring.primary
    return [Sealed(secrets, masked, kid) for secrets, masked in pinned.seal_rows(rows, table=_TABLE)]


def seal_tokens(vault: Vault, connection_id: str, tokens: bytes) -> SealedTokens:
    """Seal the tokens of one connection, with the primary key."""
    pinned = vault.pinned()
    envelope = pinned.seal(tokens, table=_TABLE, row_id=connection_id, column=_TOKENS)
    return SealedTokens(envelope, pinned.ring.primary)


def open_secrets(vault: Vault, connection_id: str, envelope: str) -> bytes:
    """The secret document.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=connection_id, column=_SECRETS)


def open_masked(vault: Vault, connection_id: str, envelope: str) -> bytes:
    """The document with its sensitive values masked.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=connection_id, column=_MASKED)


def open_tokens(vault: Vault, connection_id: str, envelope: str) -> bytes:
    """The tokens.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=connection_id, column=_TOKENS)


_LOAD = Prepared(
    select(
        connection_secrets.c.secrets_sealed,
        connection_secrets.c.masked_sealed,
        connections.c.secrets_version,
    )
    .join_from(connection_secrets, connections)
    .where(connections.c.id == bindparam("connection_id"))
)
_HAS_TOKENS = select(connection_secrets.c.tokens_sealed.is_not(None)).where(
    connection_secrets.c.connection_id == bindparam("connection_id")
)
_LOAD_TOKENS = select(connection_secrets.c.tokens_sealed).where(
    connection_secrets.c.connection_id == bindparam("connection_id")
)
# The connection first, as every other writer of envelopes does: two transactions wait and do not deadlock.
_LOCK = select(connections.c.secrets_version).where(connections.c.id == bindparam("connection_id")).with_for_update()
_STORE_TOKENS = update(connection_secrets).where(connection_secrets.c.connection_id == bindparam("row_id"))


def load_envelopes(database: Connection, connection_id: str) -> tuple[str | None, str | None, int]:
    """The envelope of the secrets, that of the masked document, and the secrets' version.

    (None, None, 0) where no secrets are stored, or no such connection is.
    """
    row = _LOAD.first(database, {"connection_id": connection_id})
    return (None, None, 0) if row is None else (row[0], row[1], row[2])


def put_envelopes(database: Connection, sealed: Mapping[str, Sealed]) -> None:
    """Store envelopes by connection id, for connections that this transaction inserted or has locked.

    Tokens that were obtained with the secrets before are forgotten.
    """
    rows = [
        {
            "connection_id": connection_id,
            "secrets_sealed": both.secrets,
            "masked_sealed": both.masked,
            "tokens_sealed": None,
            "tokens_kid": None,
        }
        for connection_id, both in sealed.items()
    ]
    replace_rows(database, connection_secrets.c.connection_id, rows)


def has_tokens(database: Connection, connection_id: str) -> bool:
    """Whether tokens are stored for a connection."""
    return bool(database.execute(_HAS_TOKENS, {"connection_id": connection_id}).scalar())


def those_with_tokens(database: Connection, ids: Collection[str]) -> frozenset[str]:
    """The ids, among these, of the connections that tokens are stored for."""
    return frozenset(database.execute(_with_tokens(database.dialect.name), asked(ids)).scalars())


@cache
def _with_tokens(dialect: str) -> Select[Any]:
    of_these = is_asked(connection_secrets.c.connection_id, dialect)
    return select(connection_secrets.c.connection_id).where(of_these, connection_secrets.c.tokens_sealed.is_not(None))


def load_tokens(database: Connection, connection_id: str) -> str | None:
    """The envelope of a connection's tokens; None where there are none."""
    envelope: str | None = database.execute(_LOAD_TOKENS, {"connection_id": connection_id}).scalar()
    return envelope


def lock_secrets(database: Connection, connection_id: str) -> int | None:
    """The version of a connection's secrets, which stays until the transaction ends; None where there is no such connection."""
    version: int | None = database.execute(_LOCK, {"connection_id": connection_id}).scalar()
    return version


def put_tokens(database: Connection, connection_id: str, sealed: SealedTokens) -> bool:
    """Replace a connection's tokens, of secrets that this transaction has locked; False if none are stored.

    For `token_turns`, which knows whose tokens may replace whose.
    """
    values = {"row_id": connection_id, "tokens_sealed": sealed.tokens, "tokens_kid": sealed.kid}
    return database.execute(_STORE_TOKENS, values).rowcount == 1
