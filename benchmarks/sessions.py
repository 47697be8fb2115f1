"""Sessions: rows on their whole way beside the bare driver, discoveries beside bare reflection, memory, and tests meanwhile.

Run by itself it measures these rows only.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from connectory.data import CollectionRef, Read  # noqa: E402
from connectory.testing import Session, Workbench, load_connector  # noqa: E402
from installation import Installation, Server  # noqa: E402
from servers.postgres.server import PostgresServer  # noqa: E402

ROWS = 200_000
ROUNDS = 5
COLUMNS = ("id", "email", "name", "born", "seen", "score", "active")
TABLE = f"""
CREATE TABLE people AS SELECT i AS id, 'person' || i || '@example.com' AS email, 'Person Number ' || i AS name,
  date '1970-01-01' + i % 20000 AS born, timestamp '2026-01-01' + i * interval '1 second' AS seen, i * 0.5::float8 AS score,
  i % 2 = 0 AS active FROM generate_series(1, {ROWS}) i
"""
BATCH = 2000
GIVEN_BACK = 2.0
"""Seconds after which a service has given back what a discovery took for a moment."""


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _row(case: str, unit: str, service: float, floor: float | None, bound: str, measured: str, reached: bool) -> str:
    beside = "" if floor is None else f"{floor:,.2f}"
    return f"| {case} | {unit} | {service:,.2f} | {beside} | {bound} | {measured} | {'yes' if reached else '**no**'} |"


def _secrets(server: PostgresServer, database: str) -> dict[str, Any]:
    login = {"username": server.superuser, "password": server.password}
    return {"host": server.host, "port": server.port, "dbname": database} | login


@contextmanager
def _connected(server: PostgresServer, database: str) -> Iterator[Any]:
    connection = psycopg2.connect(
        host=server.host, port=server.port, dbname=database, user=server.superuser, password=server.password
    )
    try:
        yield connection
    finally:
        connection.close()


def _read_bare(server: PostgresServer) -> None:
    with _connected(server, "rows") as connection, connection.cursor("bench") as cursor:
        cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM people")
        found = 0
        while rows := cursor.fetchmany(BATCH):
            found += len(rows)
    if found != ROWS:
        raise SystemExit(f"{found} rows were read")


async def _read(session: Session) -> None:
    query = Read(CollectionRef("people", {"schema": "public"}), tuple((name,) for name in COLUMNS))
    found = 0
    async for batch in session.read(query, BATCH):
        found += len(batch.rows)
    if found != ROWS:
        raise SystemExit(f"{found} rows were read")


def measure_rows(server: PostgresServer) -> str:
    """Rows a second, from the log-in to the last row."""
    server.create_database("rows")
    server.execute(TABLE, database="rows")
    secrets, connector = _secrets(server, "rows"), load_connector("postgres", "connectory-postgres")
    ours, bare = [], []
    with Workbench() as workbench:
        for number in range(ROUNDS + 1):
            took = _seconds(lambda: workbench.use(connector, secrets, _read, seconds=60))
            if number:  # the first session imports what it needs
                ours.append(ROWS / took)
                bare.append(ROWS / _seconds(lambda: _read_bare(server)))
    mine, floor = statistics.median(ours), statistics.median(bare)
    return _row(
        f"`read`, {ROWS:,} rows of {len(COLUMNS)} columns; beside psycopg2",
        "rows a second",
        mine,
        floor,
        "a third of it, at least",
        f"{mine / floor:.2f}",
        mine >= floor / 3,
    )


def make_tables(server: PostgresServer, database: str, number: int) -> None:
    """So many tables of ten columns, each with a key and a reference to the one before."""
    server.create_database(database)
    plain = ", ".join(f"c{place} varchar(40)" for place in range(8))
    with _connected(server, database) as connection, connection.cursor() as cursor:
        for one in range(number):
            to = f"REFERENCES t{one - 1:05}" if one else ""
            cursor.execute(f"CREATE TABLE t{one:05} (id integer PRIMARY KEY, before_id integer {to}, {plain})")
            if one % 500 == 499:  # a transaction has a limited number of locks
                connection.commit()
        connection.commit()


def _reflect(server: PostgresServer, database: str) -> None:
    """What SQLAlchemy's own reflection takes, with its log-in."""
    url = sqlalchemy.URL.create(
        "postgresql+psycopg2", server.superuser, server.password, server.host, server.port, database
    )
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    inspector = sqlalchemy.inspect(engine)
    for method in ("columns", "pk_constraint", "foreign_keys", "unique_constraints", "indexes"):
        getattr(inspector, f"get_multi_{method}")()


