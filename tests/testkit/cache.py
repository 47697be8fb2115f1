"""Things that are slow to get (unpacked packages, side environments), built once and kept in `.cache/`.

Several pytest-xdist workers may ask at once; a lock file per thing lets the first build it and the others wait.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@cache
def cache_folder() -> Path:
    """`.cache/` in the repository, or a private folder in the temporary directory where `.cache/` would not do.

    It would not do for root in a repository that other accounts cannot enter (under `/root`, for one): the servers that
    refuse to run as root run as `nobody`, and must be able to read what is kept here.
    """
    folder = REPOSITORY / ".cache"
    if os.geteuid() == 0 and not _anyone_can_enter(REPOSITORY):
        folder = Path(tempfile.gettempdir()) / "connectory-cache-root"
        folder.mkdir(mode=0o755, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != 0:
            raise PermissionError(f"{folder} belongs to somebody else, so its contents cannot be run: remove it")
    folder.mkdir(exist_ok=True)
    return folder


def build_once(name: str, version: str, build: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, built by `build(folder)` unless it already holds this `version`.

    `build` gets an empty folder at its final place. If it raises, the next caller starts again from nothing.
    """
    folder = cache_folder() / name
    complete = folder / ".complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not (complete.is_file() and complete.read_text() == version):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            complete.write_text(version)
    return folder


@contextmanager
def _locked(lock_file: Path) -> Iterator[None]:
    with lock_file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by close, also when the process dies
        yield


def _anyone_can_enter(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))
