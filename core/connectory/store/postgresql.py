"""The PostgreSQL engines: connections that read, and connections that write."""

import time
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from connectory.store.engines import Engines
from connectory.store.errors import StoreUrlInvalid
from connectory.store.patience import PATIENCE, patience_left

READERS = 4
WRITERS = 4
"""Threads, most of which wait for the database while one works."""

# Limits of one statement, of a wait for a lock, and of a transaction that does nothing, so that no request and no lock
# outlives a stuck client. A deployer's own `?options=` comes after these and wins.
_LIMITS = (
    f"-c statement_timeout=10s -c lock_timeout={PATIENCE * 1000:.0f} -c idle_in_transaction_session_timeout=60s"
    " -c timezone=UTC"
)
_READ_ONLY = "-c default_transaction_read_only=on"
_CONNECT_TIMEOUT = 5
"""Seconds for each address of the host."""

_IDLE = 1.0
"""Seconds without use after which a connection is asked whether it still lives. Asking each time would be one more round trip
of every request; a server that ended within the last second costs its callers one 503."""


def open_engines(url: URL) -> Engines:
    """The engines, over two pools. Connects on first use.

    Raises:
        StoreUrlInvalid: the URL holds a parameter twice.
    """
    options = url.query.get("options", "")
    if not isinstance(options, str):
        raise StoreUrlInvalid("The database URL gives `options` twice; give it once.")
    connect_timeout = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT}

    def engine(limits: str, **given: Any) -> Engine:
        return create_engine(
            url.set(drivername="postgresql+psycopg2").difference_update_query(["options"]),
            hide_parameters=True,
            executemany_mode="values_plus_batch",
            connect_args={"options": f"{limits} {options}", **connect_timeout},
            **given,
        )

    pool = {"pool_size": READERS + WRITERS, "max_overflow": 4, "pool_timeout": PATIENCE}
    # Whatever the server's default: a statement that waited for another transaction must then see what it wrote.
    writes = engine(_LIMITS, isolation_level="READ COMMITTED", **pool)
    event.listen(writes, "begin", _wait_no_longer)
    looks = engine(f"{_LIMITS} {_READ_ONLY}", isolation_level="AUTOCOMMIT", **pool)
    # Over the same connections, because setting another isolation level on each use costs more than the statement.
    reads = engine(_LIMITS, pool=looks.pool)
    event.listen(reads, "begin", _begin_snapshot)
    event.listen(reads, "commit", _end_snapshot)
    event.listen(reads, "rollback", _end_snapshot)
    for each in (writes, looks):
        event.listen(each, "checkout", _ping_if_idle)
        event.listen(each, "checkin", _note_use)

    def close() -> None:
        looks.dispose()
        writes.dispose()

    return Engines(reads.begin, writes.begin, looks.begin, reads, writes, close)


def _begin_snapshot(connection: Connection) -> None:
    # Reading a page and its count wants one snapshot.
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")


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
