"""Databases for the tests of core: each test that asks for `store` runs once on SQLite and once on PostgreSQL."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from connectory.store.engine import Store, open_store
from connectory.store.schema import upgrade
from servers.postgres.server import PostgresServer
from testkit.database_secrets import DatabaseSecrets


def url_of(server: PostgresServer, database: str) -> str:
    return f"postgresql://{server.superuser}:{server.password}@{server.host}:{server.port}/{database}"


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """The name of an upgraded, empty database to copy, on the server that all tests of this process share."""
    postgres.create_database("connectory_template")
    with open_store(url_of(postgres, "connectory_template")) as store:
        upgrade(store)
    return "connectory_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded, empty database file to copy."""
    path = tmp_path_factory.mktemp("template") / "connectory.db"
    with open_store(f"sqlite:///{path}") as store:
        upgrade(store)
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """The URL of an upgraded, empty SQLite database."""
    shutil.copy(sqlite_template, tmp_path / "connectory.db")
    return f"sqlite:///{tmp_path / 'connectory.db'}"


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of an upgraded, empty PostgreSQL database."""
    name = f"test_{uuid4().hex}"
    postgres.copy_database(postgres_template, name)
    yield url_of(postgres, name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def blank_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database without tables."""
    name = f"blank_{uuid4().hex}"
    postgres.create_database(name)
    yield url_of(postgres, name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables; the test runs once with each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'blank.db'}"
    return request.getfixturevalue("blank_postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an upgraded, empty database; the test runs once with each kind."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An upgraded, empty database, open; the test runs once with each kind."""
    with open_store(store_url) as opened:
        yield opened


@pytest.fixture
def now() -> datetime:
    """A time with microseconds, so that a database that drops them is found out."""
    return datetime(2026, 11, 23, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(scope="session")
def database() -> type[DatabaseSecrets]:
    """Secrets like those of a database, with every kind of field and a url."""
    return DatabaseSecrets
