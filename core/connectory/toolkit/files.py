"""Content for drivers that take it only as a file: no file is written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LARGEST_PIPE = 2**20  # what a user may ask for on Linux, /proc/sys/fs/pipe-max-size


@contextmanager
def path_of(content: str) -> Iterator[str]:
    """A path from which a driver can read `content` once, for drivers that take certificates only as files.

    No file is written: the path is one end of a pipe, which holds up to 1 MiB (`pipe-max-size`, proc(5)). Of longer content a
    thread writes the rest, so a driver must then release the interpreter while it reads.
    """
    reader, writer = os.pipe()
    rest = _fill(writer, content.encode())
    thread = threading.Thread(target=_feed, args=(writer, rest), daemon=True)
    if rest:
        thread.start()
    else:
        os.close(writer)
    try:
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
        if rest:
            thread.join()


def _fill(pipe: int, content: bytes) -> bytes:
    """Write as much as the pipe holds, and return the rest.

    Before anybody reads, because libpq reads a certificate without releasing the interpreter: it would wait for ever for a
    thread that has not written yet.
    """
    # Asked for twice the length: a pipe counts pages, and not all of them need be full. Where it may not grow, it stays.
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, min(2 * len(content), _LARGEST_PIPE))
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while content:
            content = content[os.write(pipe, content) :]
    os.set_blocking(pipe, True)
    return content


def _feed(pipe: int, content: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as file:
        file.write(content)
