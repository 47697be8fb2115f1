"""The processes that tests are forked from: single-threaded, in a scrubbed environment, and never told a secret.

The service starts one fork server, the root: it imports the contract and no plugin. For each connector that is used, the root
forks another, the connector's branch, which imports that connector and its drivers, once. A test is a fork of its connector's
branch, so it starts with everything imported and nothing that another test left behind; a connector whose import crashes,
hangs or starts threads costs its own branch only, and its tests are forked from the root and import it themselves.

Root and branches speak alike, with the requests and answers of `connectory.checks.protocol`. They say first whether they are
`Ready`; then each `ForkRequest`, which brings the descriptors that the new process needs, is answered by `Forked`, by `Exited`
when the process is dead, and by `Gone` when it, and whatever it started, has been waited for.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import threading
from typing import NoReturn

from connectory.catalog.loaded import LoadedConnector
from connectory.checks import channel
from connectory.checks.addresses import replace_getaddrinfo
from connectory.checks.child import load_connector, run_test
from connectory.checks.linux import (
    adopt_orphans,
    allow_inspection,
    children_of,
    die_with_parent,
    kill_session,
    leave_parent_behind,
    silence_standard_streams,
)
from connectory.checks.protocol import (
    Answer,
    ConnectorName,
    EndRequest,
    Exited,
    Forked,
    ForkRequest,
    Gone,
    Ready,
    decode_request,
    encode_answer,
)
from connectory.checks.rehearsal import rehearse


def main() -> None:
    """Be the root, on the channel that is this process's standard input, until its other end closes."""
    die_with_parent(os.getppid())
    control = socket.socket(fileno=os.dup(0))
    silence_standard_streams()
    allow_inspection(False)  # a test must not get at what later tests are forked from, or wait in
    # The service decides when tests end, not who signals everything at once: a terminal, or a service manager.
    for request in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(request, signal.SIG_IGN)
    replace_getaddrinfo()
    _serve(control, None)


def _be_branch(parent: int, control: int, name: ConnectorName) -> NoReturn:
    """Be the branch for one connector: in a process forked for it, until the other end of `control` closes."""
    try:
        leave_parent_behind(control)
        die_with_parent(parent)
        connection = socket.socket(fileno=control)
        connector = _preload(name)
        if connector is None:
            channel.send(connection, encode_answer(Ready(can_fork=False)))
        else:
            _serve(connection, connector)
    finally:
        os._exit(0)


def _preload(name: ConnectorName) -> LoadedConnector | None:
    """Import a connector and its drivers; `None` where tests have to do that themselves, and say what is wrong."""
    try:
        connector = load_connector(name)
        rehearse(connector)  # what it loads and computes once, no test has to
    except BaseException:
        return None
    # A fork copies the one thread that forks: a lock that another holds would stay locked for ever.
    return connector if threading.active_count() == 1 else None


def _serve(control: socket.socket, connector: LoadedConnector | None) -> None:
    adopt_orphans()
    gc.collect()
    gc.freeze()  # what is there now is never garbage; not looking at it spares tests the copying of its pages
    ForkServer(control, connector).serve()


class ForkServer:
    """Forks processes for the service and looks after them. `connector` is what the forked tests are for, if imported."""

    def __init__(self, control: socket.socket, connector: LoadedConnector | None) -> None:
        self._control = control
        self._connector = connector
        # A process is waited for only when the service has ended it. Until then its id cannot become another's, so
        # that the service may kill it at any time.
        self._running: dict[int, int] = {}
        self._dead: dict[int, int] = {}
        self._ending: set[int] = set()

    def serve(self) -> None:
        """Do what the service asks for, until it closes its end."""
        child_died = _wake_on_child()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(child_died, select.POLLIN)
        self._answer(Ready(can_fork=True))
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if child_died in ready:
                os.read(child_died, 4096)
            self._look_for_dead()
            if self._control.fileno() in ready:
                received = channel.receive(self._control, decode_request)
                if received is None:
                    return
                request, descriptors = received
                if isinstance(request, EndRequest):
                    self._end(request.number)
                else:
                    self._fork(request, descriptors)

    def _fork(self, request: ForkRequest, descriptors: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            if request.task == "branch":
                _be_branch(parent, descriptors[0], request.name)
            run_test(parent, descriptors[0], descriptors[1], request.name, self._connector)
        for descriptor in descriptors:
            os.close(descriptor)
        self._running[request.number] = pid
        self._answer(Forked(request.number, pid))

    def _look_for_dead(self) -> None:
        for number, pid in self._running.items():
            if number in self._dead:
                continue
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                self._dead[number] = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                self._answer(Exited(number, self._dead[number]))
        for number in self._ending & self._dead.keys():
            self._wait_for(number)

    def _end(self, number: int) -> None:
        kill_session(self._running[number])
        self._ending.add(number)
        if number in self._dead:
            self._wait_for(number)

    def _wait_for(self, number: int) -> None:
        os.waitpid(self._running.pop(number), 0)
        self._ending.discard(number)
        del self._dead[number]
        self._kill_orphans()
        self._answer(Gone(number))

    def _kill_orphans(self) -> None:
        """Kill what dead tests have started: it became ours when they died. Each may leave us more."""
        while self._has_children() and (orphans := set(children_of(os.getpid())) - set(self._running.values())):
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)

    def _has_children(self) -> bool:
        """Whether to look for them: a look through /proc takes milliseconds."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _answer(self, answer: Answer) -> None:
        try:
            channel.send(self._control, encode_answer(answer))
        except OSError:
            sys.exit()  # the service is gone


def _wake_on_child() -> int:
    """A descriptor that can be read when a child has died."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader
