"""Servers for tests, in processes of their own: started, waited for, and stopped for sure.

Not in threads of the tests: what such a server logs of the requests that it gets would count as logged by the connector.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from connectory.testing.ports import IPV4_LOOPBACK

_GUARD = Path(__file__).with_name("guard.py")
_LOG_TAIL_LINES = 60


class ServerFailed(RuntimeError):
    """A server could not be built, started or reached. The message says which, why, and shows the end of its log."""


class ServerProcess:
    """One running server, whose process and all that it starts end with the process of the tests, however that ends.

    Args:
        name: what messages call it.
        command: is started at once.
        log: file to append its output to.
        environment: all the variables that it gets.
        folder: its working directory.
        unprivileged: whether to run it as `nobody` where the tests run as root. Default: as who runs the tests.
        stop_signal: asks it to end. Default: SIGTERM.
        patience: seconds after which it is killed. Default: 15.
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
            self._guard = subprocess.Popen(  # noqa: S603 — the command is the tests' own
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
        """Whether it has not ended."""
        return self._guard.poll() is None

    def wait_for_port(self, port: int, host: str = IPV4_LOOPBACK, seconds: float = 60) -> None:
        """Return once `host:port` accepts connections.

        Raises:
            ServerFailed: it ended, or did not listen within `seconds`, and is stopped.
        """
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
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        try:
            self._guard.wait(self._patience + 5)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return "\n".join([" The end of its log:", *(lines or ["(empty)"])])


@contextmanager
def running_server(
    command: Sequence[str | Path],
    *ports: int,
    environment: Mapping[str, str] | None = None,
    seconds: float = 60,
) -> Iterator[ServerProcess]:
    """A server in a process of its own, from the moment when it listens on all `ports` of 127.0.0.1.

    It works in an empty folder, which is removed afterwards, and ends with the tests, even where they are killed.

    Args:
        command: program and arguments; the program is looked for along `PATH`.
        ports: that it listens on; `free_port` finds some.
        environment: variables beside those of the tests. Default: none.
        seconds: it may take to listen. Default: 60.

    Raises:
        ServerFailed: it cannot be started, ended at once, or does not listen; the message shows the end of its log.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryDirectory(prefix="connectory-") as temporary:
        folder = Path(temporary)
        server = ServerProcess(
            name,
            command,
            log=folder / "log",
            environment={**os.environ, **(environment or {})},
            folder=folder,
            patience=5,
        )
        try:
            for port in ports:
                server.wait_for_port(port, seconds=seconds)
            yield server
        finally:
            server.stop()
