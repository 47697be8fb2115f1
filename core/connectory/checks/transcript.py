"""What the process of a test has reported, checked: the driver in it may be under a hostile server's control."""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import replace
from typing import Any

from connectory.checks.child import REMEDY_LIMIT, RESULT_LIMIT
from connectory.checks.context import STEP_LIMIT, STEP_NAME, TIMEOUT_CODES
from connectory.checks.report import CheckReport, StepReport
from connectory.contract.check import FailureCode
from connectory.documents.validation import children_in

_ERROR_TYPE_LIMIT = 100
_TOKENS_DEPTH = 32


class Transcript:
    """Takes in what a test's process writes, and makes the report of it."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._size = 0
        self._rest = b""
        self._steps: list[StepReport] = []
        self._open: tuple[str, float] | None = None
        self._denied = False
        self._tokens: dict[str, Any] | None = None
        self._verdict: dict[str, Any] | None = None
        self._broken = False

    @property
    def complete(self) -> bool:
        """Whether nothing more need be read: the verdict is there, or what is there is not what a child writes."""
        return self._verdict is not None or self._broken

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if self._size > RESULT_LIMIT:
                raise ValueError("too much")
            for line in lines:
                if not self.complete:
                    self._take(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError):
            self._broken = True

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "verdict":
            self._verdict = _checked_verdict(event)
        elif kind == "tokens":
            self._tokens = _tokens(event["tokens"])
        elif kind == "denied":
            self._denied = True
        elif kind == "end":
            self._end_step(event["status"], _number(event["at"]))
        elif kind == "step":
            self._open = _step_name(event["name"]), _number(event["at"])
        elif kind == "skip":
            self._steps.append(StepReport(_step_name(event["name"]), "skipped", 0.0))
        if len(self._steps) > STEP_LIMIT:
            raise ValueError("too many steps")

    def _end_step(self, status: str, at: float) -> None:
        if self._open is not None:
            name, began = self._open
            self._open = None
            elapsed = round(max(0.0, at - began) * 1000, 3)
            self._steps.append(StepReport(name, "passed" if status == "passed" else "failed", elapsed))

    def report(self) -> CheckReport | None:
        """The report that the verdict makes; `None` where there is none."""
        verdict = self._verdict
        if verdict is None or self._broken:
            return None
        if verdict["status"] != "failed":
            self._end_step("passed", time.monotonic())
            return self._report(CheckReport(verdict["status"]))
        code = FailureCode(verdict["code"])
        report = CheckReport(
            "failed",
            code,
            verdict["remedy"] or code.reason,
            retry_after=verdict["retry_after"],
            error_type=verdict["error_type"],
        )
        self._blame(verdict["step"])
        return self._report(report)

    def report_killed(self) -> CheckReport:
        """The report of a test that was killed at its deadline."""
        code = TIMEOUT_CODES.get(self._open[0], FailureCode.TIMEOUT) if self._open else FailureCode.TIMEOUT
        return self.report_failed(FailureCode.ADDRESS_NOT_ALLOWED if self._denied else code)

    def report_dead(self, status: int) -> CheckReport:
        """The report of a test whose process ended without a verdict.

        Args:
            status: its exit code, or the number of the signal that ended it, negated.
        """
        starved = -status in {signal.SIGKILL, signal.SIGXFSZ}  # not killed by us: the system was out of memory
        return self.report_failed(FailureCode.RESOURCE_LIMIT if starved else FailureCode.CRASHED)

    def report_failed(self, code: FailureCode, reason: str | None = None) -> CheckReport:
        """The report of a test that could not give a verdict itself."""
        self._blame(None)
        return self._report(CheckReport("failed", code, reason or code.reason))

    def _blame(self, name: str | None) -> None:
        """Mark the step called `name` as failed; without a name the one that is open, else the last one taken."""
        self._end_step(
            "passed" if name is not None and self._open and self._open[0] != name else "failed", time.monotonic()
        )
        if name is None:
            candidates = [index for index, step in enumerate(self._steps) if step.status != "skipped"]
        else:
            candidates = [index for index, step in enumerate(self._steps) if step.name == name]
            if not candidates:
                self._steps.append(StepReport(name, "failed", 0.0))
        if candidates:
            self._steps[candidates[-1]] = replace(self._steps[candidates[-1]], status="failed")

    def _report(self, report: CheckReport) -> CheckReport:
        elapsed = round((time.monotonic() - self._started) * 1000, 3)
        return replace(report, steps=tuple(self._steps), elapsed_ms=elapsed, tokens=self._tokens)


def _checked_verdict(event: dict[str, Any]) -> dict[str, Any]:
    if event["status"] not in {"succeeded", "failed", "skipped"}:
        raise ValueError("unknown status")
    if event["status"] == "failed":
        FailureCode(event["code"])
        if event["step"] is not None:
            _step_name(event["step"])
        if event["retry_after"] is not None:
            _number(event["retry_after"])
        _text(event["remedy"], REMEDY_LIMIT)
        _text(event["error_type"], _ERROR_TYPE_LIMIT)
    return event


def _step_name(value: Any) -> str:
    if not isinstance(value, str) or not STEP_NAME.fullmatch(value):
        raise ValueError("no step's name")
    return value


def _tokens(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no tokens")
    level: list[Any] = [value]
    for _ in range(_TOKENS_DEPTH):
        level = [inner for outer in level for inner in children_in(outer)]
    if level:  # who stores them must be able to write them out again
        raise ValueError("tokens nested too deeply")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no number")
    return float(value)


def _text(value: Any, limit: int) -> None:
    if value is not None and not (isinstance(value, str) and len(value) <= limit and value.isprintable()):
        raise ValueError("no text")
