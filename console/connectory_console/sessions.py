"""The session of a signed-in person: a sealed cookie around a bearer token. There is no table of sessions.

The API decides whether the token is good: who deletes the client, or revokes the token, ends the session.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectory_console.settings import ConsoleSettings

_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random, for far fewer than 2**32 cookies of one key
_RENEW_AFTER = 60.0
_LONGEST = 4096  # browsers keep no longer cookie (RFC 6265 §6.1)


class KeyUnusable(Exception):
    """The key of the session cookie cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Session:
    """Who is signed in.

    Attributes:
        token: the bearer token.
        client: the client's name.
        client_id: the client's id.
        scopes: what the token allows.
        started: when the person signed in, in seconds since the epoch.
        seen: when the cookie was sealed last.
    """

    token: str = field(repr=False)
    client: str
    client_id: str
    scopes: tuple[str, ...]
    started: float
    seen: float

    def may(self, scope: str) -> bool:
        """Whether the token has `scope`."""
        return scope in self.scopes


class Sessions:
    """Seals sessions into cookies, and opens them.

    Args:
        key: 32 bytes.
        idle: seconds without a request after which a session ends.
        longest: seconds after which it ends in any case.
        clock: seconds since the epoch.
    """

    def __init__(self, key: bytes, *, idle: float, longest: float, clock: Callable[[], float] = time.time) -> None:
        self._box = AESGCM(key)
        self._idle, self._longest, self._clock = idle, longest, clock

    def start(self, token: str, client: str, client_id: str, scopes: tuple[str, ...]) -> Session:
        """A new session, from now."""
        now = self._clock()
        return Session(token, client, client_id, scopes, now, now)

    def seal(self, session: Session, name: str) -> str:
        """The value of the cookie called `name`; it opens under that name only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._box.encrypt(nonce, json.dumps(asdict(session)).encode(), name.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, value: str, name: str) -> Session | None:
        """The session in a cookie, or `None` where it is not ours, was altered, or has ended."""
        if len(value) > _LONGEST:
            return None
        with contextlib.suppress(binascii.Error, ValueError, InvalidTag):
            sealed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            found = json.loads(self._box.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode()))
            session = Session(**found | {"scopes": tuple(found["scopes"])})
            now = self._clock()
            if now - session.seen <= self._idle and now - session.started <= self._longest:
                return session
        return None

    def renewed(self, session: Session) -> Session | None:
        """The session as seen now, or `None` where it was sealed moments ago."""
        now = self._clock()
        return replace(session, seen=now) if now - session.seen > _RENEW_AFTER else None


def open_sessions(settings: ConsoleSettings) -> Sessions:
    """The sessions of a deployment. Without a key in the settings, one is made, and kept in the home folder, 0600.

    Raises:
        KeyUnusable: the key is not 32 bytes in base64, or its file cannot be read or written.
    """
    if settings.key is not None:
        key = _decoded(settings.key.get_secret_value(), "CONNECTORY_CONSOLE_KEY")
    else:
        key = _kept_key(settings.home / "console.key")
    return Sessions(key, idle=settings.idle_minutes * 60, longest=settings.session_hours * 3600)


def _decoded(text: str, place: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise KeyUnusable(f"{place} must hold {_KEY_BYTES} bytes in base64, as `openssl rand -base64 32` prints them.")
    return key


def _kept_key(path: Path) -> bytes:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            # Written beside and linked: of several processes that start at once, one makes it, and none reads half of it.
            made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
                path.hardlink_to(made)
            finally:
                made.unlink()
        return _decoded(path.read_text("ascii"), str(path))
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
        raise KeyUnusable(f"The session key {path} cannot be used ({reason}); set CONNECTORY_CONSOLE_KEY.") from None
