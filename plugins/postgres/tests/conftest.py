"""Running the connector's test the way the service does: in a process of its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from connectory.catalog.catalog import find_connector
from connectory.contract.secrets import secrets_document
from connectory.probe.egress import EgressPolicy
from connectory.probe.report import CheckReport
from connectory.probe.runner import ProbeRunner

Check = Callable[..., CheckReport]


@pytest.fixture(scope="session")
def check() -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report."""
    connector = find_connector("postgres", "connectory-postgres")

    def run(*, deadline: float = 10, **secrets: Any) -> CheckReport:
        document = secrets_document(connector.secrets_model, secrets)

        async def once() -> CheckReport:
            runner = ProbeRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline)
            await runner.start()
            try:
                return await runner.run("test", connector, lambda: document)
            finally:
                await runner.stop()

        return asyncio.run(once())

    return run
