"""MySQL 8's login in front of a real MariaDB, and the connector's test run as the service runs it."""

import secrets as random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory.testing import Certificates, Workbench
from servers.mariadb.server import MariaDBServer
from servers.mysql.server import MySQL8Front
from testkit.checking import Check, check_of


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
    """Test a connection with these secrets, within `deadline` seconds, and return the report."""
    return check_of(workbench, "mysql", "connectory-mysql")


@pytest.fixture(scope="session")
def mysql(mariadb: MariaDBServer, certificates: Certificates) -> Iterator[MySQL8Front]:
    """A MySQL 8 that offers TLS, with an empty database `app`."""
    with MySQL8Front(mariadb, certificate=certificates.server) as front:
        front.create_database("app")
        yield front


@pytest.fixture(scope="session")
def mysql_without_tls(mysql: MySQL8Front, mariadb: MariaDBServer) -> Iterator[MySQL8Front]:
    """A MySQL 8 that offers no TLS."""
    with MySQL8Front(mariadb) as front:
        yield front


@pytest.fixture(scope="session")
def mysql_with_tls_only(
    mysql: MySQL8Front, mariadb: MariaDBServer, certificates: Certificates
) -> Iterator[MySQL8Front]:
    """A MySQL 8 that refuses logins without TLS."""
    with MySQL8Front(mariadb, certificate=certificates.server, require_tls=True) as front:
        yield front


@pytest.fixture
def account(certificates: Certificates) -> Callable[..., dict[str, Any]]:
    """Make a new user of a server, by default one who may use `app`, and return the secrets to log in with.

    They verify the server's certificate: the first login of a user sends the password through TLS.
    """

    def make(server: MySQL8Front, password: str = "the password", *, database: str | None = "app") -> dict[str, Any]:
        name = f"user_{random.token_hex(4)}"
        server.create_user(name, password, database=database)
        return {
            "host": server.host,
            "port": server.port,
            "username": name,
            "dbname": "app",
            "ssl_mode": "verify-ca",
            "ssl_ca": certificates.ca_pem,
        } | ({"password": password} if password else {})

    return make
