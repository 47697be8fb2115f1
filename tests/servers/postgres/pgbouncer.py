"""A real PgBouncer 1.18 in transaction mode, from Debian's packages, in front of a PostgreSQL.

Engine: PgBouncer itself. It lets any client in, and logs in to the server as its superuser. It refuses start-up `options`, as it
does unless it is told otherwise. Not proven: session and statement modes, its own ways of authenticating, TLS, later versions.
"""

from pathlib import Path

from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerProcess
from servers.postgres.server import PostgresServer
from testkit.debian import PGBOUNCER_PACKAGES, libraries_in, unpacked
from testkit.processes import LocalServer, give_to_unprivileged_account


class PgBouncer(LocalServer):
    """One PgBouncer on 127.0.0.1, with `size` connections to each database of `backend`."""

    folder_name = "pgbouncer"

    def __init__(self, backend: PostgresServer, *, size: int) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self._backend = backend
        self._size = size

    def _start(self, folder: Path) -> None:
        root = unpacked("pgbouncer", PGBOUNCER_PACKAGES)
        self.port = free_port()
        backend = self._backend
        configuration = folder / "pgbouncer.ini"
        configuration.touch(mode=0o600)
        configuration.write_text(
            "[databases]\n"
            f"* = host={backend.host} port={backend.port} user={backend.superuser} password={backend.password}\n"
            "[pgbouncer]\n"
            f"listen_addr = {self.host}\n"
            f"listen_port = {self.port}\n"
            "unix_socket_dir =\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {self._size}\n"
        )
        give_to_unprivileged_account(configuration)
        self._process = ServerProcess(
            "PgBouncer",
            [root / "usr/sbin/pgbouncer", configuration],
            log=folder / "log",
            environment={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": libraries_in(root)},
            folder=folder,
            unprivileged=True,
        )
        self._process.wait_for_port(self.port)
