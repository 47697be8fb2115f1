"""How each connector is led to each kind of far end: one row per connector, one cell per behaviour.

Where a protocol has its own form of a behaviour, the server is the protocol's; elsewhere it is one of `connectory.testing`.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from connectory.testing import (
    FarEnd,
    Trial,
    black_hole,
    bombing_server,
    dripping_server,
    flooding_server,
    load_connector,
    read_settings,
    redirecting_server,
    reflecting_server,
    refused_port,
    silent_server,
)
from connectory.testing.certificates import Certificates
from servers.bigquery.server import BigQueryServer
from servers.mariadb.server import MariaDBServer
from servers.mongodb import hostile as mongodb
from servers.mssql import hostile as mssql
from servers.mysql import hostile as mysql
from servers.mysql.server import MySQL8Front
from servers.postgres.server import PostgresServer
from servers.redshift import hostile as redshift
from servers.saas import VENDORS, ConsentVendor, TokenVendor, Vendor
from servers.saas.misbehaviour import other_protocol, silence
from servers.saas.web import Answer, Asked, WebServer, as_json
from testkit import hostile
from testkit.loopback import LoopbackServer

PASSWORD = "Zq-marker-5f0e-of-the-password"

Server = Any
"""Whatever has a `host` and a `port`."""


class Cell(NamedTuple):
    """What starts the far end, and the changes to the row's secrets that lead there.

    Attributes:
        tls: whether a web service is asked through https.
    """

    start: Callable[[], AbstractContextManager[Server]]
    changes: Mapping[str, Any] = {}
    tls: bool = False


@dataclass(frozen=True)
class Row:
    """A connector and its cells, by behaviour.

    Attributes:
        settings: the deployer's, by the url of the far end; without them the secrets name host and port.
        tokens: what an earlier consent brought, where the connector works with such tokens.
    """

    identifier: str
    distribution: str
    secrets: Mapping[str, Any]
    cells: Mapping[str, Cell]
    settings: Callable[[str], dict[str, str]] | None = None
    tokens: Callable[[Server], Mapping[str, Any] | None] = field(default=lambda _: None)

    def trial(self, behaviour: str, server: Server) -> Trial:
        """The test of the connection to `server`."""
        cell = self.cells[behaviour]
        payload, connector = dict(self.secrets), _connector(self.identifier, self.distribution)
        if self.settings is None:
            payload |= {"host": server.host, "port": server.port}
        else:
            environment = self.settings(f"{'https' if cell.tls else 'http'}://{server.host}:{server.port}")
            settings = read_settings(type(connector.plugin().settings), environment)
            connector = connector.configured(settings.model_dump(mode="json", exclude_unset=True))
        return Trial(connector, payload | cell.changes, self.tokens(server))


_connector = cache(load_connector)


def rows(
    certificates: Certificates, postgres: PostgresServer, mariadb: MariaDBServer, elsewhere: FarEnd
) -> dict[str, list[Row]]:
    """The rows, by what is tested at the same time. No far end of theirs may lead anybody `elsewhere`."""
    verified = {"host": "localhost", "ssl_mode": "verify-full", "ssl_ca": certificates.ca_pem}
    web = _web_cells(certificates, elsewhere)
    return {
        "PostgreSQL and MySQL": [
            _postgres(certificates, postgres, verified),
            *_mysql_family(certificates, mariadb, verified),
        ],
        "Redshift and SQL Server": [_redshift(certificates, verified), _mssql(certificates, elsewhere)],
        "MongoDB and warehouses": [_mongodb(certificates, elsewhere), _snowflake(web), _bigquery(web)],
        "web services": [_vendor(vendor, web) for vendor in VENDORS],
    }


_ANY_PROTOCOL = {
    "refused": Cell(refused_port),
    "black hole": Cell(black_hole),
    "silent": Cell(silent_server),
    "wrong protocol": Cell(hostile.speaks_ssh),
}


def _postgres(certificates: Certificates, server: PostgresServer, verified: Mapping[str, Any]) -> Row:
    plain = {"ssl_mode": "disabled"}
    cells = _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: hostile.postgres_silent_after_tls(certificates.server)),
        "silent after login": Cell(hostile.postgres_never_answers_a_query),
        "drip": Cell(hostile.postgres_drips),
        "flood": Cell(hostile.postgres_floods_the_answer),
        "bomb": Cell(lambda: bombing_server(b"R"), plain),
        "refused login": Cell(lambda: hostile.postgres_rejects("28P01")),
        "reflects": Cell(lambda: hostile.postgres_reflects_the_password(certificates.server), verified),
        "downgrade": Cell(hostile.postgres_reflects_the_password, verified),
        "success": Cell(
            lambda: _running(server), {"username": server.superuser, "password": server.password, "dbname": "postgres"}
        ),
    }
    return Row("postgres", "connectory-postgres", _database("username", "dbname"), cells)


def _redshift(certificates: Certificates, verified: Mapping[str, Any]) -> Row:
    plain = {"ssl_mode": "disabled"}
    cells = _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: hostile.postgres_silent_after_tls(certificates.server)),
        "silent after login": Cell(hostile.postgres_never_answers_a_query, plain),
        "drip": Cell(hostile.postgres_drips, plain),
        "flood": Cell(redshift.floods_the_answer, plain),
        "bomb": Cell(lambda: bombing_server(b"R"), plain),
        "refused login": Cell(lambda: hostile.postgres_rejects("28P01"), plain),
        "reflects": Cell(lambda: hostile.postgres_reflects_the_password(certificates.server), verified),
        "downgrade": Cell(hostile.postgres_reflects_the_password, verified),
    }
    return Row("redshift", "connectory-redshift", _database("user", "database") | {"ssl_mode": "preferred"}, cells)


def _mysql_family(certificates: Certificates, server: MariaDBServer, verified: Mapping[str, Any]) -> list[Row]:
    cells = _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: mysql.silent_after_tls(certificates.server)),
        "silent after login": Cell(mysql.never_answers_a_query),
        "drip": Cell(mysql.drips_the_greeting),
        "flood": Cell(lambda: mysql.floods_the_answer(2 * 1024**3)),
        "bomb": Cell(bombing_server),
        "refused login": Cell(lambda: mysql.rejects(1045)),
        "reflects": Cell(lambda: reflecting_server(mysql.GREETING)),
        "downgrade": Cell(lambda: mysql.chooses_login("mysql_clear_password"), verified),
    }
    superuser = {"username": server.superuser, "password": server.password, "dbname": "mysql"}
    own = {"ssl_mode": "verify-full", "ssl_ca": certificates.ca_pem}
    mariadb_cells = cells | {"success": Cell(lambda: _running(server), superuser | own)}
    mysql_cells = cells | {
        "success": Cell(lambda: MySQL8Front(server, certificate=certificates.server), superuser | own)
    }
    secrets = _database("username", "dbname")
    return [
        Row("mysql", "connectory-mysql", secrets, mysql_cells),
        Row("mariadb", "connectory-mariadb", secrets, mariadb_cells),
    ]


def _mssql(certificates: Certificates, elsewhere: FarEnd) -> Row:
    trusting = {"ssl_ca": certificates.ca_pem}
    cells = _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: mssql.never_answers_a_login(certificates.server), trusting),
        "silent after login": Cell(lambda: mssql.never_answers_a_query(certificates.server), trusting),
        "drip": Cell(lambda: hostile.slow_drip(b"\x04\x01\x7f\xff\0\0\1\0")),
        "flood": Cell(lambda: mssql.floods_the_login_answer(certificates.server), trusting),
        "bomb": Cell(lambda: bombing_server(b"\x04\x01\xff\xff\0\0\1\0")),
        "refused login": Cell(lambda: mssql.rejects_logins(certificates.server, 18456, text="no"), trusting),
        "reflects": Cell(reflecting_server),
        "downgrade": Cell(mssql.encrypts_nothing, {"ssl_mode": "required"}),
        "second host": Cell(
            lambda: mssql.redirects_logins(certificates.server, elsewhere.host, elsewhere.port), trusting
        ),
    }
    return Row("mssql", "connectory-mssql", _database("username", "dbname"), cells)


def _mongodb(certificates: Certificates, elsewhere: FarEnd) -> Row:
    cells = _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: hostile.silent_after_tls(certificates.server), {"ssl_mode": "required"}),
        "silent after login": Cell(mongodb.never_answers_a_ping),
        "drip": Cell(lambda: hostile.slow_drip(b"\xff\xff\x00\x00")),
        "flood": Cell(flooding_server),
        "bomb": Cell(bombing_server),
        "refused login": Cell(lambda: mongodb.rejects(18, "no")),
        "reflects": Cell(reflecting_server),
        "downgrade": Cell(mongodb.knows_plain_logins_only, {"ssl_mode": "verify-full"}),
        "second host": Cell(lambda: mongodb.names_other_members([(elsewhere.host, elsewhere.port)])),
    }
    return Row("mongodb", "connectory-mongodb", _database("username", "defaultauthdb"), cells)


def _web_cells(certificates: Certificates, elsewhere: FarEnd) -> dict[str, Cell]:
    return _ANY_PROTOCOL | {
        "silent after TLS": Cell(lambda: hostile.silent_after_tls(certificates.server), tls=True),
        "wrong protocol": Cell(lambda: LoopbackServer(other_protocol, name="another protocol")),
        "drip": Cell(dripping_server),
        "flood": Cell(flooding_server),
        "bomb": Cell(bombing_server),
        "reflects": Cell(reflecting_server),
        "downgrade": Cell(reflecting_server, tls=True),
        "second host": Cell(lambda: redirecting_server(elsewhere)),
    }


def _snowflake(cells: dict[str, Cell]) -> Row:
    session = {"token": "t", "masterToken": "m", "sessionId": 1, "parameters": [], "sessionInfo": {}}

    def login(_: Asked) -> Answer:
        return as_json(200, {"success": True, "code": None, "message": None, "data": session})

    secrets = {"account_identifier": "acme", "user_login_name": "somebody", "warehouse_name": "compute_wh"}
    return Row(
        "snowflake",
        "connectory-snowflake",
        secrets | {"password": PASSWORD},
        cells | {"silent after login": Cell(lambda: _silent_after(login))},
        settings=lambda url: {"CONNECTORY_SNOWFLAKE_ENDPOINT": url},
    )


def _bigquery(cells: dict[str, Cell]) -> Row:
    def token(_: Asked) -> Answer:
        return as_json(200, {"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"})

    key_file = BigQueryServer().create_account("somebody").key_file()
    return Row(
        "bigquery",
        "connectory-bigquery",
        {"keyfile_creds": key_file, "dataset": "app"},
        cells | {"silent after login": Cell(lambda: _silent_after(token))},
        settings=lambda url: {"CONNECTORY_BIGQUERY_ENDPOINT": url, "CONNECTORY_BIGQUERY_TOKEN_URI": f"{url}/token"},
    )


def _vendor(vendor: type[Vendor], cells: dict[str, Cell]) -> Row:
    changes = vendor.wrong.get("auth_failed", {"client_secret": "Zq-unknown"})
    cells = cells | {"refused login": Cell(vendor, changes), "success": Cell(vendor)}
    if issubclass(vendor, TokenVendor):
        cells |= {"silent after login": Cell(lambda: _silent_after_token(vendor()))}

    def tokens(server: Server) -> Mapping[str, Any] | None:
        """Those of a consent, which have just ended: the client's secrets are needed to renew them."""
        if not issubclass(vendor, ConsentVendor):
            return None
        return (server if isinstance(server, vendor) else vendor()).stored(lasts=0)

    return Row(
        vendor.identifier,
        "connectory-saas",
        vendor.secrets,
        cells,
        settings=lambda url: {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(dict.fromkeys(vendor.hosts, url))},
        tokens=tokens,
    )


def _silent_after_token(vendor: TokenVendor) -> Vendor:
    """Gives a token as ever, and then says nothing."""
    issue = vendor.token

    def token(asked: Asked) -> Answer:
        vendor.misbehave = silence
        return issue(asked)

    vendor.token = token
    return vendor


def _silent_after(first: Callable[[Asked], Answer]) -> WebServer:
    """Answers one request, and then nothing."""

    def answer(asked: Asked) -> Answer:
        server.misbehave = silence
        return first(asked)

    server = WebServer(answer)
    return server


def _database(user: str, database: str) -> dict[str, Any]:
    return {user: "somebody", "password": PASSWORD, database: "shop"}


class _running(AbstractContextManager[Server]):
    """A server that somebody else starts and stops."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> Server:
        return self._server

    def __exit__(self, *_: object) -> None:
        pass
