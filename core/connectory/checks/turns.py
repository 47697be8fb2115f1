"""Whose test runs next: a limited number at once, in fair shares, and nobody waits without end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

LONE_SHARE = 0.75
"""Of the turns that other clients leave, what one client may have at once. The rest is there for whoever comes next, so that a
client whose tests all hang cannot keep others waiting."""


class QueueFull(Exception):
    """Too many tests run and wait. `retry_after` is when to try again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many connection tests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False)
class Turn:
    """One turn, waited for or taken; `come` is done when it may begin."""

    come: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Turns for work that takes up to `length` seconds, for one event loop.

    A free turn goes to the client that has the fewest, and among those to the one that waits longest. Of the places to wait one
    client may take half.

    Args:
        at_once: turns at the same time.
        queue: turns that may be waited for.
        patience: seconds that one may be waited for.
        length: seconds that a turn may take; for `retry_after` only.
    """

    def __init__(self, *, at_once: int, queue: int, patience: float, length: float) -> None:
        self._at_once, self._queue, self._patience, self._length = at_once, queue, patience, length
        self._taken: dict[Turn, Hashable] = {}
        self._counts: Counter[Hashable] = Counter()  # turns taken, by client
        self._over: set[Turn] = set()  # of those taken
        self._waiting: dict[Turn, None] = {}  # those that came first are first
        self._lines: OrderedDict[Hashable, deque[Turn]] = OrderedDict()  # by client; the first has waited longest

    @property
    def waiting(self) -> int:
        """Turns that are waited for."""
        return len(self._waiting)

    def position(self, turn: Turn) -> int | None:
        """The turn's place among all that are waited for, counted from 1; `None` where it is not."""
        return next((place for place, waiting in enumerate(self._waiting, 1) if waiting is turn), None)

    def ask(self, client: Hashable) -> Turn:
        """A turn of `client`, to be waited for with `called` and in any case to be ended with `end`.

        Raises:
            QueueFull: too many wait, of this client or in all.
        """
        turn = Turn()
        if self._may_take(client):
            self._take(turn, client)
            return turn
        if self.waiting >= self._queue + len(self._over) or not self._has_place(client):
            raise QueueFull(self._retry_after())
        self._waiting[turn] = None
        self._stand_in_line(turn, client)
        return turn

    def share(self, turn: Turn, client: Hashable) -> None:
        """Have `turn` also come when it would for `client`, who waits for the same: not only in the line of who asked first."""
        if turn not in self._waiting or turn in self._lines.get(client, ()):
            return
        if self._may_take(client):
            self._leave(turn)
            self._take(turn, client)
        elif self._has_place(client):
            self._stand_in_line(turn, client)

    async def called(self, turn: Turn) -> None:
        """Wait until it is the turn's time.

        Raises:
            QueueFull: it was waited for too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await turn.come
        except TimeoutError:
            raise QueueFull(self._retry_after()) from None

    def over(self, turn: Turn) -> None:
        """Say that `end` follows in a moment: whoever has the result may ask for the next turn already, and finds a place."""
        if turn in self._taken:
            self._over.add(turn)

    def end(self, turn: Turn) -> None:
        """Give the turn to the next, or wait for it no longer."""
        self._over.discard(turn)
        if turn in self._taken:
            self._counts -= Counter([self._taken.pop(turn)])  # which keeps no zero
            self._call_next()
        else:
            self._leave(turn)

    def _may_take(self, client: Hashable) -> bool:
        mine = self._counts[client]
        left = self._at_once - (len(self._taken) - mine)  # by the others
        return len(self._taken) < self._at_once and mine < max(1, math.floor(left * LONE_SHARE))

    def _has_place(self, client: Hashable) -> bool:
        over = sum(self._taken[turn] == client for turn in self._over)
        return len(self._lines.get(client, ())) < max(1, self._queue // 2) + over

    def _take(self, turn: Turn, client: Hashable) -> None:
        self._taken[turn] = client
        self._counts[client] += 1
        turn.come.set_result(None)

    def _stand_in_line(self, turn: Turn, client: Hashable) -> None:
        self._lines.setdefault(client, deque()).append(turn)

    def _leave(self, turn: Turn) -> None:
        self._waiting.pop(turn, None)
        for client in [client for client, line in self._lines.items() if turn in line]:
            self._lines[client].remove(turn)
            if not self._lines[client]:
                del self._lines[client]

    def _call_next(self) -> None:
        while able := [client for client in self._lines if self._may_take(client)]:
            client = min(able, key=self._counts.__getitem__)  # the first of those with the fewest
            turn = self._lines[client][0]
            self._leave(turn)
            if client in self._lines:
                self._lines.move_to_end(client)
            if not turn.come.done():  # else whoever waited has just left
                self._take(turn, client)

    def _retry_after(self) -> int:
        # If every test takes its whole time, this is when the queue's last one starts.
        return max(1, math.ceil(self._length * (self.waiting + 1) / self._at_once))
