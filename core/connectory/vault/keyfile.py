"""Key files: read, made, and changed in one step. A file rather than an environment variable, because
`/proc/<pid>/environ` keeps a variable's first value readable for the life of the process."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from connectory.vault.access import refuse_exposed
from connectory.vault.document import KeyCodec, PlainKeys, format_keyring, parse_keyring
from connectory.vault.errors import KeyMissing, KeyRingInvalid
from connectory.vault.keyring import KeyRing

Codec = Callable[[], AbstractContextManager[KeyCodec]]
"""Opens a codec for the time that one file is read or written."""

_MAX_FILE_BYTES = 1024 * 1024


def plain_keys() -> AbstractContextManager[KeyCodec]:
    """The codec of unprotected keys."""
    return nullcontext(PlainKeys())


def load_keyring(path: str | os.PathLike[str], codec: Codec = plain_keys) -> KeyRing:
    """Read and check a key file.

    Raises:
        KeyRingInvalid: the file cannot be read, can be read by other accounts (see `access`), or holds anything but a
            primary and well-formed random keys.
    """
    path = Path(path)
    with codec() as opened:
        return parse_keyring(f"key file {path}", _read(path, confidential=opened.confidential), opened)


def generate_keyring(path: str | os.PathLike[str], codec: Codec = plain_keys) -> KeyRing:
    """Create a key file of mode 0600 with one random key, named after the current month (UTC), like "2026-11".

    The file appears complete or not at all, and an existing one is never replaced.

    Raises:
        KeyRingInvalid: the file exists, or cannot be created there.
    """
    path = Path(path)
    ring = KeyRing.generate()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        file = _create_private(draft)
        try:
            with file, codec() as opened:
                _write(file, format_keyring(ring, opened))
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


def change_keyring(
    path: str | os.PathLike[str], change: Callable[[KeyRing], KeyRing], codec: Codec = plain_keys
) -> KeyRing:
    """Replace the ring of a key file in one step. The file keeps its owner, group and mode.

    Args:
        change: gives the new ring for the one that the file holds. Whatever it raises leaves the file as it is.

    Returns:
        The new ring.

    Raises:
        KeyRingInvalid: the file is not a valid key file, cannot be replaced, or is being changed by another process; or
            `change` asks for a key that is not in it.
    """
    path = Path(path).resolve()  # a key file is often a link into a mounted volume: replace the file, not the link
    with _draft_of(path) as (file, draft), codec() as opened:
        try:
            ring = change(load_keyring(path, lambda: nullcontext(opened)))
        except KeyMissing as missing:
            raise KeyRingInvalid(
                f"Key file {path} has no key {missing.kid!r}; `connectory keys list` shows them."
            ) from None
        _keep_access(file, path)
        _write(file, format_keyring(ring, opened))
        draft.replace(path)
        _sync_directory(path.parent)
    return ring


def add_key(path: str | os.PathLike[str], *, promote: bool) -> KeyRing:
    """Add a fresh random key to a key file of unprotected keys.

    Args:
        promote: also make the new key the primary. Do so only when every running process has read the new key, or
            one that has not cannot open what another sealed.

    Returns:
        The ring with the new key.

    Raises:
        KeyRingInvalid: as `change_keyring`.
    """
    return change_keyring(path, lambda ring: ring.with_new_key(promote=promote))


@contextmanager
def _draft_of(path: Path) -> Iterator[tuple[TextIO, Path]]:
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
            yield file, draft
    except OSError as error:
        raise _unusable(path, "changed", error) from None
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path, *, confidential: bool) -> bytes:
    try:
        with path.open("rb") as file:
            if confidential:
                refuse_exposed(path, os.fstat(file.fileno()))
            return file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise KeyRingInvalid(
            f"Key file {path} does not exist; correct the path, or generate a key file there."
        ) from None
    except OSError as error:
        raise _unusable(path, "read", error) from None


def _create_private(path: Path) -> TextIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w", encoding="ascii")


def _write(file: TextIO, content: str) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _keep_access(file: TextIO, original: Path) -> None:
    # Root may change the keys of a service that runs as another user or by a group, who must be able to read the result.
    before, after = original.stat(), os.fstat(file.fileno())
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        os.fchown(file.fileno(), before.st_uid, before.st_gid)
    os.fchmod(file.fileno(), before.st_mode & 0o777)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, verb: str, error: OSError) -> KeyRingInvalid:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return KeyRingInvalid(f"Key file {path} cannot be {verb} ({reason}); check it and its directory's permissions.")
