"""Snowflake's stand-in, and running the connector's test the way the service does: in a process of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectory.testing import CheckReport, Workbench
from servers.snowflake.server import SnowflakeServer
from testkit.checking import Check

CheckAll = Callable[[list[dict[str, Any]]], list[CheckReport]]

PASSWORD = "p@ss w/:rd"


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    """The key pair of the user ANN."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def snowflake(key: rsa.RSAPrivateKey) -> Iterator[SnowflakeServer]:
    """An account with the user ANN, who has a password and a key, and OWNER, who has the role of that name besides."""
    public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with SnowflakeServer() as server:
        server.create_user("ANN", PASSWORD, public_key=public_key)
        server.create_user("OWNER", PASSWORD, roles=("PUBLIC", "OWNER"))
        yield server


@pytest.fixture
def check_all(snowflake: SnowflakeServer, workbench: Workbench) -> CheckAll:
    """Test connections with each of these secrets, several at once, and return the reports."""
    settings = {"CONNECTORY_SNOWFLAKE_ENDPOINT": snowflake.url}

    def check_all(all_secrets: list[dict[str, Any]]) -> list[CheckReport]:
        outcomes = workbench.test_all("snowflake", "connectory-snowflake", all_secrets, settings=settings)
        return [outcome.report for outcome in outcomes]

    return check_all


@pytest.fixture
def check(snowflake: SnowflakeServer, workbench: Workbench) -> Check:
    """Test a connection of ANN's with these changes, against `endpoint` (default: the stand-in), and return the report."""

    def check(*, endpoint: str | None = None, deadline: float = 10, **changes: Any) -> CheckReport:
        secrets = {
            "account_identifier": snowflake.account,
            "user_login_name": "ann",
            "password": PASSWORD,
            "warehouse_name": "compute_wh",
        } | changes
        settings = {"CONNECTORY_SNOWFLAKE_ENDPOINT": endpoint or snowflake.url}
        return workbench.test("snowflake", "connectory-snowflake", secrets, settings=settings, deadline=deadline).report

    return check
