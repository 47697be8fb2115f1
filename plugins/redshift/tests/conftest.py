"""Redshift's login in front of a real PostgreSQL, and the connector's test run as the service runs it."""

import secrets as random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory.testing import Certificates, Workbench
from servers.redshift.server import RedshiftServer
from testkit.checking import Check, check_of


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report."""
    return check_of(workbench, "redshift", "connectory-redshift")


@pytest.fixture(scope="session")
def redshift(certificates: Certificates) -> Iterator[RedshiftServer]:
    """A server that takes Redshift's driver and offers TLS, with a certificate for localhost."""
    with RedshiftServer(certificate=certificates.server) as server:
        yield server


@pytest.fixture
def account(redshift: RedshiftServer, certificates: Certificates) -> Callable[..., dict[str, Any]]:
    """Make a new user of no special rights and return the secrets to log in with, TLS verified."""

    def make(password: str = "the password") -> dict[str, Any]:
        name = f"user_{random.token_hex(4)}"
        redshift.create_user(name, password)
        return {
            "host": "localhost",
            "port": redshift.port,
            "user": name,
            "password": password,
            "database": "postgres",
            "ssl_ca": certificates.ca_pem,
        }

    return make
