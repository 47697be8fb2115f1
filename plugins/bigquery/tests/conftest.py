"""BigQuery's stand-in, and running the connector's test the way the service does: in a process of its own."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document
from servers.bigquery.server import BigQueryServer, ServiceAccount

Check = Callable[..., CheckReport]


@pytest.fixture(scope="session")
def bigquery() -> Iterator[BigQueryServer]:
    """A project with the dataset `app`. Tests make their own service accounts in it."""
    with BigQueryServer() as server:
        yield server


@pytest.fixture(scope="session")
def account(bigquery: BigQueryServer) -> ServiceAccount:
    """A service account that may do all that is needed."""
    return bigquery.create_account("reader")


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """The event loop of the runner that most tests share: it keeps a process with the driver imported."""
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="session")
def runner(loop: asyncio.Runner) -> Iterator[CheckRunner]:
    """The runner that most tests share, with the service's own deadline."""
    runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
    loop.run(runner.start())
    yield runner
    loop.run(runner.stop())


@pytest.fixture
def check(bigquery: BigQueryServer, account: ServiceAccount, runner: CheckRunner, loop: asyncio.Runner) -> Check:
    """Test a connection of the account's with these secrets, against `endpoint` and `token_uri` (default: the stand-in's).

    With a `deadline`, or where a test has changed the certificates to trust, it has a runner of its own.
    """

    def run(
        *, endpoint: str | None = None, token_uri: str | None = None, deadline: float | None = None, **secrets: Any
    ) -> CheckReport:
        environment = {
            "CONNECTORY_BIGQUERY_ENDPOINT": endpoint or bigquery.endpoint,
            "CONNECTORY_BIGQUERY_TOKEN_URI": token_uri or bigquery.token_uri,
        }
        connector = find_connector("bigquery", "connectory-bigquery", environment)
        document = secrets_document(connector.secrets_model, {"keyfile_creds": account.key_file()} | secrets)
        if deadline is None and "SSL_CERT_FILE" not in os.environ:
            return loop.run(runner.run("test", connector, lambda: document))

        async def once() -> CheckReport:
            own = CheckRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline or 10)
            await own.start()
            try:
                return await own.run("test", connector, lambda: document)
            finally:
                await own.stop()

        return asyncio.run(once())

    return run
