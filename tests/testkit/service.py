"""The service itself, as its users run it: `connectory serve` in a process of its own, on a free port.

Commands and services are forks of a process that has everything imported (see `testkit.warm`), unless a test asks for the program
itself, as those of the command line do: a start of it takes a second of a processor, and a service's more than two.
"""

import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx

from connectory.testing.processes import ServerFailed
from testkit.warm import PROGRAM as COMMAND
from testkit.warm import WarmCommand, start_warm

READY = re.compile(r"ready on (http://\S+)")


class RunningService:
    """One `connectory serve`. `url` is where it listens, `log` the file that its standard error goes to."""

    def __init__(self, process: subprocess.Popen[str] | WarmCommand, url: str, ready_line: str, log: Path) -> None:
        self.process, self.url, self.ready_line, self.log = process, url, ready_line, log

    def end(self, number: signal.Signals = signal.SIGTERM, *, patience: float = 20) -> tuple[int, float]:
        """Send a signal; returns the exit code, and the seconds it took to end."""
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(patience)
        return code, time.monotonic() - started


def environment_of(home: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a command that works on `home`: none of the caller's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONNECTORY_")}
    return kept | {"CONNECTORY_HOME": str(home), "PYTHONUNBUFFERED": "1"} | dict(settings or {})


def run_command(
    home: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `connectory ARGUMENTS` to its end, in a fork."""
    with TemporaryFile("w+") as printed, TemporaryFile("w+") as errors:
        process = start_warm(
            list(arguments), environment_of(home, settings), stdout=printed.fileno(), stderr=errors.fileno()
        )
        try:
            code = process.wait(60)
        finally:
            process.kill()
        printed.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(["connectory", *arguments], code, printed.read(), errors.read())


def run_program(
    home: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `connectory ARGUMENTS` to its end, as an installer has put it there."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment_of(home, settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def token_of_root(home: Path, url: str) -> str:
    """A token of the root client of `home`, with every scope, from the service at `url`; faster than the command."""
    client = json.loads((home / "root_client.json").read_text())
    form = {"grant_type": "client_credentials", **{name: client[name] for name in ("client_id", "client_secret")}}
    return httpx.post(f"{url}/api/v1/oauth/token", data=form, timeout=60).json()["access_token"]


@contextmanager
def running_service(
    home: Path,
    settings: Mapping[str, str] | None = None,
    launcher: Sequence[str | Path] = (),
    command: Path | None = None,
    port: int = 0,
) -> Iterator[RunningService]:
    """Start the service and wait for its line; it is killed at the end of the block if it still runs.

    `launcher` is a command that becomes the one that stands after it; `command` is the `connectory` of an environment, COMMAND
    for the workspace's; with neither the service is a fork. `port` is where to listen, 0 for a free one.
    """
    home.mkdir(parents=True, exist_ok=True)
    log = home.with_name(f"{home.name}.log")
    arguments = ["serve", "--port", str(port)]
    with log.open("ab") as errors:
        if launcher or command:
            process = _program([*launcher, command or COMMAND, *arguments], environment_of(home, settings), errors)
        else:
            process = _fork(arguments, environment_of(home, settings), errors)
    try:
        line = first_line(process, 60)
        found = READY.search(line)
        if found is None:
            raise ServerFailed(f"The service printed {line!r} and not its line. Its log:\n{log.read_text()[-2000:]}")
        yield RunningService(process, found[1], line, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def _program(command: Sequence[str | Path], environment: Mapping[str, str], errors: IO[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
    )


def _fork(arguments: list[str], environment: Mapping[str, str], errors: IO[bytes]) -> WarmCommand:
    ours, theirs = os.pipe()
    try:
        return start_warm(arguments, environment, stdout=theirs, stderr=errors.fileno(), reading=os.fdopen(ours))
    finally:
        os.close(theirs)


def first_line(process: subprocess.Popen[str] | WarmCommand, seconds: float) -> str:
    """The next line that a process prints; empty if none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(seconds) else ""
