"""Connections to test with, made and changed by the same function that the service uses."""

from datetime import datetime
from typing import Any, Protocol

import pytest
from sqlalchemy.engine import Connection

from connectory.store.bulk_save import Saved, SaveItem, save_connections
from connectory.store.connections import StoredConnection


class Save(Protocol):
    def __call__(
        self, database: Connection, key: str, kind: str = ..., system: str = ..., at: datetime = ..., **fields: Any
    ) -> StoredConnection: ...


@pytest.fixture
def save_one(now: datetime) -> Save:
    """Create or change the connection of a key, in a transaction of the caller's; gives it as it is then."""

    def save(
        database: Connection,
        key: str,
        kind: str = "postgres",
        system: str = "database",
        at: datetime = now,
        **fields: Any,
    ) -> StoredConnection:
        [saved] = save_connections(database, [SaveItem(key, kind, system, f"connectory-{kind}", fields)], now=at)
        assert isinstance(saved, Saved), saved
        return saved.connection

    return save
