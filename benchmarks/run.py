"""Measure the service against the floor (`floor.py`) in one run, and write RESULTS.md beside this file.

Run by `make bench`. CPU is that of the server's process and its children, so it does not depend on the callers.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg2

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from cases import CALLERS, LARGE, SMALL, Case, Figures, fill, measure  # noqa: E402
from console import measure_console  # noqa: E402
from installation import BIN, Installation, Server  # noqa: E402
from scale import measure_scale  # noqa: E402
from servers.postgres.server import PostgresServer  # noqa: E402
from sessions import measure_sessions  # noqa: E402

LEAST = 0.9
"""Of the throughput with fewer callers that more callers must get: what differs from run to run is not a fall."""


def measure_requests(installation: Installation, database: str) -> list[str]:
    """The table of one database."""
    lines = [
        f"## Requests, stored in {database}",
        "",
        "| request | ms of CPU with 1, 8, 32 callers | floor | floors | at most | answers a second | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    with installation.start_service() as service, installation.start_floor() as floor:
        for cases, rows in ((SMALL, (0, 1_000)), (LARGE, (1_000, 10_000))):
            fill((service, floor), *rows)
            for case in cases:
                lines.append(_request_row(case, measure(case, service, floor)))
                print(lines[-1], flush=True)
    return [*lines, ""]


def _request_row(case: Case, figures: dict[int, Figures]) -> str:
    found = [figures[callers] for callers in CALLERS]
    speed = [one.service_throughput for one in found]
    reached = all(one.ratio <= case.bound for one in found) and all(
        more >= LEAST * fewer for fewer, more in pairwise(speed)
    )
    columns = [
        case.name,
        ", ".join(f"{one.service_cpu:.2f}" for one in found),
        ", ".join(f"{one.floor_cpu:.2f}" for one in found),
        ", ".join(f"{one.ratio:.2f}" for one in found),
        f"{case.bound:g}",
        ", ".join(f"{one:.0f}" for one in speed),
        "yes" if reached else "**no**",
    ]
    return f"| {' | '.join(columns)} |"


def measure_starts(installation: Installation) -> list[str]:
    """Start and memory, each server started several times, in turns, on an existing database."""
    figures: dict[str, list[tuple[float, float]]] = {"service": [], "floor": []}
    for _ in range(9):
        with installation.start_service() as service:
            figures["service"].append((service.ready_after, service.memory_at_ready))
        with installation.start_floor() as floor:
            figures["floor"].append((floor.ready_after, floor.memory_at_ready))
    lines = []
    for index, (name, unit, bound) in enumerate(
        (("start to the first answer", "s", 2.0), ("memory (PSS)", "MiB", 1.5))
    ):
        ours, theirs = (statistics.median(one[index] for one in figures[who]) for who in ("service", "floor"))
        reached = "yes" if ours <= bound * theirs else "**no**"
        lines.append(
            f"| {name} | {unit} | {ours:.2f} | {theirs:.2f} | {bound:g} floors | {ours / theirs:.2f} | {reached} |"
        )
    return lines


def measure_connection_test(service: Server, database: PostgresServer) -> str:
    """A test of a local PostgreSQL, beside what psycopg2 itself takes for the same in a process that has it loaded."""
    user, password = database.superuser, database.password
    secrets = {
        "host": database.host,
        "port": database.port,
        "dbname": "postgres",
        "username": user,
        "password": password,
    }
    item = {"name": "Bench", "key": "bench", "connection_type": "postgres", "access": "read", "secrets": secrets}
    service.request("PATCH", "/api/v1/connection", json.dumps([item]).encode())
    ours, direct = [], []
    for number in range(41):
        started = time.perf_counter()
        status, answer = service.request("GET", "/api/v1/connection/bench/test")
        took = (time.perf_counter() - started) * 1000
        if status != 200 or json.loads(answer)["test_status"] != "succeeded":
            raise SystemExit(f"the test failed: {answer!r}")
        started = time.perf_counter()
        connection = psycopg2.connect(
            host=database.host, port=database.port, dbname="postgres", user=user, password=password
        )
        connection.cursor().execute("SELECT 1")
        connection.close()
        if number:  # the first test of a type imports its driver
            ours.append(took)
            direct.append((time.perf_counter() - started) * 1000)
    ours_ms, direct_ms = statistics.median(ours), statistics.median(direct)
    difference = ours_ms - direct_ms
    reached = "yes" if difference <= 8 else "**no**"
    figures = f"{ours_ms:.2f} | {direct_ms:.2f} | floor + 8 ms | + {difference:.2f}"
    return f"| test of a local PostgreSQL | ms | {figures} | {reached} |"


def measure_followed_test(service: Server) -> str:
    """The CPU of a test whose steps are told as they happen, beside one that only answers; in turn, for the same luck.

    That of the service and of the process that its tests are forked from: what a test itself uses is the same, and would hide
    what telling of it takes.
    """
    plain, followed = [], []
    for number in range(6):
        for accept, found in (("application/json", plain), ("text/event-stream", followed)):
            before = service.cpu()
            for _ in range(20):
                headers = {"Accept": accept}
                status, answer = service.request("POST", "/api/v1/connection/bench/test", headers=headers)
                if status != 200 or b'"succeeded"' not in answer:
                    raise SystemExit(f"the test failed: {answer!r}")
            if number:
                found.append((service.cpu() - before) / 20 * 1000)
    plain_ms, followed_ms = statistics.median(plain), statistics.median(followed)
    ratio = followed_ms / plain_ms
    figures = f"{followed_ms:.1f} | {plain_ms:.1f} | 1.3 times | {ratio:.2f} | {'yes' if ratio <= 1.3 else '**no**'}"
    return f"| a test that is followed; beside one that is not | ms of CPU | {figures} |"


def heading() -> list[str]:
    """What was measured, and where."""
    listed = subprocess.run(
        [BIN / "connectory", "plugins", "--json"], check=True, capture_output=True, text=True
    ).stdout
    loaded = sum(record["status"] == "loaded" for record in json.loads(listed))
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return [
        "# Results",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine}, {loaded} connectors loaded.",
        "Service and floor (`benchmarks/floor.py`: a bare FastAPI that reads and writes the same rows, without authentication,",
        "validation, encryption, search index or threads) were measured in the same run, in turns; medians. `Reached` is `yes`",
        "where the CPU is within the bound with 1, 8 and 32 callers, and where more callers never get less than",
        f"{LEAST:.0%} of what fewer get.",
        "",
    ]


def _create_database(server: PostgresServer, name: str) -> str:
    server.execute(f"CREATE DATABASE {name}")
    return f"postgresql://{server.superuser}:{server.password}@{server.host}:{server.port}/{name}"


def main() -> None:
    lines = heading()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectory-bench-")))
        postgres = stack.enter_context(PostgresServer(settings={"synchronous_commit": "on"}))
        urls = tuple(_create_database(postgres, name) for name in ("service", "floor"))
        sqlite = Installation(folder / "sqlite")
        lines += measure_requests(sqlite, "SQLite")
        lines += measure_requests(Installation(folder / "postgresql", urls), "PostgreSQL")
        lines += [
            "## Tests, start and memory",
            "",
            "| case | unit | service | floor | at most | measured | reached |",
            "|---|---|---|---|---|---|---|",
        ]
        with sqlite.start_service() as service:
            lines.append(measure_connection_test(service, postgres))
            lines.append(measure_followed_test(service))
        lines += measure_starts(sqlite)
        lines += measure_sessions(folder / "sessions", postgres)
        lines += measure_scale(folder / "scale")
        lines += measure_console(folder / "console")
    text = "\n".join(lines) + "\n\n" + (HERE / "NOTES.md").read_text()
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
