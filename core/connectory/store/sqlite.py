"""The SQLite engines: one connection that writes, several that read."""

import os
import sqlite3
from pathlib import Path
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

from connectory.store.errors import StoreUnavailable

BUSY_TIMEOUT = 5.0
"""Seconds that a transaction waits for another process's write transaction."""

# FULL survives power loss; secrets are written too rarely for its cost to matter. secure_delete overwrites replaced
# envelopes. trusted_schema=OFF keeps a doctored database file from calling functions with side effects.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA journal_size_limit=16777216",
)


def open_engines(url: URL) -> tuple[Engine, Engine]:
    """The engine that reads and the engine that writes, for one database file.

    Raises:
        StoreUnavailable: the file cannot be created or opened, or its file system cannot hold a write-ahead log.
    """
    path = Path(url.database or "")
    _create_private(path)
    # One writing connection: writers of this process queue here, fairly, instead of polling SQLite's lock.
    writes = _engine(url, pool_size=1, max_overflow=0)
    reads = _engine(url, pool_size=8, max_overflow=32)
    event.listen(writes, "begin", _begin_immediate)
    event.listen(reads, "begin", _begin)
    event.listen(reads, "connect", _refuse_writes)
    _require_write_ahead_log(writes, path)
    return reads, writes


def _engine(url: URL, *, pool_size: int, max_overflow: int) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=30,
        hide_parameters=True,
        # isolation_level None: the driver begins no transactions of its own, which it would do too late.
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure)
    return engine


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _refuse_writes(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_immediate(connection: Connection) -> None:
    # Takes the write lock at once. A deferred transaction that first reads and then writes fails with "database is
    # locked" whenever another wrote in between, whatever the busy timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    # Past SQLAlchemy, which spends more on this statement than SQLite does on most queries. It takes no lock, so there
    # is not an error to translate.
    cast("sqlite3.Connection", connection.connection.driver_connection).execute("BEGIN")


def _create_private(path: Path) -> None:
    # SQLite gives its -wal and -shm files the mode of the database file.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StoreUnavailable(
            f"Database file {path} cannot be opened ({reason}); check that its directory exists and is writable."
        ) from None


def _require_write_ahead_log(engine: Engine, path: Path) -> None:
    try:
        with engine.connect() as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    except Exception as error:
        name = getattr(getattr(error, "orig", None), "sqlite_errorname", type(error).__name__)
        damaged = name.startswith("SQLITE_CORRUPT")  # SQLITE_NOTADB is what another file gives
        remedy = "restore a backup of it." if damaged else "if it is not a SQLite database, name another file."
        raise StoreUnavailable(f"Database file {path} cannot be opened ({name}); {remedy}") from error
    if mode != "wal":
        raise StoreUnavailable(
            f"Database file {path} is on a file system without shared memory, so readers would block writers; move it to "
            "a local disk, or use PostgreSQL."
        )
