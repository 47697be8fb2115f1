"""Which kinds of sockets a process may have: a filter that it puts on itself, for good, and that the kernel keeps (seccomp(2)).

Landlock does not keep a process from Unix sockets by path before ABI 9, and never from a hypervisor's. The filter looks at
numbers alone and not at memory, so no other thread can change what it has seen.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

# linux/prctl.h, linux/seccomp.h, linux/audit.h, linux/bpf_common.h
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EACCES
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Where `struct seccomp_data` has what is looked at; of the argument the lower half, which is all that `socket` reads."""

_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""What the kernel calls each, and its number of `socket`. Others go without: some of them have a second way to that call."""
_X32 = 0x40000000
_IO_URING_SETUP = 425  # the same everywhere; it opens sockets past the filter
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)  # the C library asks the kernel for its addresses
_libc = ctypes.CDLL(None, use_errno=True)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def _filter(architecture: int, number: int) -> ctypes.Array[_Instruction]:
    """The jumps count instructions; what is refused is the last, what is allowed the one before."""
    families = [(_IF_EQUAL, len(_FAMILIES) - 1 - place, 0, family) for place, family in enumerate(_FAMILIES)]
    families[-1] = (_IF_EQUAL, 0, 1, _FAMILIES[-1])
    after = len(families) + 1  # from the test of the number to what is allowed
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 0, after + 5, architecture),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, after + 3, 0, _X32),
        (_IF_EQUAL, after + 2, 0, _IO_URING_SETUP),
        (_IF_EQUAL, 0, after, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *families,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))


_INSTRUCTIONS = _filter(*_ARCHITECTURES[os.uname().machine]) if os.uname().machine in _ARCHITECTURES else None


def internet_sockets_only() -> None:
    """Have this thread, and whatever it starts from now on, make no socket but of IPv4, IPv6 and netlink.

    Pairs of connected sockets, and what is open, stay. Needs `no_new_privileges`. Does nothing where the kernel has no filters.

    Raises:
        OSError: the kernel refused.
    """
    if _INSTRUCTIONS is None:
        return
    program = _Program(len(_INSTRUCTIONS), _INSTRUCTIONS)
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        refused = ctypes.get_errno()
        if refused != errno.EINVAL:  # built without filters
            raise OSError(refused, os.strerror(refused))
