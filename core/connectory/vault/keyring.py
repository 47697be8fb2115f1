"""The key ring: the master keys that secrets are sealed with. `primary` seals, every key opens."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from types import MappingProxyType
from typing import Self

from connectory.vault.errors import KeyMissing, KeyRingInvalid

KEY_BYTES = 32
"""Length of a key: AES-256 and HKDF-SHA256 both work at 256 bits."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one deployment. It never changes: what adds, promotes or removes a key gives another ring.

    Its repr shows the primary key's id and no key.

    Attributes:
        primary: id of the key that new envelopes are sealed with.
        created: when each key was made, of the keys of which that is known.
    """

    primary: str
    _keys: Mapping[str, bytes] = field(repr=False)
    created: Mapping[str, datetime] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", MappingProxyType(dict(self._keys)))
        object.__setattr__(self, "created", MappingProxyType(dict(self.created)))
        if self.primary not in self._keys:
            raise KeyMissing(self.primary)

    @classmethod
    def generate(cls) -> Self:
        """A ring of one random key, named after the current month (UTC), like "2026-11"."""
        now = _now()
        kid = _month(now)
        return cls(kid, {kid: secrets.token_bytes(KEY_BYTES)}, {kid: now})

    def kids(self) -> tuple[str, ...]:
        """The ids of all keys, sorted."""
        return tuple(sorted(self._keys))

    def key(self, kid: str) -> bytes:
        """The 32 bytes of one key.

        Raises:
            KeyMissing: there is no key of this id.
        """
        try:
            return self._keys[kid]
        except KeyError:
            raise KeyMissing(kid) from None

    def fingerprint(self, kid: str) -> str:
        """A public mark of a key's bytes: 16 hex digits, the first 8 bytes of HMAC-SHA256(key, b"kid").

        Raises:
            KeyMissing: there is no key of this id.
        """
        return hmac.digest(self.key(kid), b"kid", hashlib.sha256)[:8].hex()

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of every key, by id."""
        return {kid: self.fingerprint(kid) for kid in self.kids()}

    def with_new_key(self, *, promote: bool) -> Self:
        """A ring with one more random key, named after the current month ("2026-11", then "2026-11-2", ...).

        Args:
            promote: the new key is also the primary.
        """
        now = _now()
        month = _month(now)
        candidates = chain([month], (f"{month}-{number}" for number in count(2)))
        kid = next(kid for kid in candidates if kid not in self._keys)
        keys = {**self._keys, kid: secrets.token_bytes(KEY_BYTES)}
        return type(self)(kid if promote else self.primary, keys, {**self.created, kid: now})

    def with_primary(self, kid: str) -> Self:
        """The same keys, of which another is the primary.

        Raises:
            KeyMissing: there is no key of this id.
        """
        return type(self)(kid, self._keys, self.created)

    def without(self, kid: str) -> Self:
        """A ring without one of the keys.

        Raises:
            KeyMissing: there is no key of this id.
            KeyRingInvalid: it is the primary key, which seals.
        """
        self.key(kid)
        if kid == self.primary:
            raise KeyRingInvalid(f"The key {kid!r} is the primary, which seals; promote another key first.")
        keys = {name: key for name, key in self._keys.items() if name != kid}
        return type(self)(self.primary, keys, {name: at for name, at in self.created.items() if name in keys})


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _month(now: datetime) -> str:
    return now.strftime("%Y-%m")
