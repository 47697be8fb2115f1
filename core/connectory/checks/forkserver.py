"""The processes that tests are forked from: single-threaded, in a scrubbed environment, and never told a secret.

The service starts one fork server, the root: it imports the contract and no plugin. For each distribution whose connectors are
used, the root forks another, the distribution's branch, which imports each of those connectors and its drivers, once. A test is a
fork of its branch, so it starts with everything imported and nothing that another test left behind; a connector whose import
crashes, hangs or starts threads costs its own branch only, and its tests are forked from the root and import it themselves.

Root and branches speak alike, with the requests and answers of `connectory.checks.protocol`. They say first whether they are
`Ready`; then each `ForkRequest`, which brings the descriptors that the new process needs, is answered by `Forked`, by `Exited`
when the process is dead, and by `Gone` when it, and whatever it started, has been waited for.
"""

from __future__ import annotations

import gc
import json
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
from connectory.checks.child import run_test
from connectory.checks.confinement import Confinement, plan
from connectory.checks.fork_protocol import (
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
from connectory.checks.linux import (
    adopt_orphans,
    be_first_out_of_memory,
    die_with_parent,
    end_offspring,
    hide_memory,
    kill_session,
    leave_parent_behind,
    silence_standard_streams,
)
from connectory.checks.lookups import run_lookup
from connectory.checks.prepared import load_connector
from connectory.checks.rehearsal import rehearse
from connectory.checks.sessions.child import run_session


def main() -> None:
    """Be the root, on the channel that is this process's standard input, until its other end closes."""
    die_with_parent(os.getppid())
    be_first_out_of_memory()
    hide_memory()
    control = socket.socket(fileno=os.dup(0))
    silence_standard_streams()
    # The service decides when tests end, not who signals everything at once: a terminal, or a service manager.
    for request in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(request, signal.SIG_IGN)
    replace_getaddrinfo()
    _serve(control, None, plan(closed=json.loads(sys.argv[2])))


def _be_branch(parent: int, control: int, request: ForkRequest, confinement: Confinement) -> NoReturn:
    """Be the branch that begins with one connector: in a process forked for it, until the other end of `control` closes."""
    name, for_sessions = request.name, request.task == "session_branch"
    try:
        leave_parent_behind(control)
        die_with_parent(parent)
        connection = socket.socket(fileno=control)
        connector = _preload(name, for_sessions=for_sessions)
        if connector is None:
            channel.send(connection, encode_answer(Ready(can_fork=False)))
        else:
            _serve(connection, {name: connector}, confinement, for_sessions=for_sessions)
    finally:
        os._exit(0)


def _preload(name: ConnectorName, *, for_sessions: bool) -> LoadedConnector | None:
    """Import a connector and its drivers; `None` where tests have to do that themselves, and say what is wrong."""
    try:
        connector = load_connector(name, for_sessions=for_sessions)
        rehearse(connector)  # what it loads and computes once, no test has to
    except BaseException:
        return None
    # A fork copies the one thread that forks: a lock that another holds would stay locked for ever.
    return connector if threading.active_count() == 1 else None


def _serve(
    control: socket.socket,
    connectors: dict[ConnectorName, LoadedConnector | None] | None,
    confinement: Confinement,
    *,
    for_sessions: bool = False,
) -> None:
    adopt_orphans()
    gc.collect()
    gc.freeze()  # what is there now is never garbage; not looking at it spares tests the copying of its pages
    ForkServer(control, connectors, confinement, for_sessions=for_sessions).serve()


class ForkServer:
    """Forks processes for the service and looks after them.

    Args:
        control: the channel to the service.
        connectors: those of one distribution that are imported; the others are when they are first asked for. `None` for the
            root, which imports none.
        confinement: what the forked tests are kept to.
        for_sessions: whether what only sessions need is imported too.
    """

    def __init__(
        self,
        control: socket.socket,
        connectors: dict[ConnectorName, LoadedConnector | None] | None,
        confinement: Confinement,
        *,
        for_sessions: bool,
    ) -> None:
        self._control = control
        self._for_sessions = for_sessions
        self._connectors = connectors
        self._confinement = confinement
        # A process is waited for only when the service has ended it. Until then its id cannot become another's, so
        # that the service may kill it at any time.
        self._running: dict[int, int] = {}
        self._dead: dict[int, int] = {}
        self._ending: set[int] = set()

    def serve(self) -> None:
        """Do what the service asks for, until it closes its end or this process's parent ends; then end what was forked."""
        # The parent's end wakes this process and does not kill it, so that it can end what tests have started.
        die_with_parent(parent := os.getppid(), by=signal.SIGCHLD)
        try:
            self._serve_while(parent)
        finally:
            end_offspring(sparing=set())

    def _serve_while(self, parent: int) -> None:
        child_died = _wake_on_child()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(child_died, select.POLLIN)
        self._answer(Ready(can_fork=True))
        while os.getppid() == parent:
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
        connector = self._imported(request.name)
        try:
            pid = os.fork()
        except OSError:  # no room for another process: for this one test it is as if the kernel had ended it
            for descriptor in descriptors:
                os.close(descriptor)
            self._answer(Exited(request.number, -signal.SIGKILL))
            self._answer(Gone(request.number))
            return
        if pid == 0:
            if request.task in ("branch", "session_branch"):
                _be_branch(parent, descriptors[0], request, self._confinement)
            if request.task == "look_up":
                run_lookup(parent, descriptors[0], self._confinement)
            run = run_session if request.task == "session" else run_test
            down, up, line = descriptors
            run(parent, down, up, line, request.name, connector, self._confinement)
        for descriptor in descriptors:
            os.close(descriptor)
        self._running[request.number] = pid
        self._answer(Forked(request.number, pid))

    def _imported(self, name: ConnectorName) -> LoadedConnector | None:
        """A connector of this branch's distribution; `None` where the test has to import it, and say what is wrong."""
        if self._connectors is None:
            return None
        if name not in self._connectors:
            self._connectors[name] = _preload(name, for_sessions=self._for_sessions)
            if threading.active_count() > 1:  # nothing can be forked here any more
                sys.exit()
        return self._connectors[name]

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
        if number not in self._running:  # it could not be forked
            return
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
        """Kill what dead tests have started: it became ours when they died."""
        if self._has_children():
            end_offspring(sparing=set(self._running.values()))

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
