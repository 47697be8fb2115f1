"""The key ring: the master keys that secrets are sealed with, read from a JSON file of mode 0600.

    {"primary": "2026-11", "keys": {"2026-11": "base64:<44 characters>", "2026-05": "base64:<44 characters>"}}

`primary` seals, every key opens. A file rather than an environment variable, because `/proc/<pid>/environ` keeps a
variable's first value readable for the life of the process.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

from connectory.vault.errors import KeyMissing, KeyRingInvalid

KEY_BYTES = 32
"""Length of a key: AES-256 and HKDF-SHA256 both work at 256 bits."""

_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PREFIX = "base64:"
_MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one deployment. Its repr shows key ids and no key.

    Attributes:
        primary: id of the key that new envelopes are sealed with.
    """

    primary: str
    _keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", MappingProxyType(dict(self._keys)))
        if self.primary not in self._keys:
            raise KeyMissing(self.primary)

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


def load_keyring(path: str | os.PathLike[str]) -> KeyRing:
    """Read and check a key file.

    Raises:
        KeyRingInvalid: the file cannot be read, can be read by others than its owner, or holds anything but a primary
            and well-formed random keys.
    """
    path = Path(path)
    document = _parse(path, _read_private(path))
    if not isinstance(document, dict) or set(document) != {"primary", "keys"}:
        raise KeyRingInvalid(f'Key file {path} must be a JSON object with the members "primary" and "keys", no others.')
    primary, encoded = document["primary"], document["keys"]
    if not isinstance(encoded, dict) or not encoded:
        raise KeyRingInvalid(f'In key file {path}, "keys" must be an object that maps at least one key id to a key.')
    keys = {}
    for position, (kid, text) in enumerate(encoded.items(), start=1):
        # The id is not quoted: a key pasted in its place would end up in a log.
        if not _KID.fullmatch(kid):
            raise KeyRingInvalid(
                f"In key file {path}, the id of key number {position} is not 1 to 32 letters, digits, '_' or '-'; "
                "rename it."
            )
        keys[kid] = _decode_key(path, kid, text)
    if not isinstance(primary, str) or primary not in keys:
        raise KeyRingInvalid(
            f'In key file {path}, "primary" names none of the keys; set it to one of: {", ".join(keys)}.'
        )
    return KeyRing(primary, keys)


def generate_keyring(path: str | os.PathLike[str]) -> KeyRing:
    """Create a key file of mode 0600 with one random key, named after the current month (UTC), like "2026-11".

    The file appears complete or not at all, and an existing one is never replaced.

    Raises:
        KeyRingInvalid: the file exists, or cannot be created there.
    """
    path = Path(path)
    kid = _month()
    ring = KeyRing(kid, {kid: secrets.token_bytes(KEY_BYTES)})
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        file = _create_private(draft)
        try:
            with file:
                _write(file, ring)
            os.link(draft, path)  # unlike a rename, fails where the name is taken
        finally:
            draft.unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        raise KeyRingInvalid(
            f"Key file {path} exists already and was kept; use it, or move it away if no stored secret needs it."
        ) from None
    except OSError as error:
        raise _unusable(path, "created", error) from None
    return ring


def add_key(path: str | os.PathLike[str], *, promote: bool) -> KeyRing:
    """Add a fresh random key to a key file, named after the current month ("2026-11", then "2026-11-2", ...).

    Args:
        path: the key file; it is replaced in one step and keeps its owner.
        promote: also make the new key the primary. Do so only when every running process has read the new key, or
            one that has not cannot open what another sealed.

    Returns:
        The ring with the new key.

    Raises:
        KeyRingInvalid: the file is not a valid key file, cannot be replaced, or is being changed by another process.
    """
    path = Path(path).resolve()  # a key file is often a link into a mounted volume: replace the file, not the link
    draft = path.with_name(f"{path.name}.new")
    try:
        file = _create_private(draft)  # fails where it exists, which makes the draft the lock
    except FileExistsError:
        raise KeyRingInvalid(
            f"Key file {path} is being changed by another process; if none is, delete {draft} and try again."
        ) from None
    except OSError as error:
        raise _unusable(path, "changed", error) from None
    try:
        with file:
            old = load_keyring(path)
            kid = _unused_kid(old)
            keys = {name: old.key(name) for name in old.kids()} | {kid: secrets.token_bytes(KEY_BYTES)}
            ring = KeyRing(kid if promote else old.primary, keys)
            _keep_owner(file, path)
            _write(file, ring)
        draft.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _unusable(path, "changed", error) from None
    finally:
        draft.unlink(missing_ok=True)
    return ring


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Asked of the open file, so that what was checked is what is read.
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyRingInvalid(
                    f"Key file {path} has mode {stat.S_IMODE(mode):04o}, open to others than its owner; "
                    f"run `chmod 600 {path}`."
                )
            return file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise KeyRingInvalid(
            f"Key file {path} does not exist; correct the path, or generate a key file there."
        ) from None
    except OSError as error:
        raise _unusable(path, "read", error) from None


def _parse(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):  # raised from None: a JSONDecodeError carries the document, keys included
        raise KeyRingInvalid(
            f"Key file {path} is not JSON, or names a member twice; restore it from a backup, or correct it by hand."
        ) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _decode_key(path: Path, kid: str, text: object) -> bytes:
    where = f"In key file {path}, key {kid!r}"
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        raise KeyRingInvalid(
            f'{where} does not start with "{_PREFIX}"; passphrases are not accepted, give 32 random bytes in base64.'
        )
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise KeyRingInvalid(f"{where} is not valid base64; copy it again in full, padding included.") from None
    if len(key) != KEY_BYTES:
        raise KeyRingInvalid(f"{where} is {len(key)} bytes long; give exactly {KEY_BYTES} random bytes in base64.")
    if len({(after - before) % 256 for before, after in pairwise(key)}) == 1:
        raise KeyRingInvalid(f"{where} repeats or counts up one byte; give {KEY_BYTES} random bytes in base64.")
    # 32 random bytes are all printable ASCII once in 10^13 keys; a passphrase in base64 always is.
    if all(0x20 <= byte < 0x7F for byte in key):
        raise KeyRingInvalid(f"{where} is text, not random bytes; passphrases are not accepted, generate a key.")
    return key


def _create_private(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w", encoding="ascii")


def _write(file: TextIO, ring: KeyRing) -> None:
    keys = {kid: _PREFIX + base64.b64encode(ring.key(kid)).decode() for kid in ring.kids()}
    json.dump({"primary": ring.primary, "keys": keys}, file, indent=2)
    file.write("\n")
    file.flush()
    os.fsync(file.fileno())


def _keep_owner(file: TextIO, original: Path) -> None:
    # Root may add a key for a service that runs as another user, who must be able to read the result.
    owner, mine = original.stat(), os.fstat(file.fileno())
    if owner.st_uid != mine.st_uid:
        os.fchown(file.fileno(), owner.st_uid, owner.st_gid)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, verb: str, error: OSError) -> KeyRingInvalid:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return KeyRingInvalid(f"Key file {path} cannot be {verb} ({reason}); check it and its directory's permissions.")


def _month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _unused_kid(ring: KeyRing) -> str:
    month = _month()
    candidates = chain([month], (f"{month}-{number}" for number in count(2)))
    return next(kid for kid in candidates if kid not in ring.kids())
