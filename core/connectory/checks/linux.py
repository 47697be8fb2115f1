"""What Linux offers to keep one process from outliving, watching or starving others."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)

_OPEN_FILES = 256
_MOST_DESCRIPTORS = 2**16


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, its parent's process id, ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none gets away by a second fork."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def allow_inspection(allowed: bool) -> None:
    """Whether processes of the same account may look into this one, and into its later forks, and change them (ptrace(2))."""
    _libc.prctl(_PR_SET_DUMPABLE, int(allowed), 0, 0, 0)


def leave_parent_behind(*keep: int) -> None:
    """After a fork: a session of its own, and of the parent's descriptors only `keep` and the standard streams."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    last = 2
    for descriptor in sorted(keep):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, min(_MOST_DESCRIPTORS, os.sysconf("SC_OPEN_MAX")))


def silence_standard_streams() -> None:
    """Read nothing from standard input, and lose what is written to standard output and error."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


@contextmanager
def limited_growth(memory: int) -> Iterator[None]:
    """Meanwhile: `memory` bytes of address space more than now."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()


def limit_resources(memory: int) -> None:
    """From now on: no file grows, no core dump, 256 open files, and `memory` bytes of address space more than now."""
    for kind, limit in (
        (resource.RLIMIT_AS, _address_space() + memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


def peak_memory() -> int:
    """The most memory, in bytes, that this process has had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def kill_session(leader: int) -> None:
    """Kill the session that process `leader` made for itself, and it, if it is not that far yet.

    The process must not have been waited for: from then on its id may be another's.
    """
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)


def children_of(parent: int) -> list[int]:
    """The process ids of the children of `parent`, dead ones that were not waited for included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The command's name may hold spaces and parentheses; the parent is the second word after it (proc(5)).
            if int((entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found
