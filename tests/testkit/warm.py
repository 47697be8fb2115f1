"""The command `connectory` in a fork of a process that has everything imported: three quarters of its time are imports.

What runs is `connectory ARGUMENTS` with all that it does, in a process with its own environment, folder and output. A plugin is
looked for and imported after the fork. What only a start from nothing can show (the entry point itself, what is imported, whose
user it is) needs the program: `testkit.service` starts it where it is asked for it.

Run as a script by `_Parent`: each message on its standard input, a socket, starts a command.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

PROGRAM = Path(sys.executable).with_name("connectory")
IMPORTED = (
    "alembic.command",
    "connectory.api.app",
    "connectory.api.serving",
    "connectory.commands",
    "connectory.keys",
    "connectory.startup",
    "connectory.store.postgresql",
    "connectory.store.sqlite",
    "psycopg2",
    "uvicorn",
)
_MESSAGE_BYTES = 2**18
_FIRST_FILE = 3  # after standard input, output and error


class WarmCommand:
    """A command that was started; it has of `subprocess.Popen` what tests use.

    Attributes:
        pid: its process.
        returncode: None until it has ended and was asked; minus the signal that ended it.
        stdout: where the command's standard output can be read, if the caller has it so.
    """

    def __init__(self, status: int, stdout: IO[str] | None) -> None:
        self.returncode: int | None = None
        self.stdout = stdout
        self._status = os.fdopen(status, "r")
        line = self._status.readline()
        if not line:
            self._status.close()
            raise RuntimeError("The process that starts commands has ended.")
        self.pid = int(line)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not within `timeout` seconds.
        """
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired("connectory", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if selector.select(seconds):
                    self.returncode = os.waitstatus_to_exitcode(int(self._status.readline() or signal.SIGKILL))
                    self._status.close()
        return self.returncode


def start_warm(
    arguments: list[str], environment: Mapping[str, str], *, stdout: int, stderr: int, reading: IO[str] | None = None
) -> WarmCommand:
    """Start `connectory ARGUMENTS` with these variables and files, and nothing on standard input.

    `reading` is the other end of `stdout`, where that is a pipe that the caller reads.
    """
    ours, theirs = os.pipe()
    with Path(os.devnull).open("rb") as nothing:
        wanted = {"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())}
        _parent().send(json.dumps(wanted).encode(), [nothing.fileno(), stdout, stderr, theirs])
    os.close(theirs)
    return WarmCommand(ours, reading)


class _Parent:
    """The process that has everything imported. It ends, with all commands that still run, when this one does."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONNECTORY_", "PYTHONPATH"))}
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-P", "-u", __file__], stdin=theirs, env=kept)
        self._one_at_a_time = threading.Lock()

    def send(self, message: bytes, files: list[int]) -> None:
        with self._one_at_a_time:
            socket.send_fds(self._socket, [message], files)

    def end(self) -> None:
        self._socket.close()
        self._process.wait(30)


@cache
def _parent() -> _Parent:
    parent = _Parent()
    atexit.register(parent.end)
    return parent


class _Starter:
    """Forks a command for each message; tells whoever sent it the process id at once and, at its end, how it ended."""

    def __init__(self) -> None:
        self._asked = socket.socket(fileno=os.dup(0))
        self._running: dict[
            int, tuple[int, int]
        ] = {}  # the process and where to tell its end, by what shows that it ended
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._asked, selectors.EVENT_READ)

    def next_command(self) -> tuple[bytes, list[int]] | None:
        """Returns in each forked process what to become, with which files; None when nobody can ask any more."""
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._running:
                    self._tell_end(key.fd)
                    continue
                message, files, _, _ = socket.recv_fds(self._asked, _MESSAGE_BYTES, 4)
                if not message:
                    return None
                pid = os.fork()
                if pid == 0:
                    return message, files
                self._add(pid, files)

    def end(self) -> None:
        """Kill what still runs."""
        for pid, _ in self._running.values():
            os.kill(pid, signal.SIGKILL)

    def forget(self) -> None:
        """Close, in a forked process, what only this one needs; files that are just numbers stay."""
        self._asked.close()
        self._selector.close()

    def _add(self, pid: int, files: list[int]) -> None:
        *given, status = files
        for file in given:
            os.close(file)
        os.write(status, f"{pid}\n".encode())
        ended = os.pidfd_open(pid)
        self._running[ended] = pid, status
        self._selector.register(ended, selectors.EVENT_READ)

    def _tell_end(self, ended: int) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        pid, status = self._running.pop(ended)
        _, how = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(status, f"{how}\n".encode())
        os.close(status)


def _become(message: bytes, files: list[int], path: list[str]) -> None:
    """Be the process of the command that the message describes, and run it."""
    wanted = json.loads(message)
    for number, file in enumerate(files[:_FIRST_FILE]):
        os.dup2(file, number)
    os.closerange(_FIRST_FILE, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    more = filter(None, wanted["environment"].get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [str(PROGRAM.parent), *more, *path]
    sys.argv = [str(PROGRAM), *wanted["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from connectory.cli import main

    main()


def _start_commands() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a command need not touch, and so copy, what is here
    path = list(sys.path)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it
    starter = _Starter()
    command = starter.next_command()
    if command is None:
        starter.end()
    else:
        starter.forget()
        _become(*command, path)


if __name__ == "__main__":
    _start_commands()
