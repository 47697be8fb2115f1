"""The first start of a deployment, by several processes at once."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local

import pytest

from connectory import keys as keys_module
from connectory import startup
from connectory.keys import open_vault
from connectory.settings import Settings, read_settings
from connectory.startup import ensure_root_client, open_database
from connectory.store import sqlite
from connectory.store.clients import authenticate_client, list_clients
from connectory.store.schema import HEAD
from connectory.vault import generate_keyring
from connectory.vault.providers import FileKeys


def test_two_starts_that_both_saw_no_client_make_one_root_client(home, monkeypatch):
    settings = read_settings(home=home)
    both_have_looked, mine = Barrier(2, timeout=20), local()

    def look(database):
        found = list_clients(database)
        if not hasattr(mine, "looked"):
            mine.looked = both_have_looked.wait()
        return found

    monkeypatch.setattr(startup, "list_clients", look)

    def start(_: int) -> None:
        with open_database(settings) as store:
            ensure_root_client(settings, store)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(start, range(2)))
    written = json.loads(settings.root_client_path.read_text())
    with open_database(settings) as store, store.read() as database:
        [root] = list_clients(database)
        assert authenticate_client(database, written["client_id"], written["client_secret"]) == root


def test_a_key_file_that_another_start_makes_meanwhile_is_used(home, monkeypatch):
    settings = read_settings(home=home)
    create = FileKeys.create

    def create_too_late(self):
        generate_keyring(self.path)
        return create(self)

    monkeypatch.setattr(keys_module.FileKeys, "create", create_too_late)
    with open_database(settings) as store:
        ring = open_vault(settings, store, warn=pytest.fail).ring
        assert ring == FileKeys(settings.keys_path).load()


def test_a_file_that_another_start_gives_its_log_meanwhile_is_waited_for(home, monkeypatch):
    busy = [sqlite3.OperationalError("database is locked") for _ in range(2)]
    configuring = sqlite._configuring

    def configuring_later(*pragmas):
        configure = configuring(*pragmas)

        def configure_later(connection, record):
            if busy:
                error = busy.pop()
                error.sqlite_errorname = "SQLITE_BUSY"
                raise error
            configure(connection, record)

        return configure_later

    monkeypatch.setattr(sqlite, "_configuring", configuring_later)
    with open_database(read_settings(home=home)) as store, store.read() as database:
        assert list_clients(database) == []
    assert busy == []


@pytest.mark.parametrize("kind", ["sqlite home", "postgresql"])
def test_starts_at_once_all_succeed(home, tmp_path, kind, request):
    """One home of the embedded default; or one PostgreSQL with a key file, where clients are given."""
    settings = read_settings(home=home)
    if kind == "postgresql":
        generate_keyring(tmp_path / "keys.json")
        url = request.getfixturevalue("postgres_url")
        settings = Settings(home=home, database_url=url, keys_file=tmp_path / "keys.json")
    together = Barrier(4, timeout=30)

    def start(_: int) -> str:
        together.wait()
        with open_database(settings) as store:
            ring = open_vault(settings, store, warn=pytest.fail).ring
            ensure_root_client(settings, store)
            with store.read() as database:
                return f"{ring.fingerprints()} {len(list_clients(database))}"

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(start, range(4)))) == 1


@pytest.mark.parametrize(("since", "starts"), [(HEAD, True), ("9999", False)])
def test_a_restart_after_a_later_release_has_upgraded_the_database(since, starts, command, home, tmp_path, monkeypatch):
    monkeypatch.setenv("CONNECTORY_DATABASE_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    assert command("db", "upgrade")[0] == 0
    with sqlite3.connect(tmp_path / "shared.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.execute("UPDATE schema_compatibility SET compatible_since = ?", [since])
    database.close()
    (code, _, refused), upgraded = command("client", "list"), command("db", "upgrade")
    if starts:
        assert (code, upgraded[0]) == (0, 0)
        assert f"of a later release (revision 9999), with which this one (revision {HEAD}) works." in upgraded[1]
    else:
        assert (code, upgraded[0]) == (1, 1)
        assert "has schema 9999, of a later release" in refused
        assert "run the release that upgraded the database, or restore a backup" in refused
