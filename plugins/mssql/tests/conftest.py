"""The servers and drivers of these tests, and running the connector's test the way the service does."""

from collections.abc import Iterator

import pytest

from connectory.testing import Certificates, Workbench
from servers.mssql import odbc
from servers.mssql.server import MSSQLServer
from testkit.checking import Check, check_of

PASSWORD = "pw1-of-the-reader"


@pytest.fixture(scope="session", autouse=True)
def odbc_settings() -> Iterator[None]:
    """Where unixODBC and FreeTDS are: unpacked, not installed."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in odbc.settings().items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def check(odbc_settings: None, workbench: Workbench) -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report. With FreeTDS."""
    return check_of(workbench, "mssql", "connectory-mssql")


@pytest.fixture(scope="session")
def mssql(certificates: Certificates) -> Iterator[MSSQLServer]:
    """A server that offers encryption. `reader` may enter the database `shop`, and not `vault`."""
    with MSSQLServer(certificate=certificates.server) as server:
        for database in ("shop", "vault"):
            server.create_database(database)
        server.create_user("reader", PASSWORD, databases=["shop"])
        yield server
