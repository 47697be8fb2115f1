"""How often one caller may do what costs others: test connections, and guess secrets of clients."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

_MOST = 10_000
"""Callers that are remembered; the one that was seen longest ago is forgotten first."""


class TokenBuckets:
    """A token bucket for each caller. Safe to share between threads.

    Args:
        rate: tokens that a bucket gains a second.
        burst: tokens that a full bucket holds, as that of a new caller does.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, caller: Hashable) -> int:
        """Take a token; returns 0, or after how many whole seconds there will be one."""
        with self._lock:
            tokens, now = self._tokens(caller)
            if tokens < 1:
                return self._until_one(tokens)
            self._buckets[caller] = tokens - 1, now
            self._buckets.move_to_end(caller)
            if len(self._buckets) > _MOST:
                self._buckets.popitem(last=False)
            return 0

    def wait(self, caller: Hashable) -> int:
        """After how many whole seconds `take` will succeed; 0 for now."""
        with self._lock:
            tokens, _ = self._tokens(caller)
            return 0 if tokens >= 1 else self._until_one(tokens)

    def _tokens(self, caller: Hashable) -> tuple[float, float]:
        now = time.monotonic()
        tokens, since = self._buckets.get(caller, (float(self._burst), now))
        return min(float(self._burst), tokens + (now - since) * self._rate), now

    def _until_one(self, tokens: float) -> int:
        return max(1, math.ceil((1 - tokens) / self._rate))
