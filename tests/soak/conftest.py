"""A service with a connector of its own, over either store."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from connectory.scopes import SCOPES
from connectory.store.clients import create_client, issue_token
from connectory.store.engine import Store, open_store
from connectory.store.schema import upgrade
from connectory.store.timestamps import utc_now
from connectory.vault import KeyRing, generate_keyring
from testkit.distribution import install


class Deployment(NamedTuple):
    """A store with tables and a client, keys, and the settings of a service over them."""

    home: Path
    store: Store
    ring: KeyRing
    settings: dict[str, str]
    headers: dict[str, str]


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """One with the connector `till`, once over each kind of store."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'connectory.db'}"
    else:
        server, name = request.getfixturevalue("postgres"), f"soak_{uuid4().hex}"
        server.create_database(name)
        url = f"postgresql://{server.superuser}:{server.password}@{server.host}:{server.port}/{name}"
    source = Path(__file__).with_name("till_plugin.py").read_text()
    install(tmp_path / "site", "acme-till", entry_points={"till": "till_plugin"}, modules={"till_plugin": source})
    ring = generate_keyring(tmp_path / "keys.json")
    settings = {
        "PYTHONPATH": str(tmp_path / "site"),
        "CONNECTORY_PLUGINS_ALLOW": "till",
        "CONNECTORY_DATABASE_URL": url,
        "CONNECTORY_KEYS_FILE": str(tmp_path / "keys.json"),
        "CONNECTORY_EGRESS_ALLOW_LOOPBACK": "true",
        "CONNECTORY_PROBE_DEADLINE": "30",
        "CONNECTORY_TEST_RATE": "1000",
        "CONNECTORY_LOG_LEVEL": "warning",
    }
    with open_store(url) as store:
        upgrade(store)
        with store.write() as database:
            owner, _ = create_client(database, name="test", scopes=SCOPES, now=utc_now())
            token, _ = issue_token(database, owner.id, scopes=SCOPES, lifetime=timedelta(hours=9), now=utc_now())
        yield Deployment(tmp_path / "home", store, ring, settings, {"Authorization": f"Bearer {token}"})
