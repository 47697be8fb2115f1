"""A lock that goes to who has waited longest."""

from collections import deque
from threading import Lock


class Line:
    """A lock that its holder hands on to the first in line.

    The interpreter's own locks go to whoever takes them first: a thread that works without a pause takes them again before the
    one that was woken is there, which may then wait without end.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken = False
        self._waiting: deque[Lock] = deque()

    def acquire(self, *, timeout: float) -> bool:
        """Wait for the lock, up to `timeout` seconds; whether it was got."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            called = Lock()
            called.acquire()
            self._waiting.append(called)
        if called.acquire(timeout=timeout):
            return True
        with self._lock:
            if called not in self._waiting:  # handed over in the last moment
                return True
            self._waiting.remove(called)
            return False

    def release(self) -> None:
        """Hand the lock on."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
