"""What this node has done by schedule and told to webhooks, for monitoring."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class HealthCounts:
    """Counts since the node started, and how it was when it looked last, which is seconds ago.

    Attributes:
        runs: what ran by schedule, by kind (`test`, `check`) and result: an outcome, `inconclusive` where nothing was found out
            about the connection, `postponed` where there was no room, `failed_to_run` where the service failed.
        due: what is due on all nodes and does not run yet.
        late: what of it has been due for more than a minute.
        deliveries: calls of webhooks by result: `delivered`, `retried` where another attempt follows, `given_up`.
        pending: events that webhooks have still to be told, on all nodes.
    """

    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    due: int = 0
    late: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)
    pending: int = 0
