"""What is wrong with the answer of a test, and how a rule says so."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Iterable
from typing import Any

import pytest

from connectory.checks.report import CheckReport
from connectory.contract.check import FailureCode
from connectory.documents.validation import SecretsInvalid, parse_secrets
from connectory.testing.far_ends import FarEnd

OUR_FAULT = {FailureCode.INTERNAL_DRIVER_ERROR, FailureCode.CRASHED}
"""The codes that blame the connector."""

NOTE = "note"
"""The name of the properties of a test that hold what its report should say, though it passed: in JUnit's XML too."""


def expect_none(complaints: list[str]) -> None:
    """Fail with `complaints`, where there are some."""
    __tracebackhide__ = True
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


class ConformanceNote(UserWarning):
    """What a reader of a run's report should know, though the rule passed."""


def note(request: pytest.FixtureRequest, text: str) -> None:
    """Have the report of the run say `text`: among the warnings at its end, and in JUnit's XML.

    It is no warning that a filter could make an error of, or hide: pytest is told of it directly, and pytest-xdist passes it on.
    """
    node = request.node
    node.user_properties.append((NOTE, text))
    said = warnings.WarningMessage(ConformanceNote(text), ConformanceNote, str(node.path), 1, line="")
    told = {"warning_message": said, "when": "runtest", "nodeid": node.nodeid, "location": None}
    node.ihook.pytest_warning_recorded.call_historic(kwargs=told)


def failure_complaints(report: CheckReport, codes: Iterable[FailureCode]) -> list[str]:
    """What is wrong with `report` as the answer of a test that must have failed with one of `codes`."""
    if report.status != "failed":
        return [f"The test ended as {report.status}; it should have failed."]
    complaints = steps_reported_twice(report)
    expected = sorted(codes)
    if report.code not in expected:
        wanted = " or ".join(expected) if len(expected) <= 3 else "a code that says what the far end did"
        complaints.append(f"The test answered {ended_with(report)}; expected {wanted}.{raised(report)}")
    if not (report.reason or "").strip():
        complaints.append("The report has no reason.")
    if [step.status for step in report.steps].count("failed") != 1:
        complaints.append(
            f"Exactly one step must have failed; reported: {[(step.name, step.status) for step in report.steps]}."
        )
    return complaints


def steps_reported_twice(report: CheckReport) -> list[str]:
    """Whether a step occurs more than once in `report`."""
    names = [step.name for step in report.steps]
    return [f"The test reports a step twice: {names}"] if len(names) > len(set(names)) else []


def ended_with(report: CheckReport) -> str:
    """The code of `report`, and what the connector raised."""
    return f"{report.code} (the connector raised {report.error_type})" if report.error_type else str(report.code)


def raised(report: CheckReport) -> str:
    """Where in the plugin's code it went wrong, without its secrets. The service keeps that to itself; its author needs it."""
    unexpected = report.code is FailureCode.INTERNAL_DRIVER_ERROR and report.traceback is not None
    return f"\n{report.traceback}" if unexpected else ""


def expect_connection(far_end: FarEnd) -> None:
    """Fail where nothing came to `far_end`: then the test proved nothing."""
    assert far_end.connections, "The test connected to nothing; does secrets_for_server() use host and port?"


def with_traceback(message: str, problem: BaseException) -> str:
    """`message`, and where in the plugin's code it went wrong. The service keeps that to itself; its author needs it."""
    cause = problem.__cause__
    return message if cause is None else message + "\n\n" + "".join(traceback.format_exception(cause))


def problems_of(model: Any, payload: Any) -> list[Any]:
    """What the service would find wrong with `payload`."""
    try:
        parse_secrets(model, payload)
    except SecretsInvalid as refused:
        return list(refused.problems)
    return []


def short(value: Any) -> str:
    """`value` as text of a readable length."""
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:300]} … {text[-300:]}"
