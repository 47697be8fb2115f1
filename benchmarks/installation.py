"""The two servers that are compared, each in a process of its own."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Self

import psutil

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from connectory.testing.ports import free_port  # noqa: E402 - the tests' servers are not a distribution

BIN = Path(sys.executable).parent


class Server:
    """One HTTP server in a process of its own.

    Attributes:
        headers: what every request carries.
        ready_after: seconds from the start of the process to the first answer.
        memory_at_ready: MiB at that moment.
    """

    def __init__(self, command: list[str | Path], environment: dict[str, str], port: int) -> None:
        self.port = port
        self.headers: dict[str, str] = {}
        started = time.perf_counter()
        self._process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
        self._wait_until_ready(started)
        self.ready_after = time.perf_counter() - started
        self.memory_at_ready = self.memory()

    def _wait_until_ready(self, started: float) -> None:
        while True:
            try:
                if self.request("GET", "/health")[0] == 200:
                    return
            except OSError:
                pass
            if self._process.poll() is not None or time.perf_counter() - started > 60:
                raise SystemExit("the server did not start")
            time.sleep(0.005)  # asking without a pause would take a core from the server

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        sent = self.headers | ({"Content-Type": "application/json"} if body else {}) | dict(headers or {})
        client = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            client.request(method, path, body, sent)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def cpu(self) -> float:
        """CPU seconds used so far by the process and its children.

        From what the scheduler counts of each thread, in nanoseconds (proc(5), `schedstat`): the times of a process are counted
        in ticks of 10 ms, which is more than some rounds take.
        """
        threads = (Path(f"/proc/{one.pid}/task").glob("*/schedstat") for one in self._family())
        used = 0
        for thread in chain.from_iterable(threads):
            with suppress(ProcessLookupError, FileNotFoundError):  # one that has ended since it was listed
                used += int(thread.read_text().split()[0])
        return used / 1e9

    def memory(self) -> float:
        """MiB of the process and its children, shared pages counted once (PSS)."""
        return sum(one.memory_full_info().pss for one in self._family()) / 2**20

    def own_memory(self) -> float:
        """MiB of the process alone (PSS)."""
        return float(psutil.Process(self._process.pid).memory_full_info().pss) / 2**20

    def _family(self) -> list[psutil.Process]:
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)


class Installation:
    """Where both servers keep what they store, and how they are started on it.

    Args:
        folder: is created.
        database_urls: two databases of a PostgreSQL, for the service and for the floor. Default: each has a SQLite file.
    """

    def __init__(self, folder: Path, database_urls: tuple[str, ...] | None = None) -> None:
        folder.mkdir(parents=True)
        self._service = {"CONNECTORY_HOME": str(folder / "home"), "CONNECTORY_LOG_LEVEL": "warning"}
        self._service["CONNECTORY_EGRESS_ALLOW_LOOPBACK"] = "true"  # where the servers that are tested listen
        self._service["CONNECTORY_TEST_BURST"] = "1000"  # more tests than one client may ask for in the time
        self._floor = {
            "FLOOR_TYPES": str(folder / "types.json"),
            "FLOOR_SCHEMA": str(folder / "schema.json"),
            "FLOOR_DATABASE": str(folder / "floor.db"),
        }
        client: list[str] = []
        if database_urls is not None:
            keys = folder / "keys.json"
            self._service |= {"CONNECTORY_DATABASE_URL": database_urls[0], "CONNECTORY_KEYS_FILE": str(keys)}
            self._floor["FLOOR_DATABASE"] = database_urls[1]
            self.run("keys", "generate", str(keys))
            self.run("db", "upgrade")
            client = ["--client", json.loads(self.run("client", "create", "bench"))["client_id"]]
        self._token = self.run("token", *client).strip()
        with self.start_service() as service:
            for name, path in {"types": "?size=100", "schema": "/postgres/secret"}.items():
                body = service.request("GET", f"/api/v1/connection_type{path}")[1]
                (folder / f"{name}.json").write_bytes(body)

    def add_settings(self, settings: dict[str, str]) -> None:
        """Start the service with these variables as well from now on."""
        self._service |= settings

    def start_service(self) -> Server:
        """The service, and the token that its requests carry."""
        port = free_port()
        server = Server([BIN / "connectory", "serve", "--port", str(port)], self._service, port)
        server.headers = {"Authorization": f"Bearer {self._token}"}
        return server

    def start_floor(self) -> Server:
        """The floor, by the same server and with the same event loop as the service."""
        port = free_port()
        options = ["--app-dir", HERE, "--port", str(port), "--no-access-log", "--log-level", "warning"]
        return Server([BIN / "uvicorn", "floor:app", *options], self._floor, port)

    def run(self, *arguments: str) -> str:
        """What a command prints that works on what is stored here."""
        command = [BIN / "connectory", *arguments]
        return subprocess.run(
            command, env=os.environ | self._service, check=True, capture_output=True, text=True
        ).stdout
