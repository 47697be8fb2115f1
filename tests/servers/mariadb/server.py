"""A real MariaDB 10.11 on loopback, from Debian's packages.

Engine: MariaDB itself as Debian builds it, with TLS by its own library. Not proven: other major versions, PAM,
GSSAPI and ed25519 authentication (their plugins are in packages that are not unpacked), and anything of MySQL (see
`servers.mysql.server`).
"""

import secrets
import shutil
from pathlib import Path

import pymysql

from connectory.testing.certificates import ServerCertificate
from connectory.testing.ports import IPV4_LOOPBACK, free_port, loopback_addresses
from connectory.testing.processes import ServerProcess
from testkit.debian import MARIADB_PACKAGES, libraries_in, unpacked
from testkit.processes import LocalServer, give_to_unprivileged_account, run, unprivileged_account

# Small buffers and no flush at commit: the data goes with the server.
_SETTINGS = (
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-name-resolve",
)


class MariaDBServer(LocalServer):
    """One MariaDB server, with its own data, on 127.0.0.1 and (where the machine has it) ::1.

    With `certificate` it offers TLS, and with `require_tls` it turns plain connections away. `superuser` has
    `password`. Start it with `start()` or as a context manager; starting raises ServerFailed with the log.
    """

    folder_name = "mariadb"
    superuser = "root"

    def __init__(
        self, *, password: str | None = None, certificate: ServerCertificate | None = None, require_tls: bool = False
    ) -> None:
        if require_tls and certificate is None:
            raise ValueError("require_tls needs a certificate")
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self.password = password or secrets.token_urlsafe(16)
        self._certificate = certificate
        self._require_tls = require_tls

    def __repr__(self) -> str:
        return f"MariaDBServer({self.host}:{self.port})"

    def _start(self, folder: Path) -> None:
        root = unpacked("mariadb", MARIADB_PACKAGES)
        data, sockets, temporary = folder / "data", folder / "socket", folder / "tmp"
        for own in (data, sockets, temporary):
            own.mkdir(mode=0o700)
            give_to_unprivileged_account(own)
        environment = _environment(root, folder)
        # Its own temporary folder: a MariaDB deletes at its start the temporary tables it finds there, another
        # server's too.
        common = ["--no-defaults", f"--basedir={root}/usr", f"--datadir={data}", f"--tmpdir={temporary}"]
        common += _SETTINGS
        install = [root / "usr/bin/mariadb-install-db", *common]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        run("mariadb-install-db", install, env=environment, cwd=folder, **unprivileged_account())
        self.port = free_port()
        server = [root / "usr/sbin/mariadbd", *common, f"--lc-messages-dir={root}/usr/share/mysql"]
        server += [f"--bind-address={','.join(loopback_addresses())}", f"--port={self.port}"]
        server += [f"--socket={sockets}/s", f"--pid-file={sockets}/pid", *self._tls_options()]
        self._process = ServerProcess(
            "MariaDB", server, log=folder / "log", environment=environment, folder=folder, unprivileged=True
        )
        self._process.wait_for_port(self.port)
        self._protect_superuser()

    def execute(self, statement: str, *arguments: object, database: str | None = None) -> list[tuple]:
        """Run one statement as the superuser, on the server's own unix socket, and return its rows."""
        return self._execute(statement, arguments, password=self.password, database=database)

    def create_database(self, name: str) -> None:
        """Create an empty database."""
        self.execute(f"CREATE DATABASE {_identifier(name)}")

    def create_user(self, name: str, password: str, *, database: str | None = None, privileges: str = "ALL") -> None:
        """Create a user that may come from any address, authenticated by mysql_native_password.

        With `database` it gets `privileges` there; otherwise it may log in and nothing else. An empty password is none.
        """
        self.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", name, password)
        if database is not None:
            target = _identifier(database).replace("%", "%%")
            self.execute(f"GRANT {privileges} ON {target}.* TO %s@'%%'", name)

    def _execute(self, statement: str, arguments: tuple, *, password: str, database: str | None = None) -> list[tuple]:
        connection = pymysql.connect(
            unix_socket=str(self._folder / "socket" / "s"),
            user=self.superuser,
            password=password,
            database=database,
            autocommit=True,
            ssl_disabled=True,  # a socket on this machine needs none, and whom it trusts would be read for each statement
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def _tls_options(self) -> list[str]:
        if self._certificate is None:
            return []
        # Copies, because the key is readable by its owner only and the server may run as another account.
        chain, key = self._folder / "server.pem", self._folder / "server.key"
        shutil.copy(self._certificate.chain_file, chain)
        shutil.copy(self._certificate.key_file, key)
        give_to_unprivileged_account(chain, key)
        options = [f"--ssl-cert={chain}", f"--ssl-key={key}"]
        return [*options, "--require-secure-transport=ON"] if self._require_tls else options

    def _protect_superuser(self) -> None:
        # A new data folder has the superuser once per local address, each without a password. The one we use comes
        # last.
        for host in ("127.0.0.1", "::1", "localhost"):
            account = f"{self.superuser}@'{host}'"
            self._execute(f"ALTER USER {account} IDENTIFIED BY %s", (self.password,), password="")


def _environment(root: Path, folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{root}/usr/bin:{root}/usr/sbin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": libraries_in(root),
        "HOME": str(folder),
    }


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
