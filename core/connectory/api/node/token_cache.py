"""Which bearer tokens were seen to be valid a moment ago."""

from __future__ import annotations

import hashlib
import time
from datetime import datetime
from typing import NamedTuple

LIFETIME = 5.0
"""Seconds that a token is not looked up again; so a token that was revoked works up to this much longer."""

_MOST = 4096


class Caller(NamedTuple):
    """Who makes a request: the client's id, and the scopes of its token."""

    client_id: str
    scopes: frozenset[str]


class TokenCache:
    """Valid tokens by their SHA-256, so that no usable token stays in memory. Unknown tokens are never remembered."""

    def __init__(self) -> None:
        self._callers: dict[bytes, tuple[Caller, float, float]] = {}

    def get(self, token: str) -> Caller | None:
        """The caller, if the token was put here less than `LIFETIME` ago and has not expired."""
        found = self._callers.get(_digest(token))
        if found is None:
            return None
        caller, fresh_until, expires_at = found
        return caller if time.monotonic() < fresh_until and time.time() < expires_at else None

    def put(self, token: str, caller: Caller, expires_at: datetime) -> None:
        """Remember a token that the store has just confirmed."""
        if len(self._callers) >= _MOST:
            self._callers.clear()
        self._callers[_digest(token)] = (caller, time.monotonic() + LIFETIME, expires_at.timestamp())

    def forget(self, token: str) -> None:
        """Have a token looked up again the next time."""
        self._callers.pop(_digest(token), None)

    def forget_client(self, client_id: str) -> None:
        """Have every token of a client looked up again the next time."""
        for digest, (caller, _, _) in list(self._callers.items()):
            if caller.client_id == client_id:
                self._callers.pop(digest, None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
