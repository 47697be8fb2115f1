"""What a connection test found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from connectory.contract.check import FailureCode

SkipReason: TypeAlias = Literal["not_requested", "not_offered"]
_NOT_OF_THE_CONNECTION = frozenset(
    {FailureCode.CONNECTOR_UNAVAILABLE, FailureCode.DRIVER_MISSING, FailureCode.SECRETS_UNREADABLE}
)


@dataclass(frozen=True)
class StepReport:
    """One step of a test: its `name`, how it ended, and how long it took in milliseconds.

    Attributes:
        reason: why it was skipped: `not_requested` where the connection's settings do not ask for it, `not_offered` where the far
            end was asked and has none. `None` unless skipped.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    elapsed_ms: float
    reason: SkipReason | None = None


@dataclass(frozen=True)
class CheckReport:
    """The verdict on a connection.

    Attributes:
        status: `succeeded`, `failed`, or `skipped` where there is nothing to connect to. In REST: `test_status`.
        code: why it failed, or `None`. In REST: `failure_code`, the code's value, such as `auth_failed`.
        reason: our sentence for the code, or the plugin's own remedy; `None` unless failed. In REST: `failure_reason`.
        failure_fields: names of the fields that `code` is about, of those that were given or have to be; empty unless failed, and
            where the code is about no field.
        steps: the steps taken, in order.
        elapsed_ms: the whole test, in milliseconds.
        encrypted: whether all connections to the far end were encrypted; `None` where the test did not get so far, or the
            connector does not say.
        verified: whether they were all encrypted, and the certificates verified: signed by a trusted CA, and with `verify-full`,
            as always with https, for the host's name. `None` where `encrypted` is.
        retry_after: seconds the far end asked to wait, a whole number up to `WAIT_LIMIT`; `None` unless `code` is `rate_limited`
            and it said so. `reason` says it too.
        error_type: the class name of an unexpected exception, for the log.
        service_failed: it was the service that failed, whatever the code: what tests are forked from was lost, or no turn came.
        tokens: what the connector handed over to be sealed, however the test ended; `None` where it handed over nothing.
        traceback: of what the connector raised, without its secrets; `None` unless the runner was told to ask for it, which
            the service never does.
        access_report: what the account may do, where that was asked for (see `connectory.discovery.access`); `None` elsewhere.
    """

    status: Literal["succeeded", "failed", "skipped"]
    code: FailureCode | None = None
    reason: str | None = None
    failure_fields: tuple[str, ...] = ()
    steps: tuple[StepReport, ...] = ()
    elapsed_ms: float = 0.0
    encrypted: bool | None = None
    verified: bool | None = None
    retry_after: int | None = None
    error_type: str | None = None
    service_failed: bool = False
    tokens: Mapping[str, Any] | None = field(default=None, repr=False)
    traceback: str | None = field(default=None, repr=False)
    access_report: Mapping[str, Any] | None = None

    @property
    def conclusive(self) -> bool:
        """Whether it says something about the connection, and may be kept as its last test.

        A connector, a driver or a key that one node lacks must not turn a connection red that works on the others.
        """
        return self.status != "skipped" and not self.service_failed and self.code not in _NOT_OF_THE_CONNECTION
