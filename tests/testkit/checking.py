"""Test connections of one connector: what the plugins' tests share.

@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    return check_of(workbench, "mysql", "connectory-mysql")

report = check(host=..., password=..., deadline=2)
"""

from collections.abc import Callable, Mapping
from typing import Any

from connectory import FailureCode
from connectory.testing import CheckReport, Workbench, load_connector, step_statuses

Check = Callable[..., CheckReport]


def check_of(
    workbench: Workbench, identifier: str, distribution: str, settings: Mapping[str, str] | None = None
) -> Check:
    """A function that tests a connection with these secrets, within `deadline` seconds (10), and returns the report."""
    connector = load_connector(identifier, distribution, settings)

    def check(*, deadline: float = 10, **secrets: Any) -> CheckReport:
        return workbench.test_loaded(connector, secrets, deadline=deadline).report

    return check


def protection(report: CheckReport) -> tuple[str, bool | None, bool | None]:
    """How the step `tls` ended, whether the connection is encrypted, and whether the server's certificate was verified."""
    return step_statuses(report)["tls"], report.encrypted, report.verified


def outcome(report: CheckReport) -> tuple[str, FailureCode | None, str]:
    """How a test ended: its status, its code, and the step that failed (where none did, no text)."""
    failed = [step.name for step in report.steps if step.status == "failed"]
    return report.status, report.code, *(failed or [""])