def _discover(service: Server, key: str, tables: int) -> float:
    """Seconds of one discovery, as who asks for it waits for it."""
    began = time.perf_counter()
    path = f"/api/v1/connection/{key}/discovery"
    status, answer = service.request("POST", path, b'{"scope":{"schemas":["public"]}}', {"Prefer": "wait=60"})
    took = time.perf_counter() - began
    found = json.loads(answer)
    if status != 200 or sum(len(one["collections"]) for one in found["datasets"]) != tables:
        raise SystemExit(f"the discovery failed: {answer[:500]!r}")
    return took


def _store(service: Server, server: PostgresServer, database: str) -> None:
    item = {"name": database, "key": database, "connection_type": "postgres", "access": "read"}
    service.request(
        "PATCH", "/api/v1/connection", json.dumps([item | {"secrets": _secrets(server, database)}]).encode()
    )


def measure_discoveries(service: Server, server: PostgresServer) -> list[str]:
    """500 and 5,000 tables through the API, and what the service's own process has more afterwards."""
    before = service.own_memory()
    lines = []
    for tables, most, rounds in ((500, 1.0, ROUNDS), (5_000, 8.0, 2)):
        database = f"of_{tables}"
        make_tables(server, database, tables)
        _store(service, server, database)
        if tables == 500:
            _discover(service, database, tables)  # imports what it needs
        ours = statistics.median(_discover(service, database, tables) for _ in range(rounds))
        bare = statistics.median(_seconds(partial(_reflect, server, database)) for _ in range(rounds))
        bound = f"{most:g} s, 3 times" if tables == 500 else f"{most:g} s"
        reached = ours <= most and (tables != 500 or ours <= 3 * bare)
        case = f"discovery of {tables:,} tables; beside SQLAlchemy's reflection"
        lines.append(_row(case, "s", ours, bare, bound, f"{ours / bare:.2f}", reached))
    time.sleep(GIVEN_BACK)
    after = service.own_memory()
    grown = after - before
    lines.append(_row("memory after these; beside before", "MiB", after, before, "+ 20", f"+ {grown:.1f}", grown <= 20))
    return lines


def _test(service: Server) -> float:
    """The milliseconds of a test."""
    began = time.perf_counter()
    status, answer = service.request("GET", "/api/v1/connection/rows/test")
    took = (time.perf_counter() - began) * 1000
    if status != 200 or json.loads(answer)["test_status"] != "succeeded":
        raise SystemExit(f"the test failed: {answer!r}")
    return took


def _tests(*services: Server) -> list[float]:
    """The median of a test's milliseconds at each of the services, which take turns: what else goes on is the same for all."""
    took = [[_test(service) for service in services] for _ in range(61)]
    return [statistics.median(column) for column in zip(*took[1:], strict=True)]


def measure_tests(service: Server, fresh: Server) -> list[str]:
    """A test after sessions, beside one at a service that has had none, and one while discoveries of 500 tables run."""
    after, alone = _tests(service, fresh)
    stop = threading.Event()

    def discover() -> None:
        while not stop.is_set():
            _discover(service, "of_500", 500)

    busy = threading.Thread(target=discover)
    busy.start()
    try:
        [meanwhile] = _tests(service)
    finally:
        stop.set()
        busy.join()
    ratio = after / alone
    case = "test of a PostgreSQL, after sessions; beside a service without, in turn"
    return [
        _row(case, "ms", after, alone, "1.1 times", f"{ratio:.2f}", ratio <= 1.1),
        _row("the same while discoveries run", "ms", meanwhile, alone, "", f"{meanwhile / alone:.2f}", True),
    ]


def measure_sessions(folder: Path, server: PostgresServer) -> list[str]:
    """Rows of the table.

    Args:
        folder: is created, for what the service stores.
        server: gets databases of its own.
    """
    lines = [measure_rows(server)]
    with Installation(folder).start_service() as service:
        _store(service, server, "rows")
        _tests(service)
        lines += measure_discoveries(service, server)
        with Installation(folder / "fresh").start_service() as fresh:
            _store(fresh, server, "rows")
            lines += measure_tests(service, fresh)
    return lines


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary, PostgresServer() as postgres:
        print("\n".join(measure_sessions(Path(temporary) / "sessions", postgres)))
