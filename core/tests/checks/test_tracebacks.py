"""The traceback of a connector's test: told to its author, who asks for it, without secrets; and to nobody else."""

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.protocol import TRACEBACK_LIMIT, Raised
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.checks.tracebacks import traceback_of
from connectory.checks.wire import ProtocolViolation
from connectory.documents.sensitivity import MASK

SECRET = "open-sesame-'4711"
Run = Callable[..., CheckReport]


@pytest.fixture(scope="module")
def run(connector_of) -> Iterator[Run]:
    """Run a test that does `body`, and have its traceback told."""
    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), tracebacks=True)
        loop.run(runner.start())
        yield lambda body, **made: loop.run(runner.run(object(), connector_of(body, **made), lambda: {"token": SECRET}))
        loop.run(runner.stop())


def test_it_begins_in_the_connector_and_masks_secrets(run: Run):
    body = """
        with context.step("query"):
            token = secrets.token.get_secret_value()
            raise ValueError(f"{token} {token!r}")
    """
    report = run(body)
    lines = report.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "connectory_test_connection" in lines[1]
    assert lines[-1] == f'ValueError: {MASK} "{MASK}"'
    assert "4711" not in report.traceback
    assert report.traceback not in repr(report)
    assert report.code == "internal_driver_error"


def test_what_led_to_a_verdict_is_told(run: Run):
    body = """
        with context.step("authenticate", {KeyError: CheckFailed(FailureCode.AUTH_FAILED)}):
            {}["denied by the driver"]
    """
    report = run(body, top="from connectory import CheckFailed, FailureCode")
    assert report.code == "auth_failed"
    assert "KeyError: 'denied by the driver'" in report.traceback


def test_a_driver_that_is_missing_is_told(run: Run):
    report = run(drivers={"made_up_driver": None}, body="pass")
    assert report.code == "driver_missing"
    assert "ModuleNotFoundError: No module named 'made_up_driver'" in report.traceback


def test_nothing_is_told_where_nothing_was_raised(run: Run):
    assert run("pass").traceback is None


def test_nothing_is_told_to_who_does_not_ask(check):
    report = check("raise ValueError('words of a driver')")
    assert (report.error_type, report.traceback) == ("ValueError", None)


@pytest.mark.parametrize("letter", ["x", "\n", "\U0001f600"])
def test_a_long_one_is_told_from_its_end(letter: str):
    text = traceback_of(ValueError(letter * TRACEBACK_LIMIT + "the end"), [])
    assert TRACEBACK_LIMIT / 2 < len(json.dumps(Raised(text).traceback)) <= TRACEBACK_LIMIT
    assert text.endswith("the end\n")
    with pytest.raises(ProtocolViolation):
        Raised(text + letter * TRACEBACK_LIMIT)
