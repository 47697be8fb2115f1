"""Run a command as another user, or as on a kernel without Landlock.

`python -I launch.py [--user ID] [--without-landlock] COMMAND...` becomes the command, whose program is an absolute path.

Only root can become another user. Python may be installed where only root gets to: then the command sees it there through a
mount that nobody else sees.
"""

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK = (444, 446)  # the first and the last of its system calls, on every architecture

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Do it. The first argument that is not an option is the program to become."""
    arguments = sys.argv[1:]
    without_landlock = "--without-landlock" in arguments
    if without_landlock:
        arguments.remove("--without-landlock")
    user = None
    if arguments[0] == "--user":
        user, arguments = int(arguments[1]), arguments[2:]
    if user is not None:
        _open_the_way(Path(sys.base_prefix), Path(arguments[0]).parent.parent, Path(__file__).parents[2])
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if without_landlock:
        _hide_landlock()
    os.execv(arguments[0], arguments)


def _open_the_way(*folders: Path) -> None:
    """Have every user get to `folders`, in this process and what it starts."""
    _checked(_libc.unshare(_CLONE_NEWNS))
    _run("mount", "--make-rprivate", "/")
    for folder in folders:
        resolved = folder.resolve()
        closed = [way for way in reversed(resolved.parents) if not way.stat().st_mode & stat.S_IXOTH]
        if closed:
            aside = tempfile.mkdtemp()
            _run("mount", "--bind", resolved, aside)
            _run("mount", "-t", "tmpfs", "-o", "mode=755", "none", closed[0])
            resolved.mkdir(parents=True)
            _run("mount", "--move", aside, resolved)
            Path(aside).rmdir()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def _hide_landlock() -> None:
    """Answer Landlock's system calls as a kernel does that was built without it."""
    first, last = _LANDLOCK
    instructions = (
        (0x20, 0, 0, 0),  # load the number of the system call
        (0x35, 0, 2, first),  # at least the first, else allow
        (0x25, 1, 0, last),  # more than the last: allow
        (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
        (0x06, 0, 0, 0x7FFF0000),
    )
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    held = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(held))
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
