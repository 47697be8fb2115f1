"""Which system calls a process keeps: a filter that it puts on itself, for good, and that the kernel keeps (seccomp(2)).

Landlock does not keep a process from Unix sockets by path before ABI 9, and never from a hypervisor's; and it knows TCP as the
system call `connect` alone. The filter looks at numbers and not at memory, so no other thread can change what it has seen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from typing import NamedTuple

# linux/prctl.h, linux/seccomp.h, linux/audit.h, linux/bpf_common.h
_PR_GET_SECCOMP = 21
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_ERROR = 0x00050000
_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where `struct seccomp_data` has what is looked at; of each argument the lower half, which is all that these calls read."""
_X32 = 0x40000000

_SOCKET_TYPE = 0xF  # the rest are SOCK_CLOEXEC and SOCK_NONBLOCK
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*: the kernel's code behind them is what most of its known holes are reached by
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN: it connects without the system call that Landlock looks at


class _Calls(NamedTuple):
    """What the kernel calls an architecture, and the numbers of its system calls."""

    architecture: int
    socket: int
    socketpair: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    clone: int
    of_oneself: tuple[int, ...]
    needless: tuple[int, ...]


_EVERYWHERE = (
    425,  # io_uring_setup: it opens sockets past the filter
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
    438,  # pidfd_getfd
    *(440, 448),  # process_madvise, process_mrelease
)
_CLONE3 = 435  # its flags lie in memory; C libraries take `clone` where it is not there
_BY_MACHINE = {
    # Whose first argument is a process, and 0 for oneself: prlimit64, sched_setaffinity, sched_setscheduler, sched_setparam,
    # sched_setattr. The service's are open to who has its user, in whatever namespace, and Landlock does not look at them.
    # Then, of no use: ptrace, process_vm_readv, process_vm_writev, kcmp, bpf, userfaultfd, perf_event_open, add_key, request_key,
    # keyctl, mount, umount2, pivot_root, setns, unshare, open_by_handle_at, init_module, finit_module, setpriority, ioprio_set,
    # migrate_pages, move_pages, inotify_add_watch, fanotify_init; and, since what they make outlives the process: shmget, semget,
    # msgget, mq_open.
    "x86_64": _Calls(
        *(0xC000003E, 41, 53, 44, 46, 307, 56),
        (302, 203, 144, 142, 314),
        (
            *(101, 310, 311, 312, 321, 323, 298, 248, 249, 250, 165, 166, 155, 308, 272, 304, 175, 313, 141, 251),
            *(256, 279, 254, 300, 29, 64, 68, 240),
        ),
    ),
    "aarch64": _Calls(
        *(0xC00000B7, 198, 199, 206, 211, 269, 220),
        (261, 122, 119, 118, 274),
        (
            *(117, 270, 271, 272, 280, 282, 241, 217, 218, 219, 40, 39, 41, 268, 97, 265, 105, 273, 140, 30),
            *(238, 239, 27, 262, 194, 190, 186, 180),
        ),
    ),
}
"""Others go without a filter: some of them have a second way to `socket`."""
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LASTING_PAIRS = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
"""Kinds of pairs that stay connected to each other; one of datagrams can send to any Unix socket, and with it descriptors."""
_PROTOCOLS = (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP)  # not MPTCP and SCTP, which Landlock does not know
_libc = ctypes.CDLL(None, use_errno=True)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


_Step = tuple[int, int, int, int]


def _filter(calls: _Calls) -> ctypes.Array[_Instruction]:
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, calls.architecture),
        _refuse(),
        (_LOAD, 0, 0, _NUMBER),
        *_refused_if(_IF_AT_LEAST, _X32),
        *_refused_if(_IF_EQUAL, _CLONE3, errno.ENOSYS),
        *(step for number in (*_EVERYWHERE, *calls.needless) for step in _refused_if(_IF_EQUAL, number)),
        *(step for number in calls.of_oneself for step in _on(number, [*_argument(0), *_one_of(0)])),
        *_on(calls.clone, [*_argument(0), *_refused_if(_IF_ANY_BIT, _NEW_NAMESPACES)]),
        *_on(calls.sendto, [*_argument(3), *_refused_if(_IF_ANY_BIT, _FAST_OPEN)]),
        *_on(calls.sendmsg, [*_argument(2), *_refused_if(_IF_ANY_BIT, _FAST_OPEN)]),
        *_on(calls.sendmmsg, [*_argument(3), *_refused_if(_IF_ANY_BIT, _FAST_OPEN)]),
        *_on(calls.socket, list(_sockets())),
        *_on(calls.socketpair, [*_argument(1, _SOCKET_TYPE), *_one_of(*_LASTING_PAIRS)]),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _instructions(steps)


