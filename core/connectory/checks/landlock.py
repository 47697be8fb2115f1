"""Landlock: limits that a process puts on itself and on what it starts, for good, and that the kernel keeps (landlock(7))."""

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import suppress
from functools import cache

# linux/landlock.h. The numbers of the system calls are the same on every architecture.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2

_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_BIND_TCP = 1 << 0
_CONNECT_TCP = 1 << 1

_RIGHTS_SINCE = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE, 5: _IOCTL_DEV}
"""Rights on files by the ABI that brought them: the first thirteen; to move between folders; to truncate; to use devices."""
_SCOPES = (1 << 0) | (1 << 1)
"""Abstract Unix sockets, and signals: neither reaches a process outside (ABI 6)."""

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@cache
def abi() -> int:
    """The version of Landlock that this kernel has; 0 where it has none, or has it switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)))


def knows_tcp() -> bool:
    """Whether it limits what TCP ports a process connects to and listens on."""
    return abi() >= 4


class Ruleset:
    """What will still be allowed, once `restrict` is called, of everything that this kernel's Landlock can deny.

    Denied by then, except as allowed here: to open, list, change, move, make or delete files, to run programs, to listen on a
    TCP port of one's choice, to connect to a TCP port, to signal processes and to connect to abstract Unix sockets of processes
    that are not restricted by the same call. What is open stays open, and a socket that is connected stays connected.

    Raises:
        OSError: this kernel's Landlock does not work.
    """

    def __init__(self) -> None:
        self._rights = sum(rights for since, rights in _RIGHTS_SINCE.items() if since <= abi())
        net = _BIND_TCP | _CONNECT_TCP if knows_tcp() else 0
        attributes = _RulesetAttributes(self._rights, net, _SCOPES if abi() >= 6 else 0)
        # An older kernel takes the members that it knows, and refuses a structure with more.
        size = 8 * (1 + knows_tcp() + (abi() >= 6))
        self._descriptor = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
        self._allow_port(_BIND_TCP, 0)  # a free port

    def allow_reading(self, path: str) -> None:
        """Allow reading the file, or everything in the folder, that `path` leads to now. No file there: nothing."""
        self._allow(path, _READ_FILE | _READ_DIR)

    def allow_device(self, path: str) -> None:
        """Allow reading and writing the device `path`."""
        self._allow(path, _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV)

    def allow_connecting(self, port: int) -> None:
        """Allow connecting to the TCP port, of whatever address: the kernel compares no more."""
        self._allow_port(_CONNECT_TCP, port)

    def allow_listening(self, port: int) -> None:
        """Allow listening on the TCP port."""
        self._allow_port(_BIND_TCP, port)

    def _allow_port(self, right: int, port: int) -> None:
        if knows_tcp():
            self._add(_RULE_NET_PORT, _NetPort(right, port))

    def _allow(self, path: str, rights: int) -> None:
        with suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    rights &= ~_READ_DIR
                self._add(_RULE_PATH_BENEATH, _PathBeneath(rights & self._rights, descriptor))
            finally:
                os.close(descriptor)

    def _add(self, kind: int, rule: ctypes.Structure) -> None:
        _call(_ADD_RULE, self._descriptor, kind, ctypes.byref(rule), 0)

    def restrict(self) -> None:
        """Deny this thread, and whatever it starts from now on, everything else. Can be called once.

        Raises:
            OSError: the kernel refused, as it does without `no_new_privileges` or in the sixteenth layer.
        """
        try:
            _call(_RESTRICT_SELF, self._descriptor, 0)
        finally:
            os.close(self._descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
