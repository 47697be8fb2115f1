"""What an exception means: by the connector's own table for a step, else by what every test knows."""

from __future__ import annotations

import errno
import ssl

from connectory.checks.addresses import AddressDenied
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode, Failures

STANDARD: Failures = {
    MemoryError: FailureCode.RESOURCE_LIMIT,
    ssl.SSLCertVerificationError: FailureCode.TLS_UNTRUSTED,
    ssl.SSLError: FailureCode.TLS_FAILED,
    ConnectionRefusedError: FailureCode.CONNECT_REFUSED,
    ConnectionError: FailureCode.PROTOCOL_MISMATCH,
    EOFError: FailureCode.PROTOCOL_MISMATCH,
}
"""What every test knows, `connectory.contract.check.Failures` states it. Time-outs depend on the step: see `timeout_code`."""

OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What this process or machine has run out of: no far end said anything."""

_TIMEOUTS = {"resolve": FailureCode.DNS_TIMEOUT, "connect": FailureCode.CONNECT_TIMEOUT}


def timeout_code(step: str | None) -> FailureCode:
    """What running out of time in `step`, or in none, is called."""
    return _TIMEOUTS.get(step or "", FailureCode.TIMEOUT)


def translated(error: BaseException, failures: Failures) -> CheckFailed | None:
    """What a connector's table says of `error`, which its driver raised; `None` where it says nothing.

    Verdicts, a denied address and exhaustion are none of the driver's failures: no table says what they mean.
    """
    if isinstance(error, CheckFailed | CheckSkipped | AddressDenied | MemoryError):
        return None
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        return None
    found = meaning(error, failures)
    if isinstance(
        found, CheckFailed
    ):  # one for the whole table: it must not be raised itself, and gather what was raised before
        return CheckFailed(found.code, step=found.step, remedy=found.remedy, retry_after=found.retry_after)
    return None if found is None else CheckFailed(found)


def meaning(error: BaseException, failures: Failures) -> FailureCode | CheckFailed | None:
    """The entry of the nearest class in the ancestry of `error`; `None` where none has an entry."""
    return next((failures[ancestor] for ancestor in type(error).__mro__ if ancestor in failures), None)
