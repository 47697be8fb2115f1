"""Test connections as the service does, in a process of their own: what the plugins' tests share.

@pytest.fixture(scope="session")
def check() -> Iterator[Check]:
    with checks("mysql", "connectory-mysql") as check:
        yield check

report = check(host=..., password=..., deadline=2)
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document

Check = Callable[..., CheckReport]


@contextmanager
def checks(identifier: str, distribution: str) -> Iterator[Check]:
    """A function that tests a connection with these secrets, within `deadline` seconds (10), and returns the report.

    The runner that it needs for each deadline is started once. SecretsInvalid is raised as it is.
    """
    connector = find_connector(identifier, distribution)
    with asyncio.Runner() as loop, ExitStack() as started:

        @cache
        def runner(deadline: float) -> CheckRunner:
            new = CheckRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline)
            loop.run(new.start())
            started.callback(lambda: loop.run(new.stop()))
            return new

        def check(*, deadline: float = 10, **secrets: Any) -> CheckReport:
            document = secrets_document(connector.secrets_model, secrets)
            flight = object()  # never joins another test
            report = loop.run(runner(deadline).run(flight, connector, lambda: document))
            print(report)  # pytest shows it where a test fails
            return report

        yield check
