"""A connection's envelopes: sealed for, and opened from, their own row and columns.

The secret document is sealed twice: as it is, and with its sensitive values masked. Showing a connection opens only the
second, so the values that must not be shown are not even decrypted. Tokens that were obtained with the secrets have an
envelope of their own.
"""

from dataclasses import dataclass

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
    return Sealed(
        secrets=vault.seal(secrets, table=_TABLE, row_id=connection_id, column=_SECRETS),
        masked=vault.seal(masked, table=_TABLE, row_id=connection_id, column=_MASKED),
        kid=vault.ring.primary,
    )


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


def seal_tokens(vault: Vault, connection_id: str, tokens: bytes) -> SealedTokens:
    """Seal the tokens of one connection, with the primary key."""
    envelope = vault.seal(tokens, table=_TABLE, row_id=connection_id, column=_TOKENS)
    return SealedTokens(envelope, vault.ring.primary)


def open_tokens(vault: Vault, connection_id: str, envelope: str) -> bytes:
    """The tokens.

    Raises:
        EnvelopeUnreadable: one of its three kinds.
    """
    return vault.open(envelope, table=_TABLE, row_id=connection_id, column=_TOKENS)
