"""What the process of a test has reported, checked: the driver in it may be under a hostile server's control."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from connectory.checks.failures import timeout_code
from connectory.checks.progress import StepRuns
from connectory.checks.protocol import (
    RESULT_LIMIT,
    STEP_LIMIT,
    Denied,
    Event,
    Raised,
    StepBegan,
    StepEnded,
    StepSkipped,
    TlsAgreed,
    TokensStored,
    Verdict,
    decode_event,
)
from connectory.checks.report import CheckReport, StepReport
from connectory.checks.wire import ProtocolViolation
from connectory.contract.check import FailureCode


class Transcript:
    """Takes in what a test's process writes, and makes the report of it.

    Args:
        sentences: the connector's own for failure codes. Default: none.
        on_step: is told of each step when it begins, and how it ended; once more where the verdict blames one that had passed.
    """

    def __init__(
        self,
        sentences: Mapping[FailureCode, str] | None = None,
        on_step: Callable[[StepRuns | StepReport], None] = lambda _: None,
    ) -> None:
        self._sentences = sentences or {}
        self._on_step = on_step
        self._begun = 0
        self._told = 0
        self._started = time.monotonic()
        self._size = 0
        self._rest = b""
        self._steps: list[StepReport] = []
        self._open: StepBegan | None = None
        self._encrypted: bool | None = None
        self._verified: bool | None = None
        self._denied = False
        self._tokens: Mapping[str, Any] | None = None
        self._traceback: str | None = None
        self._verdict: Verdict | None = None
        self._broken = False

    @property
    def complete(self) -> bool:
        """Whether nothing more need be read: the verdict is there, or what is there is not what a child writes."""
        return self._verdict is not None or self._broken

    @property
    def tokens(self) -> Mapping[str, Any] | None:
        """What the connector has handed over so far."""
        return self._tokens

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if self._size > RESULT_LIMIT:
                raise ProtocolViolation(f"a report has {RESULT_LIMIT} bytes")
            for line in lines:
                if not self.complete:
                    self._take(decode_event(line))
        except ProtocolViolation:
            self._broken = True

    def _take(self, event: Event) -> None:
        match event:
            case StepBegan():
                self._open = event
                self._begun += 1
            case StepEnded(status, at):
                self._end_step(status, at)
            case StepSkipped(name):
                self._skip_step(name)
            case TlsAgreed(verified):
                self._add_link(True, verified)
            case Denied():
                self._denied = True
            case TokensStored(tokens):
                self._tokens = tokens
            case Raised(traceback):
                self._traceback = traceback
            case Verdict():
                self._verdict = event
        if max(self._begun, len(self._steps)) > STEP_LIMIT:
            raise ProtocolViolation(f"a test may report {STEP_LIMIT} steps")
        self._tell_steps()
        if isinstance(event, StepBegan):
            self._on_step(StepRuns(event.name))

    def _tell_steps(self) -> None:
        untold, self._told = self._steps[self._told :], len(self._steps)
        for step in untold:
            self._on_step(step)

    def _end_step(self, status: Literal["passed", "failed"], at: float) -> None:
        if self._open is not None:
            elapsed = round(max(0.0, at - self._open.at) * 1000, 3)
            self._steps.append(StepReport(self._open.name, status, elapsed))
            self._open = None

    def _skip_step(self, name: str) -> None:
        asked = self._open is not None and self._open.name == name
        if asked:
            self._open = None
        self._steps.append(StepReport(name, "skipped", 0.0, "not_offered" if asked else "not_requested"))
        if name == "tls":
            self._add_link(False, False)

    def _add_link(self, encrypted: bool, verified: bool) -> None:
        """Take in how a connection is protected: of several, the report shows the weakest."""
        self._encrypted = encrypted and self._encrypted is not False
        self._verified = verified and self._verified is not False

    def report(self) -> CheckReport | None:
        """The report that the verdict makes; `None` where there is none."""
        verdict = self._verdict
        if verdict is None or self._broken:
            return None
        if verdict.code is None:
            self._end_step("passed", time.monotonic())
            return self._report(CheckReport(verdict.status))
        self._blame(verdict.step)
        return self._report(
            CheckReport(
                "failed",
                verdict.code,
                self._reason(verdict.code, verdict.remedy, verdict.retry_after),
                retry_after=verdict.retry_after,
                error_type=verdict.error_type,
            )
        )

    def report_killed(self) -> CheckReport:
        """The report of a test that was killed at its deadline."""
        code = timeout_code(self._open.name if self._open else None)
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
        return self._report(CheckReport("failed", code, self._reason(code, reason, None)))

    def _blame(self, name: str | None) -> None:
        """Mark the step called `name` as failed; without a name the one that is open, else the last one taken."""
        blames_another = name is not None and self._open is not None and self._open.name != name
        self._end_step("passed" if blames_another else "failed", time.monotonic())
        if name is None:
            candidates = [index for index, step in enumerate(self._steps) if step.status != "skipped"]
        else:
            candidates = [index for index, step in enumerate(self._steps) if step.name == name]
            if not candidates:
                self._steps.append(StepReport(name, "failed", 0.0))
        if candidates and self._steps[candidates[-1]].status != "failed":
            blamed = replace(self._steps[candidates[-1]], status="failed")
            self._steps[candidates[-1]] = blamed
            if candidates[-1] < self._told:
                self._on_step(blamed)

    def _reason(self, code: FailureCode, remedy: str | None, wait: int | None) -> str:
        """What a person reads: the plugin's own sentence, else ours; with the wait, where the far end asks for one."""
        own = remedy or self._sentences.get(code)
        if wait is None:
            return own or code.reason
        again = f"ry again in {wait} second{'' if wait == 1 else 's'}."
        return f"{own} T{again}" if own else f"The service refuses further requests for now; t{again}"

    def _report(self, report: CheckReport) -> CheckReport:
        self._tell_steps()
        elapsed = round((time.monotonic() - self._started) * 1000, 3)
        return replace(
            report,
            steps=tuple(self._steps),
            elapsed_ms=elapsed,
            encrypted=self._encrypted,
            verified=self._verified,
            tokens=self._tokens,
            traceback=self._traceback,
        )
