"""The API in this process, over both databases, with the real plugins and a few made for these tests."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from connectory.api.app import create_app, open_service
from connectory.api.node.service import Service
from connectory.catalog.catalog import Catalog, build_catalog
from connectory.scopes import SCOPES
from connectory.settings import Settings
from connectory.store.clients import create_client, issue_token
from connectory.store.engine import open_store
from connectory.store.schema import upgrade
from connectory.store.tables import connections, datasets
from connectory.store.timestamps import utc_now
from connectory.vault import generate_keyring
from servers.postgres.server import PostgresServer
from testkit.distribution import install, plugin_source
from testkit.in_process import LocalClient

LEDGER = plugin_source(
    "api_ledger",
    hooks={
        "connectory_test_connection": """
@hookimpl
def connectory_test_connection(secrets, context):
    with context.step("authenticate"):
        token = secrets.token.get_secret_value()
        if token.startswith("wrong"):
            raise CheckFailed(FailureCode.AUTH_FAILED)
        if token.startswith("limited"):
            raise CheckFailed(FailureCode.RATE_LIMITED, retry_after=89.5)
        if token.startswith("crash"):
            import os, signal
            os.kill(os.getpid(), signal.SIGSEGV)
        if token.startswith("raise"):
            raise RuntimeError(token)
""",
        "connectory_open_session": """
@hookimpl
def connectory_open_session(secrets, context):
    from connectory.data import CollectionInfo, CollectionRef, DataFailure, DataSession, FieldInfo, Kind, SessionFailed
    token = secrets.token.get_secret_value()
    with context.step("authenticate"):
        if token.startswith("wrong"):
            raise CheckFailed(FailureCode.AUTH_FAILED)

    class Books(DataSession):
        def discover(self, namespace=None, sample=1000):
            if token.startswith("hang"):
                import time
                time.sleep(60)
            if token.startswith("raise"):
                raise RuntimeError(token)
            if token.startswith("locked"):
                raise SessionFailed(DataFailure.LOCK_TIMEOUT)
            for name in ("2025", "2026"):
                fields = (FieldInfo(("email",), Kind.STRING, "text"),)
                yield CollectionInfo(CollectionRef(name, namespace or {}), fields, kind="book", rows=sample)

        def close(self):
            pass

    return Books()
""",
    },
)


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """Every installed plugin, and `api_ledger`, whose test and whose session do what its token says."""
    folder = tmp_path_factory.mktemp("plugins")
    install(
        folder,
        "acme-api-ledger",
        entry_points={"api_ledger": "ledger_for_api_tests"},
        modules={"ledger_for_api_tests": LEDGER},
    )
    sys.path.insert(0, str(folder))
    yield build_catalog(environment={})
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def applications(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], TestClient]]:
    """The client of the application over SQLite or PostgreSQL, made when it is first asked for.

    A fixture that is made for one parameter ends when a test wants the other: twice in every file of tests.
    """
    with ExitStack() as running:

        @cache
        def client_of(kind: str) -> TestClient:
            folder = tmp_path_factory.mktemp(kind)
            url = f"sqlite:///{folder / 'shared.db'}" if kind == "sqlite" else _new_database(request)
            with open_store(url) as store:
                upgrade(store)
            service = open_service(_settings(url, folder), catalog)
            return running.enter_context(LocalClient(create_app(service), raise_server_exceptions=False))

        yield client_of


def _new_database(request: pytest.FixtureRequest) -> str:
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"api_{uuid4().hex}"
    server.create_database(name)
    return f"postgresql://{server.superuser}:{server.password}@{server.host}:{server.port}/{name}"


def _settings(database_url: str, folder: Path) -> Settings:
    generate_keyring(folder / "keys.json")
    return Settings(
        home=folder,
        database_url=database_url,
        keys_file=folder / "keys.json",
        probe_deadline=5,
        egress_allow_loopback=True,
        allowed_hosts=("connectory.example",),  # where tests of consents have their browser
    )


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def anonymous(request: pytest.FixtureRequest, applications: Callable[[str], TestClient]) -> TestClient:
    """A client of the running application that sends no token; everything that asks for it runs once with each database."""
    return applications(request.param)


@pytest.fixture(scope="session")
def service(anonymous: TestClient) -> Service:
    """The parts of the application that `client` talks to."""
    return anonymous.app.state.service


@pytest.fixture(scope="session")
def settings(service: Service) -> Settings:
    """Those of the application, with a key file."""
    return service.settings


@pytest.fixture(scope="session")
def database_url(settings: Settings) -> str:
    """The URL of its database."""
    return settings.database_url


@pytest.fixture(scope="session")
def token_for(service: Service) -> Callable[..., str]:
    """Make a token of a new client with the scopes given, or with every scope."""

    def make(*scopes: str) -> str:
        with service.store.write() as database:
            client, _ = create_client(database, name="test", scopes=scopes or SCOPES, now=utc_now())
            lifetime = timedelta(hours=1)
            return issue_token(database, client.id, scopes=client.scopes, lifetime=lifetime, now=utc_now())[0]

    return make


@pytest.fixture(scope="session")
def token(token_for: Callable[..., str]) -> str:
    """A token with every scope."""
    return token_for()


class Api:
    """Requests under /api/v1 with a token."""

    def __init__(self, client: TestClient, token: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        headers = self.headers | options.pop("headers", {})
        return self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self("GET", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        return self("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Any:
        return self("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self("DELETE", path, **options)

    def raw(self, method: str, path: str, body: bytes, content_type: str = "application/json") -> Any:
        return self(method, path, content=body, headers={"Content-Type": content_type})

    def create(self, key: str = "books", connection_type: str = "api_ledger", **members: Any) -> dict[str, Any]:
        """A stored connection, as the list shows it."""
        item = {"key": key, "name": key.title(), "connection_type": connection_type, "access": "read"} | members
        answer = self.patch("/connection", json=[item])
        assert answer.status_code == 200, answer.text
        [created] = answer.json()["succeeded"]
        return created


@pytest.fixture
def api(anonymous: TestClient, service: Service, token: str) -> Api:
    """The API with every scope, over a store without connections. The audit trail cannot be emptied."""
    with service.store.write() as database:
        for table in (datasets, connections):
            database.execute(delete(table))
    return Api(anonymous, token)
