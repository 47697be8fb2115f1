"""The process that test processes are forked from: small, single-threaded, and without secrets.

Started by the runner with an empty environment, `python -I`, and a socket as its standard input. It imports the
contract, later the connectors and drivers that have been used, and forks one child per test. Jobs do not pass
through it: it hands the pipe's end to the child.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from connectory.catalog.catalog import find_connector
from connectory.catalog.connector import Connector
from connectory.probe.child import run_child
from connectory.probe.process import adopt_orphans, children_of, die_with_parent


def main() -> None:
    """Serve the runner until its end of the socket closes."""
    die_with_parent(os.getppid())
    adopt_orphans()
    control = socket.socket(fileno=os.dup(0))
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; the runner decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    running: dict[int, int] = {}
    connectors: dict[tuple[str, str], Connector] = {}
    _send(control, {"event": "ready"})
    while True:
        readable, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in readable:
            with suppress(BlockingIOError):
                os.read(woken, 4096)
        _reap(control, running)
        if control.fileno() in readable and not _serve(control, running, connectors):
            return


def _serve(control: socket.socket, running: dict[int, int], connectors: dict[tuple[str, str], Connector]) -> bool:
    descriptors = array.array("i")
    data, ancillary, _, _ = control.recvmsg(65536, socket.CMSG_LEN(2 * descriptors.itemsize))
    if not data:
        return False
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    request = json.loads(data)
    if request["op"] == "load":
        _load(control, connectors, request["identifier"], request["distribution"])
        return True
    template = os.getpid()
    pid = os.fork()
    if pid == 0:
        run_child(template, descriptors[0], descriptors[1], connectors)
    for descriptor in descriptors:
        os.close(descriptor)
    running[pid] = request["id"]
    _send(control, {"event": "started", "id": request["id"], "pid": pid})
    return True


def _load(
    control: socket.socket, connectors: dict[tuple[str, str], Connector], identifier: str, distribution: str
) -> None:
    """Import a connector and its drivers, which a child has already shown to work; later children start with them."""
    with suppress(Exception):
        connector = find_connector(identifier, distribution, environment={})
        for driver in connector.description.drivers:
            importlib.import_module(driver)
        connectors[(identifier, distribution)] = connector
    _send(control, {"event": "loaded", "identifier": identifier, "distribution": distribution})


def _reap(control: socket.socket, running: dict[int, int]) -> None:
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None:
            return
        if found.si_pid in running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(found.si_pid, signal.SIGKILL)  # while it is not reaped, its number cannot be another's
        _, status = os.waitpid(found.si_pid, 0)
        if found.si_pid in running:
            _send(control, {"event": "exited", "id": running.pop(found.si_pid), "status": status})
            for orphan in set(children_of(os.getpid())) - running.keys():
                with suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)


def _send(control: socket.socket, event: dict[str, object]) -> None:
    try:
        control.send(json.dumps(event).encode())
    except OSError:
        sys.exit(1)  # the runner is gone
