"""Writing lines to a file that may not take them now, such as a pipe whose reader is slow, without waiting for it."""

from __future__ import annotations

import atexit
import os
import select
from collections import deque
from threading import Condition, Thread

MOST = 10_000
"""Lines that may wait, about 2.5 MB; further ones are dropped, and counted."""

PATIENCE = 3
"""Seconds that the end of the process waits for lines that wait."""


class Lines:
    """Lines of one file, in the order in which they are written. Safe to share between threads.

    A line is written at once where the file takes it at once, which is nearly always; else by a thread. What waits at the end of
    the process is still written, unless it takes longer than `PATIENCE`.

    Args:
        descriptor: of the file.
        most: lines that may wait.
    """

    def __init__(self, descriptor: int, most: int = MOST) -> None:
        self._descriptor, self._most = descriptor, most
        self._room = _room(descriptor)
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._changed = Condition()
        self._thread: Thread | None = None
        atexit.register(self.finish)

    def write(self, line: bytes) -> None:
        """Write `line`, or have it written."""
        with self._changed:
            # A pipe that has room takes PIPE_BUF bytes as a whole (POSIX, write).
            if not self._waiting and len(line) <= select.PIPE_BUF and self._room.poll(0):
                line = line[_write(self._descriptor, line) :]
            if not line:
                return
            if len(self._waiting) < self._most:
                self._waiting.append(line)
                self._start()
            else:
                self._dropped += 1

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def finish(self) -> None:
        """Wait for the lines that wait, within `PATIENCE`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, PATIENCE)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        room = _room(self._descriptor)  # one of these belongs to one thread
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
                if self._dropped and len(self._waiting) == 1:
                    line += b'{"event":"log lines dropped","level":"warning","lines":%d}\n' % self._dropped
                    self._dropped = 0
            while line:
                room.poll()
                line = line[_write(self._descriptor, line) :]
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()


def _room(descriptor: int) -> select.poll:
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    return room


def _write(descriptor: int, line: bytes) -> int:
    """How much of `line` is done with."""
    try:
        return os.write(descriptor, line)
    except BlockingIOError:
        return 0
    except OSError:  # a full disk, or a reader that is gone: a request must not fail for it
        return len(line)
