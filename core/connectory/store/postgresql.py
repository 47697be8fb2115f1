"""The PostgreSQL engines: connections that read, and connections that write."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from connectory.store.engines import Engines
from connectory.store.errors import StoreUrlInvalid
from connectory.store.patience import PATIENCE, patience_left
from connectory.store.session_limits import is_pooled, limit_sessions

READERS = 4
WRITERS = 4
"""Threads, most of which wait for the database while one works."""

# Limits of one statement, of a wait for a lock, and of a transaction that does nothing, so that no request and no lock
# outlives a stuck client. What a deployer's own `?options=` sets is left as it is.
_LIMITS = {
    "statement_timeout": "10s",
    "lock_timeout": f"{PATIENCE * 1000:.0f}ms",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Reading a page and its count wants one snapshot."""
_CONNECT_TIMEOUT = 5
"""Seconds for each address of the host."""

_IDLE = 1.0
"""Seconds without use after which a connection is asked whether it still lives. Asking each time would be one more round trip
of every request; a server that ended within the last second costs its callers one 503."""


def open_engines(url: URL, pool_size: int) -> Engines:
    """The engines, over two pools. Connects on first use.

    Args:
        pool_size: connections of both pools together, at most.

    Raises:
        StoreUrlInvalid: the URL holds a parameter twice.
    """
    options = url.query.get("options", "")
    if not isinstance(options, str):
        raise StoreUrlInvalid("The database URL gives `options` twice; give it once.")
    given = options.lower().replace("-", "_")
    limits = [f"{name} = '{value}'" for name, value in _LIMITS.items() if f"{name}=" not in given]
    connect_timeout = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT}
    kept = min(READERS + WRITERS, pool_size // 2)

    def engine(**given: Any) -> Engine:
        return create_engine(
            url.set(drivername="postgresql+psycopg2"),
            hide_parameters=True,
            executemany_mode="values_plus_batch",
            connect_args=connect_timeout,
            **given,
        )

    pool = {"pool_size": kept, "max_overflow": pool_size // 2 - kept, "pool_timeout": PATIENCE}
    # Whatever the server's default: a statement that waited for another transaction must then see what it wrote.
    writes = engine(isolation_level="READ COMMITTED", **pool)
    looks = engine(isolation_level="AUTOCOMMIT", **pool)
    # Over the same connections, because setting another isolation level on each use costs more than the statement.
    reads = engine(pool=looks.pool)
    local = [f"SET LOCAL {limit}" for limit in limits]
    limit_sessions(writes, limits, local)
    limit_sessions(looks, [*limits, "default_transaction_read_only = on"], ["SET TRANSACTION READ ONLY", *local])
    event.listen(writes, "begin", _wait_no_longer)
    event.listen(reads, "begin", _begin_snapshot("; ".join([_SNAPSHOT, *local])))
    event.listen(reads, "commit", _end_snapshot)
    event.listen(reads, "rollback", _end_snapshot)
    for each in (writes, looks):
        event.listen(each, "checkout", _ping_if_idle)
        event.listen(each, "checkin", _note_use)

    def close() -> None:
        looks.dispose()
        writes.dispose()

    @contextmanager
    def write_asynchronously() -> Iterator[Connection]:
        with writes.begin() as connection:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    return Engines(reads.begin, writes.begin, write_asynchronously, looks.begin, reads, writes, close)


def _begin_snapshot(pooled: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(pooled if is_pooled(connection) else _SNAPSHOT)

    return begin


def _end_snapshot(connection: Connection) -> None:
    if not connection.invalidated:
        connection.exec_driver_sql("COMMIT")


def _wait_no_longer(connection: Connection) -> None:
    # One more statement, so only for work that has already waited in a line.
    left = patience_left()
    if left < PATIENCE - 1:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(left * 1000))}")


def _note_use(_driver: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _ping_if_idle(driver: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    used = cast("float | None", entry.info.get("used"))
    if used is None or time.monotonic() - used < _IDLE:
        return
    try:
        with driver.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not driver.autocommit:
            driver.rollback()
    except Exception:  # whatever it is, this connection cannot be used
        raise DisconnectionError from None  # the pool then makes another
