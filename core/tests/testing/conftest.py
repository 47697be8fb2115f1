"""The example connector and its tests, as they are and with defects, installed where no one else sees them."""

import logging
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from connectory.testing.rules import schema
from testkit.distribution import install

EXAMPLE = Path(__file__).parents[3] / "examples" / "connectory-ledger"


# The example as a module of functions, the other form that a plugin may have.
FUNCTIONS = """

from connectory import hookimpl


@hookimpl
def connectory_identifier():
    return "ledger"


@hookimpl
def connectory_type():
    return "database"


@hookimpl
def connectory_secret_schema():
    return LedgerSecrets


@hookimpl
def connectory_describe():
    return Ledger.description


@hookimpl
def connectory_test_connection(secrets, context):
    Ledger().test(secrets, context)
"""


class Verdicts(NamedTuple):
    """The names of the checks that ran, by how they ended; an error is a check that could not even begin."""

    passed: set[str]
    failed: set[str]
    errors: set[str]
    messages: str


class Kit:
    """Runs the example's conformance tests in a session of their own."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        self.module = (EXAMPLE / "connectory_ledger.py").read_text()
        self.tests = (EXAMPLE / "tests" / "test_ledger.py").read_text()
        self.golden = (EXAMPLE / "tests" / "secret_schema.json").read_text()
        self.project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]

    def write_as_functions(self) -> None:
        """Have the entry point name a module of functions, instead of the class."""
        self.module += FUNCTIONS
        self.project["entry-points"]["connectory.connectors"] = {"ledger": "connectory_ledger"}

    def change(self, old: str, new: str) -> None:
        """Change the plugin's source."""
        assert self.module.count(old) == 1, f"{self.module.count(old)} times in the plugin: {old}"
        self.module = self.module.replace(old, new)

    def change_tests(self, old: str, new: str) -> None:
        """Change the source of the plugin's tests."""
        assert old in self.tests
        self.tests = self.tests.replace(old, new)

    def run(self, *, only: str = "", update_golden: bool = True, examples: int = schema.EXAMPLES) -> Verdicts:
        """Install the plugin and run its tests; `only` as for `pytest -k`, `examples` are of what its schema accepts."""
        site = self._pytester.mkdir("site")
        install(
            site,
            self.project["name"],
            version=self.project["version"],
            entry_points=self.project["entry-points"]["connectory.connectors"],
            modules={"connectory_ledger": self.module},
            requires=self.project["dependencies"],
        )
        self._monkeypatch.syspath_prepend(site)
        # Each session imports what earlier ones imported anew: no plugins of others, which take a second.
        self._monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        self._monkeypatch.setattr(schema, "EXAMPLES", examples)
        self._monkeypatch.setenv("CONNECTORY_UPDATE_GOLDEN", "1" if update_golden else "0")
        self._pytester.path.joinpath("secret_schema.json").write_text(self.golden)
        path = self._pytester.makepyfile(test_ledger=self.tests)
        self._pytester.makeini("[pytest]\nfilterwarnings = error\n")
        recorder = self._pytester.inline_run(path, "-k", only, "-p", "no:cacheprovider", "-q")
        logging.disable(logging.NOTSET)  # one of the defects is a plugin that turns it off, in this process
        passed, skipped, failed = recorder.listoutcomes()
        assert not skipped
        return Verdicts(
            passed=_names(passed),
            failed=_names(report for report in failed if getattr(report, "when", "") == "call"),
            errors=_names(report for report in failed if getattr(report, "when", "") != "call"),
            messages="\n".join(report.longreprtext for report in failed),
        )


def _names(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> set[str]:
    return {report.nodeid.rpartition("::")[2].removeprefix("test_") for report in reports}


@pytest.fixture
def kit(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Kit:
    return Kit(pytester, monkeypatch)
