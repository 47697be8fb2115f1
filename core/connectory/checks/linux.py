"""What Linux offers to keep one process from outliving, watching or starving others."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_M_MMAP_THRESHOLD = -3  # malloc.h of glibc

_libc = ctypes.CDLL(None, use_errno=True)

_MOST_DESCRIPTORS = 2**16


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process the signal `by` when `parent`, its parent's process id, ends.

    The kernel forgets it when the process becomes another user.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def hide_memory() -> None:
    """Keep other processes of the same user from reading this one's memory and environment, and from tracing it.

    Forks are hidden too; a program that is run, or a process that becomes another user, has to hide itself.
    """
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def be_first_out_of_memory() -> None:
    """Where the machine runs out of memory, have the kernel kill this process or a fork of it, and not the service."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none gets away by a second fork."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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


def give_back_memory() -> None:
    """Have the C library give the system what it holds of freed memory; nothing is done where it is not glibc."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_large_blocks() -> None:
    """From now on, have the C library give each block of a MiB or more back when it is freed; does nothing where it is not glibc.

    Left to itself it learns from the first large block to keep others, which stay at the end of a thread's arena: not even
    `give_back_memory` reaches there.
    """
    tune = getattr(_libc, "mallopt", None)
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, 2**20)


def silence_standard_streams() -> None:
    """Read nothing from standard input, and lose what is written to standard output and error."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)


def limit_memory(allowed: int) -> None:
    """From now on, have no more than `allowed` bytes of address space."""
    limit(resource.RLIMIT_AS, allowed)


def limit(kind: int, allowed: int) -> None:
    """Set a limit of `resource` for good; a lower one that is there stays."""
    _, hard = resource.getrlimit(kind)
    allowed = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
    resource.setrlimit(kind, (allowed, allowed))


def address_space() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()


@contextmanager
def limited_growth(memory: int) -> Iterator[None]:
    """Meanwhile: `memory` bytes of address space more than now."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (allowed if hard == resource.RLIM_INFINITY else min(allowed, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


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


def end_offspring(sparing: set[int]) -> None:
    """Kill and wait for every descendant of this process, except the children `sparing` and theirs.

    It must have adopted orphans. Everything is stopped before anything is killed: a process that forks as fast as others are
    killed would go on for ever, but what is stopped still counts against the limit of processes.
    """
    stopped: set[int] = set()
    while found := _offspring(sparing) - stopped:
        for process in found:
            _send(process, signal.SIGSTOP)
        stopped |= found
    for process in stopped:
        _send(process, signal.SIGKILL)
    while stopped:
        # Each that is waited for may leave us its children.
        for child in _children_by_parent()[os.getpid()] - sparing:
            os.waitpid(child, 0)
        stopped &= _offspring(sparing)


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _offspring(sparing: set[int]) -> set[int]:
    children = _children_by_parent()
    found: set[int] = set()
    generation = children[os.getpid()] - sparing
    while generation:
        found |= generation
        generation = set().union(*(children[process] for process in generation)) - found
    return found


def _children_by_parent() -> defaultdict[int, set[int]]:
    found: defaultdict[int, set[int]] = defaultdict(set)
    for process, (parent, _) in processes().items():
        found[parent].add(process)
    return found


def processes() -> dict[int, tuple[int, int]]:
    """For each process id there is, dead ones that were not waited for included: its parent's, and its bytes of memory."""
    # This takes most of the time that ending a test takes.
    return _described(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def family(process: int) -> dict[int, tuple[int, int]]:
    """The same, of `process` and what is below it; of all processes where the kernel does not list children.

    It takes longer where the family is larger, however many processes the machine has. What starts or ends meanwhile may be
    missing.
    """
    if not _LISTS_CHILDREN:
        return processes()
    found = {process}
    generation = found
    while generation:
        generation = {child for parent in generation for child in _children(parent)} - found
        found |= generation
    return _described(found)


_LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
"""Whether the kernel was built with CONFIG_PROC_CHILDREN (proc_pid_children(5)), as those of distributions are."""


def _children(process: int) -> Iterator[int]:
    """The children of each thread of a process: the kernel counts them to the one that forked."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208
            with suppress(OSError), open(f"/proc/{process}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                yield from map(int, file.read().split())


def _described(ids: Iterable[int]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for process in ids:
        with suppress(OSError), open(f"/proc/{process}/stat", "rb", buffering=0) as file:  # noqa: PTH123
            # The command's name may hold spaces and parentheses; the words are counted after it (proc(5)).
            words = file.read(1024).rpartition(b")")[2].split()
            found[process] = int(words[1]), int(words[21]) * resource.getpagesize()
    return found
