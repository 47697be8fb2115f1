"""BigQuery's stand-in, and running the connector's test the way the service does: in a process of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from connectory.testing import CheckReport, Workbench
from servers.bigquery.server import BigQueryServer, ServiceAccount
from testkit.checking import Check


@pytest.fixture(scope="session")
def bigquery() -> Iterator[BigQueryServer]:
    """A project with the dataset `app`. Tests make their own service accounts in it."""
    with BigQueryServer() as server:
        yield server


@pytest.fixture(scope="session")
def account(bigquery: BigQueryServer) -> ServiceAccount:
    """A service account that may do all that is needed."""
    return bigquery.create_account("reader")


@pytest.fixture
def check(bigquery: BigQueryServer, account: ServiceAccount, workbench: Workbench) -> Check:
    """Test a connection of the account's with these secrets, against `endpoint` and `token_uri` (default: the stand-in's)."""

    def check(
        *, endpoint: str | None = None, token_uri: str | None = None, deadline: float = 10, **secrets: Any
    ) -> CheckReport:
        settings = {
            "CONNECTORY_BIGQUERY_ENDPOINT": endpoint or bigquery.endpoint,
            "CONNECTORY_BIGQUERY_TOKEN_URI": token_uri or bigquery.token_uri,
        }
        payload = {"keyfile_creds": account.key_file()} | secrets
        return workbench.test("bigquery", "connectory-bigquery", payload, settings=settings, deadline=deadline).report

    return check
