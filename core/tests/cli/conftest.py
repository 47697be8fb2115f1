"""The embedded default's home, its key file and its store, and commands that run in this process."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from connectory.commands import app
from connectory.settings import read_settings
from connectory.startup import open_database
from connectory.store.bulk_save import SaveItem, save_connections
from connectory.store.engine import Store
from connectory.store.envelopes import seal
from connectory.store.timestamps import utc_now
from connectory.vault import KeyRing, Vault, generate_keyring


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path) -> Path:
    home.mkdir()
    generate_keyring(home / "keys.json")
    return home / "keys.json"


@pytest.fixture
def opened(home, keys):
    """The deployment's store, open."""
    with open_database(read_settings(home=home)) as store:
        yield store


@pytest.fixture
def command(home):
    """Run a command in this process; gives its exit code, what it printed, and its one line of refusal."""

    def run(*arguments: str, settings: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, arguments, env={"CONNECTORY_HOME": str(home), **(settings or {})})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            return 1, done.stdout, str(done.exception)
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture
def fill():
    """Store connections whose secrets are sealed with a ring's primary key; gives their ids."""
    return _fill


def _fill(store: Store, ring: KeyRing, *keys: str) -> list[str]:
    vault = Vault(ring)

    def item(key: str) -> SaveItem:
        return SaveItem(key, "postgres", "database", "d", seal=lambda row: seal(vault, row, secrets=b"S", masked=b"M"))

    with store.write() as database:
        return [saved.connection.id for saved in save_connections(database, [item(key) for key in keys], now=utc_now())]
