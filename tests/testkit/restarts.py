"""The service, started again and again: from a process that has everything imported, so that a start costs a fork.

What runs is `connectory serve` with all that it does. Only the imports, three quarters of a start, are done once.

Run as a script by `Restarts`: for each line of standard input it forks a service, whose
line comes after its process id.
"""

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from connectory.testing.processes import ServerFailed
from testkit.service import READY, environment_of, first_line
from testkit.warm import IMPORTED

_PR_SET_CHILD_SUBREAPER = 36


class Restarts:
    """Starts the service over one store; a context manager. One service runs at a time.

    Attributes:
        log: the file that the standard error of all of them goes to.
    """

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.log = home.with_name(f"{home.name}.log")
        tests = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, [settings.get("PYTHONPATH"), tests]))
        with self.log.open("ab") as errors:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "testkit.restarts"],
                env=environment_of(home, {**settings, "PYTHONPATH": path}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                bufsize=1,
            )
        self._service = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.stdin.close()
        self._parent.wait(30)
        self._parent.stdout.close()

    def start(self) -> str:
        """The address of a new service, once it is ready."""
        self._parent.stdin.write("start\n")
        line = first_line(self._parent, 60)
        pid, _, said = line.partition(" ")
        found = READY.search(said)
        if found is None:
            with suppress(AssertionError):
                self.wait_until_gone()  # its last words come after
            raise ServerFailed(
                f"The service printed {line!r} and not its line. Its log:\n{self.log.read_text()[-2000:]}"
            )
        self._service = int(pid)
        return found[1]

    def kill(self) -> None:
        """Kill the service, and it alone, as `kill -9` does."""
        os.kill(self._service, signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        """Every process of the service and of those before it that still runs, whoever has become its parent."""
        return psutil.Process(self._parent.pid).children(recursive=True)

    def wait_until_gone(self, seconds: float = 30) -> None:
        """Return once nothing of a killed service runs.

        Raises:
            AssertionError: it takes longer.
        """
        deadline = time.monotonic() + seconds
        while left := self.family():
            assert time.monotonic() < deadline, left
            time.sleep(0.01)


def _fork_services() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans of a killed service become children of this
    for module in IMPORTED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    for _ in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve()
    for process in psutil.Process().children(recursive=True):  # whoever asked for them is gone
        process.kill()


def _serve() -> None:
    from connectory.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    print(os.getpid(), end=" ", flush=True)
    sys.argv = ["connectory", "serve", "--port", "0"]
    try:
        main()
    finally:
        print(flush=True)  # the line of one that does not start ends too
    sys.exit()


if __name__ == "__main__":
    _fork_services()
