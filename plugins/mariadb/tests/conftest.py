"""A real MariaDB, and the connector's test run as the service runs it."""

import secrets as random
from collections.abc import Callable
from typing import Any

import pytest

from connectory.testing import Workbench
from servers.mariadb.server import MariaDBServer
from testkit.checking import Check, check_of


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report."""
    return check_of(workbench, "mariadb", "connectory-mariadb")


@pytest.fixture(scope="session")
def database(mariadb: MariaDBServer) -> str:
    """An empty database."""
    name = f"ledger_{random.token_hex(4)}"
    mariadb.create_database(name)
    return name


@pytest.fixture
def account(mariadb: MariaDBServer, database: str) -> Callable[..., dict[str, Any]]:
    """Make a new user, by default one who may use `database`, and return the secrets to log in with."""

    def make(password: str = "the password", *, granted: bool = True) -> dict[str, Any]:
        name = f"user_{random.token_hex(4)}"
        mariadb.create_user(name, password, database=database if granted else None)
        return {
            "host": mariadb.host,
            "port": mariadb.port,
            "username": name,
            "dbname": database,
        } | ({"password": password} if password else {})

    return make
