"""How long a write transaction waits for others that write."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PATIENCE = 4.5
"""Seconds that a writer waits for other writers before it gives up; a caller then has its answer within 5."""

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def patient_until(deadline: float) -> Iterator[None]:
    """Have the write transactions of this block wait until `deadline`, a reading of `time.monotonic()`, and no longer.

    For work that already waited in a line. Without it each transaction waits for `PATIENCE`.
    """
    token = _until.set(deadline)
    try:
        yield
    finally:
        _until.reset(token)


def patience_left() -> float:
    """Seconds that a transaction which begins now may wait; 0 where the time is up."""
    deadline = _until.get()
    return PATIENCE if deadline is None else max(0.0, deadline - time.monotonic())
