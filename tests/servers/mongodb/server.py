"""A server that speaks MongoDB's wire protocol, on loopback: SecantusDB, which stores with WiredTiger.

Engine: SecantusDB, an independent implementation, not MongoDB's code. Its licence is GPL-2.0, so it runs in a
process of its own and is a tool of the tests only. A green test shows that pymongo logs in with SCRAM-SHA-256, that
TLS and its failures, wrong credentials and missing rights are told apart. It does not show: SCRAM-SHA-1 and X.509
(not implemented), replica sets and `mongodb+srv://`, or MongoDB's exact error texts. An unknown database reads as
empty, as it does in MongoDB.
"""

import contextlib
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pymongo

from connectory.testing.certificates import ServerCertificate
from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerFailed, ServerProcess
from testkit.loopback import LoopbackServer, forward_from_ipv6
from testkit.processes import LocalServer


class MongoDBServer(LocalServer):
    """One server with authentication on, on 127.0.0.1 and (where the machine has it) ::1.

    With `certificate` it takes TLS connections only. `superuser` (database `admin`, role `root`) has `password`.
    Start it with `start()` or as a context manager; starting raises ServerFailed with the log.
    """

    folder_name = "mongodb"
    superuser = "root"

    def __init__(self, *, password: str | None = None, certificate: ServerCertificate | None = None) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self.password = password or secrets.token_urlsafe(16)
        self._certificate = certificate
        self._ipv6: LoopbackServer | None = None

    def __repr__(self) -> str:
        return f"MongoDBServer({self.host}:{self.port})"

    def _start(self, folder: Path) -> None:
        self.port = free_port()
        self._create_superuser()
        self._run("--auth", *self._tls_options())
        self._ipv6 = forward_from_ipv6(self.port).start()

    def stop(self) -> None:
        """Stop the server and delete its data. Calling it again does nothing."""
        if self._ipv6:
            self._ipv6.stop()
            self._ipv6 = None
        super().stop()

    def client(self) -> pymongo.MongoClient:
        """A new client logged in as the superuser. Close it."""
        return pymongo.MongoClient(
            self.host,
            self.port,
            username=self.superuser,
            password=self.password,
            authSource="admin",
            directConnection=True,
            serverSelectionTimeoutMS=10_000,
            **({"tls": True, "tlsAllowInvalidCertificates": True} if self._certificate else {}),  # it is our own server
        )

    def create_user(self, name: str, password: str, *, database: str, roles: Sequence[str] = ("readWrite",)) -> None:
        """Create a user that logs in with `authSource=database` and has `roles` there."""
        with self.client() as client:
            client[database].command("createUser", name, pwd=password, roles=list(roles))

    def create_collection(self, database: str, name: str) -> None:
        """Create an empty collection, and with it its database."""
        with self.client() as client:
            client[database].create_collection(name)

    def _create_superuser(self) -> None:
        # A run without authentication first: like mongod, it takes the first user from anybody only then.
        self._run("--sync-on-commit")
        with contextlib.closing(
            pymongo.MongoClient(self.host, self.port, directConnection=True, serverSelectionTimeoutMS=10_000)
        ) as client:
            client["admin"].command("createUser", self.superuser, pwd=self.password, roles=["root"])
        self._process.stop()

    def _run(self, *options: str) -> None:
        program = Path(sys.executable).with_name("secantusd-py")
        if not program.exists():
            raise ServerFailed(f"{program} does not exist: run `make install`, which installs the package secantusdb.")
        command = [program, "--host", self.host, "--port", str(self.port), "--storage-path", self._folder / "data"]
        command += ["--standalone", "--cache-size", "64M", "--log-level", "WARNING", *options]
        self._process = ServerProcess(
            "SecantusDB",
            command,
            log=self._folder / "log",
            environment={"HOME": str(self._folder)},  # it would read a configuration from the real one
            folder=self._folder,
            stop_signal=signal.SIGKILL,  # its orderly end takes 2 s, and what must outlive the process is synced
        )
        self._process.wait_for_port(self.port)

    def _tls_options(self) -> list[str]:
        if self._certificate is None:
            return []
        files = self._certificate
        return ["--tls-cert-file", str(files.chain_file), "--tls-key-file", str(files.key_file)]
