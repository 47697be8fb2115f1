"""Measure the service against the floor (`floor.py`) in one run, and write RESULTS.md beside this file.

Run by `make bench`. Figures are server CPU time per request (user + system, of the process and its children), so they
do not depend on the client. Each case is warmed up, then measured in alternating rounds; the median round counts.
"""

import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psutil
import psycopg2

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from servers.postgres.server import PostgresServer  # noqa: E402
from testkit.ports import free_port  # noqa: E402 - the tests' servers are not a distribution

BIN = Path(sys.executable).parent
ROUNDS = 7
DESCRIPTION = "Holds what the {} department knows of its customers, their orders and their invoices"
DEPARTMENTS = ("sales", "support", "billing", "marketing", "logistics", "research", "returns", "press")


class Server:
    """One HTTP server in a process of its own, with one keep-alive connection to it."""

    def __init__(
        self, command: list[str | Path], environment: dict[str, str], port: int, headers: dict[str, str]
    ) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
        self.port, self.headers = port, headers
        self.client = http.client.HTTPConnection("127.0.0.1", port)
        self._wait_until_ready()
        self.ready_after = time.perf_counter() - self.started
        self.cpu_at_ready = self.cpu()
        self.memory_at_ready = self.memory()

    def _wait_until_ready(self) -> None:
        while True:
            try:
                if self.request("GET", "/health")[0] == 200:
                    return
            except OSError:
                self.client.close()
            if self.process.poll() is not None or time.perf_counter() - self.started > 60:
                raise SystemExit("the server did not start")
            time.sleep(0.005)  # asking without a pause would take a core from the server

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = self.headers | ({"Content-Type": "application/json"} if body else {})
        self.client.request(method, path, body, headers)
        response = self.client.getresponse()
        return response.status, response.read()

    def cpu(self) -> float:
        """CPU seconds used so far by the process and its children."""
        return sum(sum(one.cpu_times()[:2]) for one in self._family())

    def memory(self) -> float:
        """Resident MiB of the process and its children, shared pages counted once where the kernel tells (PSS)."""
        return sum(one.memory_full_info().pss for one in self._family()) / 2**20

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(20)


@dataclass
class Result:
    case: str
    unit: str
    service: float
    floor: float
    bound: str
    met: bool


