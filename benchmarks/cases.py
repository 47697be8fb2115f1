"""What is asked of both servers, and what they took for it with 1, 8 and 32 callers."""

import itertools
import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from callers import request_bytes, send_all
from installation import Server

CALLERS = (1, 8, 32)
ROUNDS = 7
READS, WRITES = 3.0, 5.0
"""Floors of CPU that a request may take, with any number of callers."""

_DESCRIPTION = "Holds what the {} department knows of its customers, their orders and their invoices"
_DEPARTMENTS = ("sales", "support", "billing", "marketing", "logistics", "research", "returns", "press")
_SECRETS = {"host": "db.example.com", "port": 5432, "dbname": "app", "username": "reader"}


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Attributes:
        bound: floors of CPU that it may take.
        repeat: requests to a round.
        body: of the request with this number. Default: none.
    """

    name: str
    bound: float
    repeat: int
    method: str
    path: str
    body: Callable[[int], bytes] = field(default=lambda _: b"")


@dataclass(frozen=True)
class Figures:
    """Of one case with one number of callers: CPU milliseconds to a request, and answers a second."""

    service_cpu: float
    floor_cpu: float
    service_throughput: float
    floor_throughput: float

    @property
    def ratio(self) -> float:
        """Floors of CPU."""
        return self.service_cpu / self.floor_cpu


def items(first: int, count: int, *, secrets: bool) -> bytes:
    """A bulk request that makes connections of these numbers."""
    return json.dumps([_item(number, secrets=secrets) for number in range(first, first + count)]).encode()


def _item(number: int, *, secrets: bool) -> dict[str, object]:
    department = _DEPARTMENTS[number % len(_DEPARTMENTS)]
    item: dict[str, object] = {
        "name": f"Database {number:05d}",
        "key": f"database_{number:05d}",
        "connection_type": "postgres",
        "access": "read",
        "description": f"{_DESCRIPTION.format(department)} ({number * 7919 % 100_003:06d})",
    }
    return item | ({"secrets": _SECRETS | {"password": f"pw-{number}"}} if secrets else {})


def dataset(number: int) -> bytes:
    """A request that saves a dataset of 10 collections of 10 fields, as a dump of a small schema has."""
    fields = [{"name": f"field_{index}", "data_categories": ["user.contact.email"]} for index in range(10)]
    collections = [{"name": f"table_{index}", "fields": fields} for index in range(10)]
    return json.dumps([{"fides_key": f"dataset_{number}", "name": "Orders", "collections": collections}]).encode()


_LIST = "/api/v1/connection?size=50"
_ONE = "/api/v1/connection/database_00001"

SMALL = (
    Case("connection types", READS, 300, "GET", "/api/v1/connection_type?size=100"),
    Case("schema of secrets", READS, 300, "GET", "/api/v1/connection_type/postgres/secret"),
    Case("one connection", READS, 200, "GET", _ONE),
    Case("50 of 1,000 connections", READS, 100, "GET", _LIST),
)
LARGE = (
    Case("50 of 10,000 connections", READS, 64, "GET", _LIST),
    Case("substring search in 10,000", READS, 64, "GET", f"{_LIST}&search=07919"),
    Case(
        "set secrets, no test",
        WRITES,
        100,
        "PUT",
        f"{_ONE}/secret?verify=false",
        lambda number: json.dumps(_SECRETS | {"password": f"pw-{number}"}).encode(),
    ),
    Case("save a dataset", WRITES, 64, "PATCH", f"{_ONE}/dataset", lambda number: dataset(number % 50)),
    Case(
        "save 50 connections with secrets",
        WRITES,
        32,
        "PATCH",
        "/api/v1/connection",
        lambda number: items(20_000 + number * 50, 50, secrets=True),
    ),
)


def fill(servers: tuple[Server, ...], first: int, last: int) -> None:
    """Make the connections of these numbers; the first fifty have secrets."""
    for start in range(first, last, 50):
        body = items(start, min(50, last - start), secrets=start == 0)
        for server in servers:
            status, answer = server.request("PATCH", "/api/v1/connection", body)
            if status != 200:
                raise SystemExit(f"filling failed with {status}: {answer[:300]!r}")


def measure(case: Case, service: Server, floor: Server) -> dict[int, Figures]:
    """Figures by number of callers: medians of rounds, the servers and the numbers of callers in turns.

    What changes meanwhile, as tables grow and the machine has other work, then changes all figures alike.
    """
    cpu: dict[tuple[int, Server], list[float]] = defaultdict(list)
    throughput: dict[tuple[int, Server], list[float]] = defaultdict(list)
    numbers = itertools.count()
    for round_number in range(ROUNDS + 1):
        for callers in CALLERS:
            bodies = [case.body(next(numbers)) for _ in range(case.repeat)]
            for server in (service, floor):
                requests = [request_bytes(case.method, case.path, server.headers, body) for body in bodies]
                before = server.cpu()
                load = send_all(server.port, iter(requests), callers)
                if round_number:  # the first round warms up
                    cpu[callers, server].append((server.cpu() - before) / case.repeat * 1000)
                    throughput[callers, server].append(load.throughput)
    return {
        callers: Figures(
            *(statistics.median(found[callers, server]) for found in (cpu, throughput) for server in (service, floor))
        )
        for callers in CALLERS
    }
