"""Settings of PostgreSQL for each session, or behind a pooler for each transaction.

A pooler in transaction mode refuses start-up `options`, and gives each transaction another session of the server: another client
finds what one sets in it. There the settings travel with the first statement of each transaction and end with it, which costs no
round trip. Without a pooler they are set once in each connection, and transactions cost nothing more.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry

_UNSAID = "statements that go with the next one"


def limit_sessions(engine: Engine, settings: Sequence[str], in_transactions: Sequence[str]) -> None:
    """Have each connection of the engine's pool begin with `settings`.

    Args:
        settings: as "name = value".
        in_transactions: statements that go before the first of each of the engine's transactions where a pooler is between.
    """
    told = Lock()
    prefix = "; ".join(in_transactions)

    def connected(driver: Any, entry: ConnectionPoolEntry) -> None:
        with driver.cursor() as cursor:
            # A pooler makes up the number that it gives its clients for cancelling.
            cursor.execute("SELECT pg_backend_pid()")
            entry.info["pooled"] = cursor.fetchone()[0] != driver.info.backend_pid
            if not entry.info["pooled"]:
                cursor.execute("; ".join(f"SET {setting}" for setting in settings))
        if not driver.autocommit:
            driver.commit()
        # Not before it is needed: having listeners at all would double what a look costs.
        if entry.info["pooled"] and told.acquire(blocking=False):
            event.listen(engine, "checkout", taken)
            event.listen(engine, "before_cursor_execute", sending, retval=True)

    def taken(_driver: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        entry.info[_UNSAID] = prefix  # a connection is taken for one transaction

    def sending(
        connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool
    ) -> tuple[str, Any]:
        unsaid = connection.info.pop(_UNSAID, None)
        if unsaid is None:
            return statement, parameters
        if executemany:
            cursor.execute(unsaid)
            return statement, parameters
        return f"{unsaid}; {statement}", parameters

    event.listen(engine, "connect", connected)


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler is between this connection and the server."""
    return bool(connection.info["pooled"])
