"""Run one server, and end it when the process that asked for it lets go of the pipe, however that process ended.

A test run that is killed cannot stop its servers; the kernel still closes its pipes, and that is what this waits
for. Run as a script in a session of its own, with the standard library only: `python -I guard.py USER SIGNAL SECONDS
COMMAND...` where USER is an account name or `-` (do not change), SIGNAL is the number that asks the server to stop,
and SECONDS is how long it may take before it is killed. Exits with the server's own code (128 + signal number if a
signal ended it).
"""

import os
import pwd
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any


def main(user: str, stop_signal: int, patience: float, command: list[str]) -> int:
    """Run the server, and return its exit code."""
    account: dict[str, Any] = {}
    if user != "-":
        entry = pwd.getpwnam(user)
        account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    server: subprocess.Popen[bytes] = subprocess.Popen(command, stdin=subprocess.DEVNULL, **account)  # noqa: S603
    threading.Thread(target=_stop_when_abandoned, args=(server, stop_signal, patience), daemon=True).start()
    code = server.wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # what the server may have left behind; the group is ours alone, the owner saw to that
    return code if code >= 0 else 128 - code


def _stop_when_abandoned(server: subprocess.Popen[bytes], stop_signal: int, patience: float) -> None:
    # Returns at end of file: the owner closed its end, or is gone. Not through sys.stdin, whose lock the interpreter
    # would wait for at its exit.
    os.read(0, 1)
    server.send_signal(stop_signal)
    with suppress(subprocess.TimeoutExpired):
        server.wait(patience)
        return
    server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
