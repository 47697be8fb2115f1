"""The process that runs the conformance kit for `connectory check-plugin`.

It reads what to run from standard input, as JSON, and writes a line of JSON to standard output for what it finds: first the rules
that there are, then each as it ends. What pytest and the plugin print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import pytest

from connectory.checks.tracebacks import masked
from connectory.documents.validation import SecretsInvalid

_MODULE = "from connectory.authoring.conformance_cases import made\nglobals().update(made)\n"
"""What pytest collects; it takes tests from files only."""


def main() -> None:
    """Run it, and exit as pytest does."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = json.loads(sys.stdin.read())
    module = Path(job["folder"], "test_conformance.py")
    module.write_text(_MODULE, encoding="utf-8")
    # Nothing of the folder that the command was called in has a say. Arguments of functions, which tracebacks would show, may be
    # secrets.
    options = [
        "-q",
        "--tb=short",
        "--noconftest",
        "-c",
        os.devnull,
        "--rootdir",
        module.parent,
        "-p",
        "no:cacheprovider",
    ]
    sys.exit(pytest.main([*map(str, options), str(module)], plugins=[Listener(job, answers)]))


class Listener:
    """A plugin of pytest that makes the tests, and tells how each ends."""

    def __init__(self, job: dict[str, Any], answers: TextIO) -> None:
        self._job = job
        self._answers = answers
        self._hidden: list[str] = []

    def _tell(self, **said: Any) -> None:
        self._answers.write(json.dumps(said) + "\n")
        self._answers.flush()

    @pytest.hookimpl
    def pytest_configure(self) -> None:
        """Make the tests. Now, because pytest rewrites the asserts of what is imported from here on."""
        from connectory.authoring.conformance_cases import make

        try:
            self._hidden = make(self._job)
        except SecretsInvalid as refused:
            self._tell(problems=refused.problems)
            raise pytest.UsageError("the secrets do not fit") from None

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell all rules."""
        self._tell(rules=[_rule(item) for item in session.items])

    @pytest.hookimpl
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Leave out the rules that cannot hold."""
        reason = self._job["exceptions"].get(getattr(item, "originalname", None))
        if reason is not None:
            pytest.skip(f"Left out: {reason}")

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell how a rule ended."""
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            self._tell_end(report, "not_run", report.longrepr[2].removeprefix("Skipped: "))
        elif report.outcome == "failed":
            said = masked(_message(report), self._hidden)
            if report.when == "setup":  # what the rule needs is not there; the rule about that says more
                self._tell_end(report, "not_run", said.partition("\n")[0])
            else:
                self._tell_end(report, "failed", said)
        elif report.when == "call":
            self._tell_end(report, "passed", None)

    def _tell_end(self, report: pytest.TestReport, status: str, said: str | None) -> None:
        notes = [str(value) for name, value in report.user_properties if name == "note"]
        self._tell(id=report.nodeid, status=status, said=said, notes=notes)


def _rule(item: pytest.Item) -> dict[str, str | None]:
    from connectory.testing.rules.rule import rule_of

    rule = rule_of(getattr(item, "function", None))
    assert rule is not None
    connector = getattr(getattr(item, "cls", None), "identifier", "")
    said = {"connector": connector, "rule": rule.name, "why": rule.why, "fix": rule.fix, "needs": rule.needs}
    return {"id": item.nodeid} | said


def _message(report: pytest.TestReport) -> str:
    """What a rule says is wrong; of an error that it did not expect, the traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    for kind in ("AssertionError: ", "Failed: "):
        if crash is not None and crash.message.startswith(kind):
            return str(crash.message.removeprefix(kind))
    return report.longreprtext


if __name__ == "__main__":
    main()
