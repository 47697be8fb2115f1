"""A store that is lost, or full, while the service runs: writers are told, and all is well once it is back."""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from connectory.api.app import create_app, open_service
from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.scopes import SCOPES
from connectory.settings import Settings
from connectory.store.clients import create_client, issue_token
from connectory.store.engine import open_store
from connectory.store.errors import StoreUnavailable
from connectory.store.schema import upgrade
from connectory.store.timestamps import utc_now
from connectory.vault import generate_keyring
from servers.postgres.server import PostgresServer
from testkit.in_process import LocalClient
from testkit.waiting import wait_until


class Losable(NamedTuple):
    """A store; in a block of `lost()` it is not there, or full, and `reads` says whether what was stored can be read then."""

    url: str
    lost: Callable[[], AbstractContextManager[None]]
    reads: bool


@pytest.fixture
def moved_file(tmp_path):
    path = tmp_path / "connectory.db"

    @contextmanager
    def moved_away():
        path.rename(tmp_path / "elsewhere.db")
        yield
        (tmp_path / "elsewhere.db").rename(path)

    return Losable(f"sqlite:///{path}", moved_away, reads=True)


@pytest.fixture
def stopped_server():
    with PostgresServer() as server:
        yield Losable(url_of(server, "postgres"), server.stopped, reads=False)


@pytest.fixture
def full_server(postgres):
    """It says what PostgreSQL says when its disk is full (SQLSTATE 53100); a disk of its own would take a machine of its own."""
    name = f"full_{uuid4().hex}"
    postgres.create_database(name)

    @contextmanager
    def full():
        says = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        postgres.execute(f"{says} $$BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END$$", database=name)
        for table in ("connections", "nodes"):
            trigger = f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION full_disk()"
            postgres.execute(trigger, database=name)
        yield
        postgres.execute("DROP FUNCTION full_disk CASCADE", database=name)

    return Losable(url_of(postgres, name), full, reads=True)


def url_of(server: PostgresServer, database: str) -> str:
    return f"postgresql://{server.superuser}:{server.password}@{server.host}:{server.port}/{database}"


@pytest.fixture(params=["moved_file", "stopped_server", "full_server"])
def losable(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(losable, tmp_path):
    generate_keyring(tmp_path / "keys.json")
    with open_store(losable.url) as store:
        upgrade(store)
        with store.write() as database:
            owner, _ = create_client(database, name="test", scopes=SCOPES, now=utc_now())
            token, _ = issue_token(database, owner.id, scopes=SCOPES, lifetime=timedelta(hours=1), now=utc_now())
    settings = Settings(home=tmp_path, database_url=losable.url, keys_file=tmp_path / "keys.json")
    catalog = build_catalog(Selection(allow=frozenset({"manual"})), environment={})
    with LocalClient(create_app(open_service(settings, catalog)), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def save(client, key):
    item = {"key": key, "connection_type": "manual", "access": "read"}
    return client.patch("/api/v1/connection", json=[item])


def test_a_lost_or_full_store_is_told_and_all_is_well_once_it_is_back(losable, client):
    assert save(client, "before").status_code == 200
    with losable.lost():
        refused = save(client, "meanwhile")
        wait_until(lambda: client.get("/ready").status_code == 503)
        assert client.get("/ready").json()["failing"] == ["database"]
        assert client.get("/health").status_code == 200
        assert client.get("/api/v1/connection/before").status_code == (200 if losable.reads else 503)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert losable.url not in refused.text
    wait_until(lambda: client.get("/ready").status_code == 200)
    assert save(client, "after").status_code == 200
    assert [item["key"] for item in client.get("/api/v1/connection").json()["items"]] == ["after", "before"]


def test_nothing_is_written_to_a_file_that_has_lost_its_name(tmp_path: Path):
    """It would be gone with the process, and its caller would have been told otherwise."""
    path = tmp_path / "connectory.db"
    with open_store(f"sqlite:///{path}") as store:
        upgrade(store)
        path.unlink()
        with pytest.raises(StoreUnavailable, match="was removed or replaced while it was open"), store.write():
            pytest.fail("a transaction began")
        path.write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="restart the service to go on with the file"), store.write():
            pytest.fail("a transaction began")
