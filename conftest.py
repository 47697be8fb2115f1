"""The servers that many tests share, started once per test process.

With pytest-xdist every worker is such a process: PostgreSQL starts in about a second, less than it would take to
share one. A server that cannot be had is an error of the test that asked for it, never a skip.
"""

import gc
import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from connectory.testing import Workbench
from connectory.testing.certificates import Certificates, make_certificates
from servers.mariadb.server import MariaDBServer
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit.authorities import read_authorities_once
from testkit.cache import cache_folder
from testkit.logging_state import logging_unchanged

settings.register_profile("patient", parent=settings(), deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

read_authorities_once()

# What mypy found out of pydantic and others in one environment holds in all: it compares what files hold.
os.environ["MYPY_CACHE_DIR"] = str(cache_folder() / "mypy")


SLOWEST = (
    "test_new_plugin.py",
    "test_schemathesis.py",
    "test_wheels.py",
    "test_strangers.py",
    "test_hostile_far_ends.py",
    "test_conformance.py",
)
"""Files that take a minute or more. They come first, so that at the end of the run no worker has one alone before it."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while thousands of tests are collected, which would take as long again, nor among them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first."""
    items.sort(key=lambda item: item.path.name not in SLOWEST)


@pytest.fixture(autouse=True)
def _logging_unchanged() -> Iterator[None]:
    """Fails the test that leaves logging changed."""
    with logging_unchanged():
        yield


@pytest.fixture(scope="session")
def workbench() -> Iterator[Workbench]:
    """Tests connections as the service does. Its processes keep the connectors and their drivers imported."""
    with Workbench() as workbench:
        yield workbench


@pytest.fixture(scope="session")
def lenient_workbench() -> Iterator[Workbench]:
    """As `workbench`, for a deployer who allows passwords in clear through TLS whose certificate was not verified."""
    with Workbench(cleartext_unverified=True) as workbench:
        yield workbench


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL with SCRAM authentication and no TLS. Tests make their own databases and roles in it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A throw-away authority with certificates for loopback, and one that nobody should trust."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trusting_machine(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts from now on trust the authority as the machine's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))


@pytest.fixture(scope="session")
def postgres_tls(postgres: PostgresServer, certificates: Certificates) -> Iterator[PostgresTlsFront]:
    """The same PostgreSQL behind TLS, which it requires; same roles and passwords, another port."""
    with PostgresTlsFront(postgres, certificates.server, mode="required") as front:
        yield front


@pytest.fixture(scope="session")
def mariadb(certificates: Certificates) -> Iterator[MariaDBServer]:
    """A real MariaDB that offers TLS and takes plain connections too. Tests make their own databases and users in it."""
    with MariaDBServer(certificate=certificates.server) as server:
        yield server
