"""Amazon Redshift's login, in front of a real PostgreSQL.

Engine: the embedded PostgreSQL 18 with `md5` passwords (the driver's SCRAM does not fit PostgreSQL's). Redshift's
driver sends start-up parameters that PostgreSQL refuses, `client_protocol_version` for one; the front takes them
out. A green test shows that redshift_connector logs in, verifies TLS, and that bad credentials, databases and
schemas are told apart. It does not show: Redshift's SQL and system views (`svv_...`, `stv_...`), IAM and
identity-provider logins, or Redshift's own error texts.
"""

from collections.abc import Mapping
from typing import Self

from connectory.testing.certificates import ServerCertificate
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront, TlsMode

_POSTGRES_KNOWS = frozenset({"user", "database", "application_name", "options", "client_encoding"})


def startup_for_postgres(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The start-up parameters of a Redshift driver without those that PostgreSQL does not know."""
    return {name: value for name, value in parameters.items() if name in _POSTGRES_KNOWS}


class RedshiftServer:
    """One server that takes Redshift's driver, on 127.0.0.1 and (where the machine has it) ::1.

    TLS as in PostgresTlsFront: "offered" or "required" with a `certificate`, else "not offered". `front` records the
    start-up packets and all bytes received; `backend` is the PostgreSQL behind it, for more fronts or for its
    methods.
    """

    def __init__(self, *, certificate: ServerCertificate | None = None, mode: TlsMode | None = None) -> None:
        mode = mode or ("offered" if certificate else "not offered")
        self.backend = PostgresServer(auth_host="md5")
        self.front = PostgresTlsFront(self.backend, certificate, mode=mode, rewrite=startup_for_postgres)
        self.superuser = self.backend.superuser
        self.password = self.backend.password
        self.host = self.front.host

    @property
    def port(self) -> int:
        return self.front.port

    def start(self) -> Self:
        self.backend.start()
        self.front.start()
        return self

    def stop(self) -> None:
        """Stop both servers and delete the data. Calling it again does nothing."""
        self.front.stop()
        self.backend.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def execute(self, statement: str, *arguments: object, database: str = "postgres") -> list[tuple]:
        """Run one statement as the superuser and return its rows."""
        return self.backend.execute(statement, *arguments, database=database)

    def create_database(self, name: str, *, owner: str | None = None) -> None:
        """Create a database, owned by the superuser unless `owner` names a user."""
        self.backend.create_database(name, owner=owner)

    def create_user(self, name: str, password: str) -> None:
        """Create a user that may log in to every database and owns nothing."""
        self.backend.create_role(name, password)
