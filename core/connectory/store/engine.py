"""Open the database: which one, from its URL, and what a transaction on it is."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, TypeVar

from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connectory.store.engines import Engines, Transactions
from connectory.store.errors import StoreConflict, StoreFailed, StoreUnavailable, StoreUrlInvalid
from connectory.store.line import Line
from connectory.store.patience import patience_left

Dialect = Literal["sqlite", "postgresql"]
_Result = TypeVar("_Result")

_TRIES = 3
_RESPITE = 0.02
"""Seconds. PostgreSQL gives a row to whoever comes first: without a pause the loser takes the row back before the winner, whom
the loss has woken, is there, and the same two meet in the same deadlock."""

_ACCEPTED = "use sqlite:///path/to/file.db, or postgresql://user:password@host:5432/database, percent-encoded"


class Store:
    """An open database. Safe to share between threads; each transaction belongs to one thread.

    Attributes:
        dialect: "sqlite" or "postgresql".
        reads, writes: the SQLAlchemy engines behind `read()` and `write()`.
        readers, writers: threads that do the most work for their number: more of them only wait for each other.
    """

    def __init__(self, dialect: Dialect, engines: Engines, *, readers: int, writers: int) -> None:
        self.dialect = dialect
        self.reads, self.writes = engines.reads, engines.writes
        self._engines = engines
        self.readers = readers
        self.writers = writers
        # SQLite writes one at a time. Waiting here, and not at its lock or for the pool, ends at the deadline.
        self._turns = Line() if dialect == "sqlite" else None

    def __repr__(self) -> str:
        return f"Store({self.dialect})"

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout, and cannot write.

        Raises:
            StoreUnavailable: the database does not answer, or cannot take this work now.
            StoreFailed: it refused a statement.
        """
        with _transaction(self._engines.read) as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """For a single statement that reads: without the round trips that begin and end a transaction.

        Raises:
            StoreUnavailable, StoreFailed: as for `read`.
        """
        with _transaction(self._engines.look) as connection:
            yield connection

    @contextmanager
    def write(self, *, synchronous: bool = True) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or rolls back if the block raises.

        On SQLite it waits for every other writer first, so what it reads stays true until it ends; on PostgreSQL for those
        that change the same rows. `patience` says how long. Keep it short.

        Args:
            synchronous: whether to wait until it is on the disk, which takes milliseconds. Default: yes. What did not wait
                outlives this process, and may be lost where the machine, or the server of PostgreSQL, ends within moments.

        Raises:
            StoreUnavailable: the database does not answer, or cannot take this work now.
            StoreFailed: it refused a statement.
        """
        begin = self._engines.write if synchronous else self._engines.write_asynchronously
        if self._turns is not None and not self._turns.acquire(timeout=patience_left()):
            raise StoreUnavailable("Others write to the database for too long; try again later.")
        try:
            with _transaction(begin) as connection:
                yield connection
        finally:
            if self._turns is not None:
                self._turns.release()

    def write_again(self, work: Callable[[Connection], _Result]) -> _Result:
        """Do `work` in a transaction that is done again, up to twice, if the database ends it in favour of another one.

        All writers lock in one order, that of connections' keys, so that they wait for each other. This is for what is
        left: a deadlock over rows that two transactions insert, or with a client of another kind.

        Args:
            work: does nothing but what the transaction undoes.

        Raises:
            StoreUnavailable, StoreFailed: as `write`; StoreConflict after the third time.
        """
        for tries in range(_TRIES):
            try:
                with self.write() as connection:
                    return work(connection)
            except StoreConflict:
                if tries == _TRIES - 1:
                    raise
                time.sleep(_RESPITE)
        raise AssertionError

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engines.close()


def open_store(url: str, pool_size: int = 24) -> Store:
    """Open the database a URL names; a missing SQLite file is created with mode 0600, its directory is not.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`, or `postgresql://user:password@host:port/name`
            with libpq's parameters (`?sslmode=verify-full`) after it. Opening PostgreSQL does not connect yet.
        pool_size: connections to PostgreSQL that are open at once, at most; half of them only read. Default 24.

    Raises:
        StoreUrlInvalid: the URL is none of these.
        StoreUnavailable: the SQLite file cannot be opened.
    """
    parsed = _parse(url)
    # Imported here: a deployment on one database does not load the driver of the other.
    if parsed.get_backend_name() == "sqlite":
        from connectory.store import sqlite

        return Store("sqlite", sqlite.open_engines(parsed), readers=sqlite.READERS, writers=sqlite.WRITERS)
    from connectory.store import postgresql

    engines = postgresql.open_engines(parsed, pool_size)
    return Store("postgresql", engines, readers=postgresql.READERS, writers=postgresql.WRITERS)


def _parse(url: str) -> URL:
    # Raised from None throughout: the parser's own errors quote pieces of the URL, and so of the password.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreUrlInvalid(
            f"The database URL cannot be read; {_ACCEPTED} ('@', ':' and '/' as %40, %3A and %2F)."
        ) from None
    if parsed.drivername == "sqlite":
        if parsed.host or parsed.query or not parsed.database or parsed.database == ":memory:":
            raise StoreUrlInvalid(f"The database URL must name a SQLite file and nothing else; {_ACCEPTED}.")
    elif parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg2"):
        if "@" in (parsed.host or ""):
            raise StoreUrlInvalid("In the database URL, an '@' in the user name or password must be written %40.")
        if not parsed.database:
            raise StoreUrlInvalid(f"The database URL names no database; {_ACCEPTED}.")
    else:
        raise StoreUrlInvalid(f"The database URL names a kind of database that is not supported; {_ACCEPTED}.")
    return parsed


@contextmanager
def _transaction(begin: Transactions) -> Iterator[Connection]:
    try:
        with begin() as connection:
            yield connection
    except PoolTimeout:
        raise StoreUnavailable("No database connection became free in time; try again later.") from None
    except DBAPIError as error:
        raise _told(error) from None
    except sqlite3.Error as error:  # of what is said to SQLite past SQLAlchemy
        raise _told(DBAPIError(None, None, error)) from None


def _told(error: DBAPIError) -> StoreUnavailable | StoreFailed:
    reason = _why_unavailable(error)
    if reason is None:
        return StoreFailed(_what_was_refused(error))
    conflict = getattr(error.orig, "pgcode", None) in _CONFLICTS
    return (StoreConflict if conflict else StoreUnavailable)(reason)


# SQLSTATE classes and codes after which the same work may succeed later (PostgreSQL manual, appendix A): connection
# lost, out of resources, stopped by an operator, serialization failure, deadlock, lock timeout, read-only standby.
_PASSING_CLASSES = ("08", "53", "57")
_CONFLICTS = ("40001", "40P01")
_PASSING_STATES = (*_CONFLICTS, "55P03", "25006")
_FULL = "Its disk is full; free some space"
_READ_ONLY = "It can be read and not written to; check permissions, and whether its file system is mounted read-only"
_REMEDIES = {
    "SQLITE_FULL": _FULL,
    "53100": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
    "25006": "It is read-only, as a standby is; check that the address is that of the primary",
}
_PASSING_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")


def _why_unavailable(error: DBAPIError) -> str | None:
    sqlite_name: str | None = getattr(error.orig, "sqlite_errorname", None)
    if sqlite_name is not None:
        if sqlite_name.startswith(_PASSING_SQLITE):  # extended codes, like SQLITE_BUSY_SNAPSHOT, start with the primary
            remedy = _REMEDIES.get("_".join(sqlite_name.split("_")[:2]), "Check its disk and permissions")
            return f"The database file cannot be used now ({sqlite_name}). {remedy}, or try again."
        return None
    state: str | None = getattr(error.orig, "pgcode", None)
    if error.connection_invalidated or _never_connected(error):
        return "The database does not answer; check that it runs and that the configured address and account are right."
    if state is not None and (state.startswith(_PASSING_CLASSES) or state in _PASSING_STATES):
        remedy = f"{_REMEDIES[state]}, or try again" if state in _REMEDIES else "Try again"
        return f"The database cannot take this work now (SQLSTATE {state}). {remedy} later."
    return None


def _never_connected(error: DBAPIError) -> bool:
    # libpq gives no SQLSTATE for a connection that failed; such an error has no statement either.
    return isinstance(error, OperationalError) and error.statement is None


def _what_was_refused(error: DBAPIError) -> str:
    statement = (error.statement or "connecting")[:500]  # placeholders, no values
    if hasattr(error.orig, "sqlite_errorname"):
        return f"The database refused a statement ({error.orig}): {statement}"  # SQLite's texts name no values
    detail = getattr(error.orig, "diag", None)
    names = [getattr(detail, part, None) for part in ("sqlstate", "table_name", "column_name", "constraint_name")]
    refusal = " ".join([type(error.orig).__name__, *(name for name in names if name)])
    return f"The database refused a statement ({refusal}): {statement}"
