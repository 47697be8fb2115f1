"""SQLite: the connections, and how a transaction begins on them."""

import contextlib
import errno
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from connectory.store.engines import Engines
from connectory.store.errors import StoreUnavailable
from connectory.store.patience import PATIENCE, patience_left

READERS = 1
"""Threads that read: SQLite works while the interpreter's lock is free only within one row, so a second one gains nothing."""
WRITERS = 1
"""Threads that write. A second one would prepare what the first one writes next, and they hand the interpreter's lock to and
fro: eight callers got a fifth less."""

# FULL survives power loss; secrets are written too rarely for its cost to matter. NORMAL waits for the disk only when the log is
# copied to the database file; then a loss of power undoes the last transactions, each as a whole (sqlite.org, "PRAGMA
# synchronous"). secure_delete overwrites replaced
# envelopes. trusted_schema=OFF keeps a doctored database file from calling functions with side effects.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA trusted_schema=OFF",
    # Four times the default: the pages that every write changes are copied to the database file a quarter as often.
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=16777216",
)


def open_engines(url: URL) -> Engines:
    """The engines of one database file.

    Raises:
        StoreUnavailable: the file cannot be created or opened, or its file system cannot hold a write-ahead log.
    """
    path = Path(url.database or "")
    _create_private(path)
    writes, asynchronous, reads = _engine(url), _engine(url, synchronous="NORMAL"), _engine(url)
    event.listen(reads, "connect", _refuse_writes)
    _require_write_ahead_log(writes, path)
    writers, asynchronous_writers, readers = map(_Connections, (writes, asynchronous, reads))
    refuse_lost_file = _refuse_lost_file(path)

    def begin_to_write(driver: sqlite3.Connection) -> None:
        refuse_lost_file()
        # Takes the write lock at once. A deferred transaction that first reads and then writes fails with "database is
        # locked" whenever another wrote in between, whatever the busy timeout.
        driver.execute(f"PRAGMA busy_timeout={patience_left() * 1000:.0f}")
        driver.execute("BEGIN IMMEDIATE")

    def close() -> None:
        writers.close()
        asynchronous_writers.close()
        readers.close()

    return Engines(
        read=lambda: readers.transaction(lambda driver: driver.execute("BEGIN")),
        write=lambda: writers.transaction(begin_to_write),
        write_asynchronously=lambda: asynchronous_writers.transaction(begin_to_write),
        look=lambda: readers.transaction(lambda _: None),
        reads=reads,
        writes=writes,
        close=close,
    )


class _Connections:
    """Connections that are kept, and transactions on them, past SQLAlchemy's pool and its transactions.

    SQLAlchemy takes 25 µs to lend and take back a connection, and 100 µs more for a transaction; SQLite takes 10 µs for both.
    What is not in use is in the hands of nobody, so that any thread may use it next.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: deque[Connection] = deque()

    @contextmanager
    def transaction(self, begin: Callable[[sqlite3.Connection], object]) -> Iterator[Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
        driver = cast("sqlite3.Connection", connection.connection.driver_connection)
        try:
            begin(driver)
            yield connection
            driver.commit()
        except BaseException:
            driver.rollback()
            raise
        finally:
            self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()


def _engine(url: URL, *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        poolclass=NullPool,  # `_Connections` keeps them
        hide_parameters=True,
        # isolation_level None: the driver begins no transactions of its own, which it would do too late.
        connect_args={"isolation_level": None, "timeout": PATIENCE, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configuring(*_PRAGMAS, f"PRAGMA synchronous={synchronous}"))
    return engine


def _configuring(*pragmas: str) -> Callable[[sqlite3.Connection, Any], None]:
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(pragma)

    return configure


def _refuse_writes(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _refuse_lost_file(path: Path) -> Callable[[], None]:
    # SQLite goes on with the file that it has open. Once another one, or none, has its name, what is written there is gone with
    # the process. One more look at the directory takes 2 µs.
    opened = _identity(path)

    def refuse() -> None:
        if _identity(path) != opened:
            raise StoreUnavailable(
                f"Database file {path} was removed or replaced while it was open, so nothing is written to it; put it back, "
                "or restart the service to go on with the file that is there now."
            )

    return refuse


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create_private(path: Path) -> None:
    # SQLite gives its -wal and -shm files the mode of the database file. One that exists is not opened, not even to see whether
    # it can be: closing a file takes away all locks of this process on it (fcntl(2)), also those of another store that has it
    # open, and two that write at once spoil it (sqlite.org, "How To Corrupt An SQLite Database File", §2.2).
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StoreUnavailable(
            f"Database file {path} cannot be opened ({reason}); check that its directory exists and is writable."
        ) from None


def _require_write_ahead_log(engine: Engine, path: Path) -> None:
    try:
        mode = _journal_mode(engine)
    except Exception as error:
        name = _name_of(error)
        damaged = name.startswith("SQLITE_CORRUPT")  # SQLITE_NOTADB is what another file gives
        remedy = "restore a backup of it." if damaged else "if it is not a SQLite database, name another file."
        raise StoreUnavailable(f"Database file {path} cannot be opened ({name}); {remedy}") from error
    if mode != "wal":
        raise StoreUnavailable(
            f"Database file {path} is on a file system without shared memory, so readers would block writers; move it to "
            "a local disk, or use PostgreSQL."
        )


def _journal_mode(engine: Engine) -> str:
    # Two processes that give a new file its write-ahead log at once need it for themselves: SQLite tells one that the file is
    # busy, and does not let it wait.
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with engine.connect() as connection:
                return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        except Exception as error:
            if not _name_of(error).startswith("SQLITE_BUSY") or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def _name_of(error: Exception) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlite_errorname", type(error).__name__))
