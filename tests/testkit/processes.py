"""Start a server process, know that it listens, and stop it for sure.

Servers that refuse to run as root are started as `nobody` when the caller is root. Every server runs under
`guard.py`, so that it ends with its owner even if the owner is killed.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from connectory.testing.ports import IPV4_LOOPBACK

_GUARD = Path(__file__).with_name("guard.py")
_LOG_TAIL_LINES = 60


class ServerFailed(RuntimeError):
    """A server could not be built, started or reached. The message says which, why, and shows the end of its log."""


class ServerProcess:
    """One running server.

    `command` is started at once with exactly `environment` and its output going to `log`. `unprivileged` runs it as
    `nobody` when we are root. `stop_signal` asks it to end; after `patience` seconds it is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path,
        unprivileged: bool = False,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience: float = 15,
    ) -> None:
        self.name, self.log, self._patience = name, log, patience
        user = "nobody" if unprivileged and os.geteuid() == 0 else "-"
        guard = [sys.executable, "-I", str(_GUARD), user, str(int(stop_signal)), str(patience)]
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [*guard, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def wait_for_port(self, port: int, host: str = IPV4_LOOPBACK, seconds: float = 60) -> None:
        """Return once `host:port` accepts connections; if that does not happen, stop and raise ServerFailed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise ServerFailed(
                    f"{self.name} exited with code {self._guard.returncode} at its start.{self._log_tail()}"
                )
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                return
            time.sleep(0.02)
        self.stop()
        raise ServerFailed(f"{self.name} did not listen on {host}:{port} within {seconds:g} s.{self._log_tail()}")

    def stop(self) -> None:
        """End the server; returns when it has ended. Calling it again does nothing."""
        self._guard.stdin.close()
        try:
            self._guard.wait(self._patience + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([" The end of its log:", *(lines or ["(empty)"])])


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
    """A new folder for one server's files that an unprivileged server can enter; `remove_folder` deletes it."""
    folder = Path(tempfile.mkdtemp(prefix=f"connectory-{name}-"))
    folder.chmod(0o755)
    return folder


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
