"""What a test tells while it waits and runs, and who is told. Names and numbers only: no text of a driver or a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from connectory.checks.report import StepReport


@dataclass(frozen=True)
class Queued:
    """The test waits. `position` counts from 1, by who came first; clients take turns, so it may start earlier."""

    position: int


@dataclass(frozen=True)
class Started:
    """The test's turn has come; in `deadline_ms` milliseconds it is killed."""

    deadline_ms: int


@dataclass(frozen=True)
class StepRuns:
    """The step `name` has begun. How it ends is told as its `StepReport`; a later one of the same step corrects it."""

    name: str


Event: TypeAlias = Queued | Started | StepRuns | StepReport
Observer: TypeAlias = Callable[[Event], None]
"""Is told of each event, in the event loop. It must neither block nor raise."""


class Progress:
    """What one test has told so far. Whoever joins late is told that first.

    A test tells little: where it stands in the queue, that it starts, and two events for each of a limited number of steps.
    """

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self._position: int | None = None
        self._killed_at: float | None = None
        self._steps: list[StepRuns | StepReport] = []

    @property
    def waited_for(self) -> bool:
        """Whether somebody would be told of another place in the queue."""
        return bool(self._observers) and self._killed_at is None

    def attach(self, observer: Observer) -> None:
        """Tell `observer` what was told so far, and all that follows."""
        if self._killed_at is not None:
            observer(Started(max(0, round((self._killed_at - time.monotonic()) * 1000))))
        elif self._position is not None:
            observer(Queued(self._position))
        for step in self._steps:
            observer(step)
        self._observers.append(observer)

    def detach(self, observer: Observer) -> None:
        """Tell `observer` nothing more."""
        self._observers.remove(observer)

    def stand(self, position: int | None) -> None:
        """The test has this place in the queue; `None` where it need not wait."""
        moved = position != self._position
        self._position = position
        if moved and position is not None:
            self._tell(Queued(position))

    def start(self, seconds: float) -> None:
        """The test's turn has come, for so long."""
        self._killed_at = time.monotonic() + seconds
        self._tell(Started(round(seconds * 1000)))

    def begin(self) -> None:
        """A process begins with the first step: of an earlier one, who joins late need not know."""
        self._steps.clear()

    def step(self, event: StepRuns | StepReport) -> None:
        """A step began or ended."""
        self._steps.append(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)
