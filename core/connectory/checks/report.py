"""What a connection test found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from connectory.contract.check import FailureCode


@dataclass(frozen=True)
class StepReport:
    """One step of a test: its `name`, how it ended, and how long it took in milliseconds."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    elapsed_ms: float


@dataclass(frozen=True)
class CheckReport:
    """The verdict on a connection.

    Attributes:
        status: `succeeded`, `failed`, or `skipped` where there is nothing to connect to. In REST: `test_status`.
        code: why it failed, or `None`. In REST: `failure_code`, the code's value, such as `auth_failed`.
        reason: our sentence for the code, or the plugin's own remedy; `None` unless failed. In REST: `failure_reason`.
        steps: the steps taken, in order.
        elapsed_ms: the whole test, in milliseconds.
        retry_after: seconds the far end asked to wait, a whole number up to `WAIT_LIMIT`; `None` unless `code` is `rate_limited`
            and it said so. `reason` says it too.
        error_type: the class name of an unexpected exception, for the log.
        tokens: what the connector handed over to be sealed, however the test ended; `None` where it handed over nothing.
        traceback: of what the connector raised, without its secrets; `None` unless the runner was told to ask for it, which
            the service never does.
    """

    status: Literal["succeeded", "failed", "skipped"]
    code: FailureCode | None = None
    reason: str | None = None
    steps: tuple[StepReport, ...] = ()
    elapsed_ms: float = 0.0
    retry_after: int | None = None
    error_type: str | None = None
    tokens: Mapping[str, Any] | None = field(default=None, repr=False)
    traceback: str | None = field(default=None, repr=False)
