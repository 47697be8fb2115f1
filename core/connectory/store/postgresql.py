"""The PostgreSQL engines: one pool, used for reading and for writing."""

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, create_engine

from connectory.store.engines import Engines
from connectory.store.errors import StoreUrlInvalid
from connectory.store.patience import PATIENCE, patience_left

READERS = 4
WRITERS = 4
"""Threads, most of which wait for the database while one works."""

# Limits of one statement, of a wait for a lock, and of a transaction that does nothing, so that no request and no lock
# outlives a stuck client. A deployer's own `?options=` comes after these and wins.
_LIMITS = f"-c statement_timeout=10s -c lock_timeout={PATIENCE * 1000:.0f} -c idle_in_transaction_session_timeout=60s"
_CONNECT_TIMEOUT = 5
"""Seconds for each address of the host."""


def open_engines(url: URL) -> Engines:
    """The engines, over one pool. Connects on first use.

    Raises:
        StoreUrlInvalid: the URL holds a parameter twice.
    """
    options = url.query.get("options", "")
    if not isinstance(options, str):
        raise StoreUrlInvalid("The database URL gives `options` twice; give it once.")
    connect_timeout = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_TIMEOUT}
    engine = create_engine(
        url.set(drivername="postgresql+psycopg2").difference_update_query(["options"]),
        # Whatever the server's default: a statement that waited for another transaction must then see what it wrote.
        isolation_level="READ COMMITTED",
        pool_size=10,
        max_overflow=10,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        executemany_mode="values_plus_batch",
        connect_args={"options": f"{_LIMITS} {options} -c timezone=UTC", **connect_timeout},
    )
    event.listen(engine, "begin", _wait_no_longer)
    # Reading a page and its count is the opposite case and wants one snapshot.
    reads = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(reads, writes=engine, looks=engine.execution_options(isolation_level="AUTOCOMMIT"))


def _wait_no_longer(connection: Connection) -> None:
    # One more statement, so only for work that has already waited in a line.
    left = patience_left()
    if left < PATIENCE - 1:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(left * 1000))}")