def start_floor(folder: Path, types: bytes, schema: bytes) -> Server:
    (folder / "types.json").write_bytes(types)
    (folder / "schema.json").write_bytes(schema)
    port = free_port()
    environment = {
        "FLOOR_TYPES": str(folder / "types.json"),
        "FLOOR_SCHEMA": str(folder / "schema.json"),
        "FLOOR_DATABASE": str(folder / "floor.db"),
    }
    command = [
        BIN / "uvicorn",
        "floor:app",
        "--app-dir",
        HERE,
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    return Server(command, environment, port, {})


def start_service(home: Path, token: str | None = None) -> Server:
    port = free_port()
    environment = {"CONNECTORY_HOME": str(home), "CONNECTORY_LOG_LEVEL": "warning"}
    command = [BIN / "connectory", "serve", "--port", str(port)]
    return Server(command, environment, port, {"Authorization": f"Bearer {token}"} if token else {})


def service_token(home: Path) -> str:
    environment = os.environ | {"CONNECTORY_HOME": str(home)}
    done = subprocess.run([BIN / "connectory", "token"], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def compare(
    service: Server, floor: Server, repeat: int, request: Callable[[Server, int], tuple[int, bytes]]
) -> tuple[float, float]:
    """Median CPU milliseconds per request of both, measured in turns."""
    figures: dict[Server, list[float]] = {service: [], floor: []}
    for number in range(ROUNDS + 1):
        for server in (service, floor):
            before = server.cpu()
            for index in range(repeat):
                status, body = request(server, number * repeat + index)
                if status != 200:
                    raise SystemExit(f"unexpected answer {status}: {body[:300]!r}")
            if number:  # the first round warms up
                figures[server].append((server.cpu() - before) / repeat * 1000)
    return statistics.median(figures[service]), statistics.median(figures[floor])


def items(first: int, count: int, *, secrets: bool) -> bytes:
    rows = []
    for number in range(first, first + count):
        row = {
            "name": f"Database {number:05d}",
            "key": f"database_{number:05d}",
            "connection_type": "postgres",
            "access": "read",
            "description": DESCRIPTION.format(DEPARTMENTS[number % len(DEPARTMENTS)])
            + f" ({number * 7919 % 100_003:06d})",
        }
        if secrets:
            row["secrets"] = {
                "host": "db.example.com",
                "port": 5432,
                "dbname": "app",
                "username": "reader",
                "password": f"pw-{number}",
            }
        rows.append(row)
    return json.dumps(rows).encode()


def fill(servers: tuple[Server, ...], first: int, last: int) -> None:
    for start in range(first, last, 50):
        body = items(start, min(50, last - start), secrets=False)
        for server in servers:
            status, answer = server.request("PATCH", "/api/v1/connection", body)
            if status != 200:
                raise SystemExit(f"filling failed with {status}: {answer[:300]!r}")


def measure_requests(service: Server, floor: Server) -> list[Result]:
    results = []

    def case(
        name: str, bound: float, repeat: int, method: str, path: str, body: Callable[[int], bytes] | None = None
    ) -> None:
        ours, theirs = compare(
            service, floor, repeat, lambda server, number: server.request(method, path, body(number) if body else None)
        )
        results.append(Result(name, "ms CPU", ours, theirs, f"≤ {bound:g} floors", ours <= bound * theirs))

    case("GET /connection_type", 2, 400, "GET", "/api/v1/connection_type?size=100")
    case("GET /connection_type/postgres/secret", 2, 400, "GET", "/api/v1/connection_type/postgres/secret")
    fill((service, floor), 0, 1_000)
    case("GET /connection?size=50, 1,000 rows", 3, 100, "GET", "/api/v1/connection?size=50")
    fill((service, floor), 1_000, 10_000)
    case("GET /connection?size=50, 10,000 rows", 3, 60, "GET", "/api/v1/connection?size=50")
    case("substring search, 10,000 rows", 1, 40, "GET", "/api/v1/connection?size=50&search=07919")
    case(
        "PATCH /connection, 50 with secrets",
        5,
        40,
        "PATCH",
        "/api/v1/connection",
        lambda n: items(20_000 + n * 50, 50, secrets=True),
    )
    return results


def measure_starts(folder: Path, types: bytes, schema: bytes) -> list[Result]:
    """Cold start and memory; each server is started several times, in turns, on an existing database."""
    starts: dict[str, list[tuple[float, float]]] = {"service": [], "floor": []}
    for _ in range(9):
        with start_service(folder / "starts") as service:
            starts["service"].append((service.ready_after, service.memory_at_ready))
        with start_floor(folder, types, schema) as floor:
            starts["floor"].append((floor.ready_after, floor.memory_at_ready))
    ready, memory = (
        {name: statistics.median(v[index] for v in values) for name, values in starts.items()} for index in (0, 1)
    )
    return [
        Result(
            "cold start to /health",
            "s",
            ready["service"],
            ready["floor"],
            "≤ 2 floors",
            ready["service"] <= 2 * ready["floor"],
        ),
        Result(
            "memory after start (PSS)",
            "MiB",
            memory["service"],
            memory["floor"],
            "≤ 2 floors",
            memory["service"] <= 2 * memory["floor"],
        ),
    ]


def measure_connection_test(service: Server) -> Result:
    """A connection test against a local PostgreSQL, over what psycopg2 itself takes for the same."""
    with PostgresServer() as database:
        secrets = {
            "host": database.host,
            "port": database.port,
            "dbname": "postgres",
            "username": database.superuser,
            "password": database.password,
        }
        body = json.dumps(
            [{"name": "Bench", "key": "bench", "connection_type": "postgres", "access": "read", "secrets": secrets}]
        ).encode()
        service.request("PATCH", "/api/v1/connection", body)
        ours, direct = [], []
        for number in range(31):
            started = time.perf_counter()
            status, answer = service.request("GET", "/api/v1/connection/bench/test")
            ours.append((time.perf_counter() - started) * 1000)
            if status != 200 or json.loads(answer)["test_status"] != "succeeded":
                raise SystemExit(f"the test failed: {answer!r}")
            started = time.perf_counter()
            connection = psycopg2.connect(
                host=database.host,
                port=database.port,
                dbname="postgres",
                user=database.superuser,
                password=database.password,
            )
            connection.cursor().execute("SELECT 1")
            connection.close()
            direct.append((time.perf_counter() - started) * 1000)
            if number == 0:  # the first test of a type imports its driver
                first = ours.pop()
                direct.pop()
    service_ms, direct_ms = statistics.median(ours), statistics.median(direct)
    print(f"first test of the type: {first:.0f} ms")
    return Result(
        "test against a local PostgreSQL",
        "ms wall",
        service_ms,
        direct_ms,
        "≤ psycopg2 + 30 ms",
        service_ms <= direct_ms + 30,
    )


def write_results(results: list[Result]) -> None:
    connectors = subprocess.run(
        [BIN / "connectory", "plugins", "--json"], check=True, capture_output=True, text=True
    ).stdout
    loaded = sum(record["status"] == "loaded" for record in json.loads(connectors))
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    lines = [
        "# Results",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine}, {loaded} connectors loaded.",
        "Service and floor (`benchmarks/floor.py`: a bare FastAPI with sqlite3 and orjson, without authentication,",
        "validation or encryption) were measured in the same run, in turns.",
        "",
        "| case | unit | service | floor | ratio | to reach | reached |",
        "|---|---|---|---|---|---|---|",
        *(_row(result) for result in results),
        "",
    ]
    notes = HERE / "NOTES.md"
    text = "\n".join(lines) + (("\n" + notes.read_text()) if notes.exists() else "")
    (HERE / "RESULTS.md").write_text(text)
    print(text)


def _row(result: Result) -> str:
    reached = "yes" if result.met else "**no**"
    ratio = result.service / result.floor
    figures = f"{result.service:.2f} | {result.floor:.2f} | {ratio:.2f}"
    return f"| {result.case} | {result.unit} | {figures} | {result.bound} | {reached} |"


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectory-bench-")))
        with start_service(folder / "home") as first:
            token = service_token(folder / "home")
            first.headers = {"Authorization": f"Bearer {token}"}
            first.client.close()  # the server may have given up the idle connection meanwhile
            types = first.request("GET", "/api/v1/connection_type?size=100")[1]
            schema = first.request("GET", "/api/v1/connection_type/postgres/secret")[1]
        service = stack.enter_context(start_service(folder / "home", token))
        floor = stack.enter_context(start_floor(folder, types, schema))
        results = measure_requests(service, floor)
        results.append(measure_connection_test(service))
        results += measure_starts(folder, types, schema)
    write_results(results)


if __name__ == "__main__":
    main()
