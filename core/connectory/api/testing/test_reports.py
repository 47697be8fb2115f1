"""What is shown of a test that was recorded: as `last_test` of its connection, and in its history."""

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from connectory.api.http.answers import Answer
from connectory.api.testing.test_runs import Encrypted, FailureFields, RetryAfter, Step, Verified
from connectory.contract.check import FailureCode


class RecordedTest(Answer):
    """How a test went, and when."""

    at: Annotated[datetime, Field(examples=["2026-11-23T10:00:00.000000+00:00"])]
    test_status: Literal["succeeded", "failed"]
    failure_code: FailureCode | None
    failure_reason: str | None
    failure_fields: FailureFields
    retry_after: RetryAfter
    encrypted: Encrypted
    verified: Verified
    steps: list[Step]
    elapsed_ms: Annotated[
        float | None,
        Field(description="Of the whole test; `null` where it was recorded before this was kept.", examples=[12.5]),
    ]


def recorded_test(key: str, at: datetime, stored: str) -> dict[str, Any]:
    """The members of `RecordedTest`.

    Args:
        key: of the connection, which a reason may name.
        stored: the report as it was recorded. Earlier releases recorded less; of what can be told all the same, it is told.
    """
    report = orjson.loads(stored)
    code = report["code"]
    reason = report.get("reason") or (FailureCode(code).reason.replace("{key}", key) if code else None)
    return {
        "at": at,
        "test_status": report["status"],
        "failure_code": code,
        "failure_reason": reason,
        "failure_fields": report.get("failure_fields", []),
        "retry_after": report.get("retry_after"),
        "encrypted": report.get("encrypted"),
        "verified": report.get("verified"),
        "steps": [{"reason": None} | step for step in report["steps"]],
        "elapsed_ms": report.get("elapsed_ms"),
    }
