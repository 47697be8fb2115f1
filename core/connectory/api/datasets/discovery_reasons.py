"""Why a discovery failed, in a sentence for whoever asked for it."""

from __future__ import annotations

from collections.abc import Mapping

from connectory.contract.check import FailureCode
from connectory.contract.session import DataFailure

_REASONS: Mapping[str, str] = {
    FailureCode.TIMEOUT: "The discovery was not done in time; ask for fewer schemas, or have the operator of this service raise "
    "CONNECTORY_DISCOVERY_DEADLINE.",
    FailureCode.RESOURCE_LIMIT: "There is more than a discovery takes; ask for fewer schemas.",
    FailureCode.CRASHED: "The driver crashed during the discovery; the service itself is not affected.",
    FailureCode.QUERY_FAILED: "The login was accepted, but the server failed to say what there is.",
    DataFailure.UNSUPPORTED: "This connector cannot say what a connection holds; write the dataset by hand.",
    DataFailure.LOCK_TIMEOUT: "Others held what was needed for too long; try again later.",
    DataFailure.SERIALIZATION: "It collided with what others did at the same time; try again.",
}
_OTHER_REASON = "The server did not say what there is; its own log may tell why."


def reason_of(code: FailureCode | DataFailure) -> str:
    """What a failure during a session means for a discovery, and what to do about it."""
    return _REASONS.get(code) or (code.reason if isinstance(code, FailureCode) else _OTHER_REASON)
