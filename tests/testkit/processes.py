"""What the servers of the tests have in common: commands that must succeed, folders, accounts.

Servers that refuse to run as root are started as `nobody` when the caller is root.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from connectory.testing.processes import ServerFailed, ServerProcess

_LOG_TAIL_LINES = 60
_IN_MEMORY = Path("/dev/shm")
_ROOM = 2 * 2**30


def run(name: str, command: Sequence[str | Path], **options) -> None:
    """Run a command that must succeed; ServerFailed shows what it printed. `options` are those of subprocess.run."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **options,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-_LOG_TAIL_LINES:])
        raise ServerFailed(f"{name} failed with exit code {done.returncode}. It printed:\n{tail or '(nothing)'}")


def unprivileged_account() -> dict[str, object]:
    """subprocess options that run a command as `nobody` when we are root; no options otherwise."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def give_to_unprivileged_account(*paths: Path) -> None:
    """Make `nobody` the owner of these files and folders (with all they hold) when we are root."""
    if os.geteuid() != 0:
        return
    nobody = pwd.getpwnam("nobody")
    for path in paths:
        for entry in (path, *path.rglob("*")):
            os.chown(entry, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def temporary_folder(name: str) -> Path:
    """A new folder for one server's files that an unprivileged server can enter; `remove_folder` deletes it.

    It is in memory where there is room: a database is made in a tenth of the time that a disk takes to make its 300 files.
    Nothing in it may have to be executed.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"connectory-{name}-", dir=_IN_MEMORY if _has_room(_IN_MEMORY) else None))
    folder.chmod(0o755)
    return folder


def _has_room(folder: Path) -> bool:
    """Whether more than 2 GiB can be written there; a container's is often 64 MB."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


class LocalServer:
    """A server with a process and a temporary folder of its own; a context manager. Subclasses start it in `_start`."""

    folder_name = "server"
    _process: ServerProcess | None = None
    _folder: Path | None = None

    def start(self) -> Self:
        """Start the server; returns when it answers."""
        self._folder = temporary_folder(self.folder_name)
        try:
            self._start(self._folder)
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, folder: Path) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server and delete its data. Calling it again does nothing."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._folder:
            remove_folder(self._folder)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
