"""What a process gives up for good before it does what others ask for: its user, its capabilities, its room to fork."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from pathlib import Path

from connectory.checks.linux import limit

# linux/prctl.h, linux/capability.h, linux/sched.h
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_CAP_DAC_READ_SEARCH = 1 << 2
_TO_BECOME_ANOTHER_USER = (1 << 5) | (1 << 6) | (1 << 7)  # CAP_KILL, CAP_SETGID, CAP_SETUID
_CAPABILITY_VERSION = 0x20080522
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNS = 0x00020000
# linux/mount.h, linux/fcntl.h; the number of the system call is the same on every architecture.
_MOUNT_SETATTR = 442
_MOUNT_ATTR_RDONLY = 1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000

_PROCESSES = 64 + 4 * (os.cpu_count() or 1)
"""Threads and processes that a test may have: drivers start a few, those with a native core one or two for each processor."""
_COUNTED_BY_NAMESPACE = (5, 14)
"""The release of Linux since which RLIMIT_NPROC counts the processes of each user namespace by themselves."""
_SPAN = 2**16
_FIRST_USER = 0x70000000
"""Where a range of user ids begins that no convention gives to anybody: https://systemd.io/UIDS-GIDS/ lists the others."""

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def spare_users() -> range | None:
    """User ids that nobody has, for tests; `None` where this process may not become another user, or not kill one's processes."""
    if os.geteuid() != 0 or _effective_capabilities() & _TO_BECOME_ANOTHER_USER != _TO_BECOME_ANOTHER_USER:
        return None
    users, groups = (_spare(Path(f"/proc/self/{kind}_map").read_text("ascii")) for kind in ("uid", "gid"))
    return users if users == groups else None


def _effective_capabilities() -> int:
    status = Path("/proc/self/status").read_text("utf-8", "replace")
    return int(status.partition("\nCapEff:")[2].split()[0], 16)


def _spare(mapping: str) -> range | None:
    """The ids to use where a user namespace has this mapping: a container's may end at 65,535 (user_namespaces(7))."""
    extents = [(int(first), int(count)) for first, _, count in map(str.split, mapping.splitlines())]
    first, count = max(extents, default=(0, 0))
    if first <= _FIRST_USER and first + count >= _FIRST_USER + _SPAN:
        return range(_FIRST_USER, _FIRST_USER + _SPAN)
    # The last two are nobody, and an id that means none.
    return range(first + count - _SPAN // 2, first + count - 2) if count >= _SPAN else None


def become_user(user: int, *, reading: bool) -> None:
    """Be the user and the group `user`, in no other group, for good.

    Args:
        reading: whether to keep one capability, to read what belongs to others.
    """
    _libc.prctl(_PR_SET_KEEPCAPS, int(reading), 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _keep_capabilities(_CAP_DAC_READ_SEARCH if reading else 0)


def stand_apart() -> bool:
    """Have no capabilities, and where the kernel allows that, be in a user namespace of one's own; whether it does.

    There the kernel counts this process and its descendants by themselves. Everything that is mounted is read-only: as the
    owner of files, a process may change their modes and times whatever Landlock says.
    """
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    apart = release >= _COUNTED_BY_NAMESPACE and _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) == 0
    if apart:
        read_only = _MountAttributes(set=_MOUNT_ATTR_RDONLY)
        _libc.syscall(
            *(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE),
            *(ctypes.byref(read_only), ctypes.c_size_t(ctypes.sizeof(read_only))),
        )
    _keep_capabilities(0)
    return apart


def _keep_capabilities(kept: int) -> None:
    data = (_CapabilityData * 2)(_CapabilityData(kept, kept, 0), _CapabilityData(0, 0, 0))
    if _libc.capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION, 0)), data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def no_new_privileges() -> None:
    """Have no program that is run from now on get more rights than this process has."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit_processes(*, alone: bool) -> None:
    """Limit the threads and processes that this process may start.

    Args:
        alone: whether the kernel counts it by itself. Otherwise it counts every process of the user, of which this one may not
            see all; the machine's whole number is an upper bound.
    """
    others = 0 if alone else int(Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[2])
    limit(resource.RLIMIT_NPROC, others + _PROCESSES)
