"""The sealed envelope: one secret document, bound to the place it is stored in.

    cs1.<kid>.<base64url( commitment[16] || salt[32] || nonce[12] || AES-256-GCM ciphertext and tag )>

What is sealed at once for one row has a key of its own, `HKDF-SHA256(master key, salt, "conn-secrets/v1")` (RFC 5869): the
first 32 bytes encrypt and the next 16 are stored as the commitment. A key for so few messages lifts AES-GCM's limit of 2^32
random nonces per key (NIST SP 800-38D, section 8.3), and the commitment tells a wrong key from damaged data. The associated
data is the sequence `cs1`, key id, table, row id, column, each preceded by its length in 4 bytes big-endian, so an envelope
opens only where it was sealed.
"""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from connectory.vault.errors import KeyMismatch, Tampered
from connectory.vault.keyring import KeyRing

_FORMAT = "cs1"
_INFO = b"conn-secrets/v1"
_MESSAGE_KEY, _COMMITMENT, _SALT, _NONCE, _TAG = 32, 16, 32, 12, 16
_ENVELOPE = re.compile(r"cs1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)")


class Vault:
    """Seals and opens envelopes with the keys of one ring. Safe to share between threads.

    Attributes:
        ring: may be set to another one while others seal and open: each takes it once.
    """

    __slots__ = ("ring",)

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def __repr__(self) -> str:
        return "Vault()"

    def pinned(self) -> "Vault":
        """A vault that keeps the ring of this moment, for values that must be sealed with one key."""
        return Vault(self.ring)

    def seal(self, plaintext: bytes, *, table: str, row_id: str, column: str) -> str:
        """Encrypt with the primary key, for one place. The result is ASCII, about 4/3 of the plaintext's length plus 110.

        Args:
            table, row_id, column: the place; `row_id` must be an identity that never changes, not a name users edit.
        """
        [[envelope]] = self.seal_rows([(row_id, [(column, plaintext)])], table=table)
        return envelope

    def seal_rows(self, rows: Sequence[tuple[str, Sequence[tuple[str, bytes]]]], *, table: str) -> list[list[str]]:
        """`seal` for several columns of many rows. Those of a row share one derived key, each with a nonce of its own.

        Args:
            rows: for each its id, and the names and plaintexts of its columns.

        Returns:
            For each row its envelopes, in the order of the columns.
        """
        ring = self.ring
        kid = ring.primary
        master_key = ring.key(kid)
        # All keys first, then all envelopes: by turns, each step would find the processor's caches full of the other's code.
        salts = _pieces(_SALT, len(rows))
        derived = [_derive(master_key, salt) for salt in salts]
        nonces = iter(_pieces(_NONCE, sum(len(columns) for _, columns in rows)))
        envelopes = []
        for (row_id, columns), salt, (message_key, commitment) in zip(rows, salts, derived, strict=True):
            cipher, head = AESGCM(message_key), commitment + salt
            envelopes.append(
                [
                    _joined(
                        kid, head, nonce, cipher.encrypt(nonce, plaintext, _associated_data(kid, table, row_id, column))
                    )
                    for (column, plaintext), nonce in zip(columns, nonces, strict=False)
                ]
            )
        return envelopes

    def open(self, envelope: str, *, table: str, row_id: str, column: str) -> bytes:
        """Decrypt an envelope that was sealed for this place.

        Raises:
            KeyMissing: the ring has no key of the envelope's key id.
            KeyMismatch: the ring's key of that id has other bytes than the one that sealed it.
            Tampered: the envelope is malformed, damaged, or from another place.
        """
        kid, body = _split(envelope)
        commitment, rest = body[:_COMMITMENT], body[_COMMITMENT:]
        salt, nonce, sealed = rest[:_SALT], rest[_SALT : _SALT + _NONCE], rest[_SALT + _NONCE :]
        message_key, expected = _derive(self.ring.key(kid), salt)
        if not hmac.compare_digest(commitment, expected):
            raise KeyMismatch(kid)
        try:
            return AESGCM(message_key).decrypt(nonce, sealed, _associated_data(kid, table, row_id, column))
        except InvalidTag:
            raise Tampered from None


def _pieces(length: int, count: int) -> list[bytes]:
    """Random bytes, asked for at once."""
    fresh = os.urandom(length * count)
    return [fresh[start : start + length] for start in range(0, length * count, length)]


def _joined(kid: str, head: bytes, nonce: bytes, sealed: bytes) -> str:
    return f"{_FORMAT}.{kid}.{base64.urlsafe_b64encode(head + nonce + sealed).rstrip(b'=').decode()}"


def _split(envelope: str) -> tuple[str, bytes]:
    match = _ENVELOPE.fullmatch(envelope)
    if match is None:
        raise Tampered
    kid, text = match.groups()
    try:
        body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Tampered from None
    # Encoding again refuses the other spellings base64 has for the same bytes (spare bits of the last character).
    if len(body) < _COMMITMENT + _SALT + _NONCE + _TAG or base64.urlsafe_b64encode(body).rstrip(b"=").decode() != text:
        raise Tampered
    return kid, body


def _derive(master_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    derived = HKDF(SHA256(), _MESSAGE_KEY + _COMMITMENT, salt, _INFO).derive(master_key)
    return derived[:_MESSAGE_KEY], derived[_MESSAGE_KEY:]


def _associated_data(kid: str, table: str, row_id: str, column: str) -> bytes:
    return b"".join((_place_of_table(kid, table), _frame(row_id), _frame_of_column(column)))


def _frame(text: str) -> bytes:
    part = text.encode()
    return len(part).to_bytes(4, "big") + part


@lru_cache(maxsize=64)
def _place_of_table(kid: str, table: str) -> bytes:
    return _frame(_FORMAT) + _frame(kid) + _frame(table)


_frame_of_column = lru_cache(maxsize=64)(_frame)