def _instructions(steps: list[_Step]) -> ctypes.Array[_Instruction]:
    return (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))


def _sockets() -> Iterator[_Step]:
    """Of IPv4 and IPv6, TCP and UDP; of netlink, by which the C library asks the kernel for its addresses, that part."""
    netlink = [*_argument(2), *_one_of(socket.NETLINK_ROUTE), (_RETURN, 0, 0, _ALLOW)]
    yield from _argument(0)
    yield from _on_value(socket.AF_NETLINK, netlink)
    yield from _one_of(*_INTERNET)
    yield from _argument(1, _SOCKET_TYPE)
    yield from _one_of(socket.SOCK_STREAM, socket.SOCK_DGRAM)
    yield from _argument(2)
    yield from _one_of(*_PROTOCOLS)


def _argument(number: int, bits: int | None = None) -> list[_Step]:
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * number), *([] if bits is None else [(_AND, 0, 0, bits)])]


def _on(number: int, steps: list[_Step]) -> list[_Step]:
    """Of one system call, take `steps`, and allow what gets through them."""
    return _on_value(number, [*steps, (_RETURN, 0, 0, _ALLOW)])


def _on_value(value: int, steps: list[_Step]) -> list[_Step]:
    return [(_IF_EQUAL, 0, len(steps), value), *steps]


def _one_of(*values: int) -> list[_Step]:
    """Go on where one of `values` is there, and refuse the rest."""
    return [*((_IF_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)), _refuse()]


def _refused_if(test: int, value: int, error: int = errno.EACCES) -> list[_Step]:
    return [(test, 0, 1, value), _refuse(error)]


def _refuse(error: int = errno.EACCES) -> _Step:
    return (_RETURN, 0, 0, _ERROR | error)


def _filter_of_datagrams(calls: _Calls) -> ctypes.Array[_Instruction]:
    """On top of the other one, which lets through this architecture alone."""
    netlink = _on_value(socket.AF_NETLINK, [(_RETURN, 0, 0, _ALLOW)])
    kinds = [*_argument(1, _SOCKET_TYPE), *_refused_if(_IF_EQUAL, socket.SOCK_DGRAM)]
    steps = [
        (_LOAD, 0, 0, _NUMBER),
        *_on(calls.socket, [*_argument(0), *netlink, *kinds]),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return _instructions(steps)


_CALLS = _BY_MACHINE.get(os.uname().machine)
_INSTRUCTIONS = _filter(_CALLS) if _CALLS is not None else None
_NO_DATAGRAMS = _filter_of_datagrams(_CALLS) if _CALLS is not None else None


def available() -> bool:
    """Whether `give_up` can do anything on this machine and this kernel."""
    return _INSTRUCTIONS is not None and _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0


def give_up() -> None:
    """Have this thread, and whatever it starts from now on, make no system calls that drivers do not need.

    Of sockets it can make those of TCP and UDP, and of netlink that which tells routes and addresses. Pairs that stay connected
    to each other, and what is open, stay. It traces no process, reads none's memory and sets no other's limits and priority,
    mounts nothing, enters no namespace and makes none. Needs `no_new_privileges`. Does nothing where the kernel has no filters.

    Raises:
        OSError: the kernel refused.
    """
    _install(_INSTRUCTIONS)


def give_up_datagrams() -> None:
    """After `give_up`: have this thread, and whatever it starts from now on, make no sockets of UDP either.

    The C library then finds no name in the DNS, which it asks by UDP; it orders the addresses of a name as they come.

    Raises:
        OSError: the kernel refused.
    """
    _install(_NO_DATAGRAMS)


def _install(instructions: ctypes.Array[_Instruction] | None) -> None:
    if instructions is None:
        return
    program = _Program(len(instructions), instructions)
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        refused = ctypes.get_errno()
        if refused != errno.EINVAL:  # built without filters
            raise OSError(refused, os.strerror(refused))
