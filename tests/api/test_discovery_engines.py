"""Discoveries of every SQL database, asked for over REST: the same tables, the same datasets. MongoDB has a file of its own.

PostgreSQL and MariaDB are the real ones. MySQL is MariaDB behind a front, Redshift PostgreSQL 15 with Redshift's catalogues, SQL
Server our own server of its protocol on PostgreSQL, and Snowflake and BigQuery are emulators on DuckDB: see `servers`.
What their sessions say of them is tested beside each connector.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from connectory import Connector
from connectory_bigquery import BigQuery
from connectory_snowflake import Snowflake
from servers.bigquery.server import BigQueryServer
from servers.mssql import odbc
from servers.mssql.server import MSSQLServer
from servers.mysql.server import MySQL8Front
from servers.redshift.server import RedshiftServer
from servers.snowflake.server import SnowflakeServer
from testkit.held_tables import WEIRD, Held, backquoted, double_quoted, facts_of, held_in_bigquery
from testkit.sessions import opened


class Shop(NamedTuple):
    """A database with the tables, the secrets of one who may read them, and what its connector is told by the deployer."""

    type: str
    held: Held
    secrets: dict[str, Any]
    settings: dict[str, Any] = {}


Request = pytest.FixtureRequest
PASSWORD = "its Password 1"
SCHEMAS = ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"')


def in_standard_sql(weird: str = WEIRD) -> Held:
    return Held(double_quoted, "One é", "TWO", weird=weird)


def in_mysql(server: Any) -> Held:
    """A schema is a database there, and other tests use the same server."""
    held = Held(backquoted, f"Same é {uuid4().hex[:8]}", f"TWO {uuid4().hex[:8]}")
    for name in (held.one, held.two):
        server.create_database(name)
    for statement in held.statements():
        server.execute(statement, database=held.one)
    return held


def postgres(request: Request) -> Iterator[Shop]:
    server, name, held = request.getfixturevalue("postgres"), f"held_{uuid4().hex}", in_standard_sql()
    server.create_database(name)
    for statement in (*SCHEMAS, *held.statements()):
        server.execute(statement, database=name)
    login = {"username": server.superuser, "password": server.password, "dbname": name}
    yield Shop("postgres", held, {"host": server.host, "port": server.port} | login)


def mariadb(request: Request) -> Iterator[Shop]:
    server = request.getfixturevalue("mariadb")
    held = in_mysql(server)
    login = {"username": server.superuser, "password": server.password, "dbname": held.one}
    yield Shop("mariadb", held, {"host": server.host, "port": server.port} | login)


def mysql(request: Request) -> Iterator[Shop]:
    certificates = request.getfixturevalue("certificates")
    with MySQL8Front(request.getfixturevalue("mariadb"), certificate=certificates.server) as server:
        held, name = in_mysql(server), f"reader_{uuid4().hex[:8]}"
        server.create_user(name, PASSWORD, database=held.one)
        server.execute(f"GRANT ALL ON `{held.two}`.* TO {name}")
        login = {"username": name, "password": PASSWORD, "dbname": held.one}
        trust = {"ssl_mode": "verify-ca", "ssl_ca": certificates.ca_pem}
        yield Shop("mysql", held, {"host": server.host, "port": server.port} | login | trust)


def mssql(request: Request) -> Iterator[Shop]:
    certificates, held = request.getfixturevalue("certificates"), in_standard_sql()
    with MSSQLServer(certificate=certificates.server) as server:
        server.create_database("held")
        for statement in (*SCHEMAS, *held.statements()):
            server.execute(statement, database="held")
        login = {"username": server.superuser, "password": server.password, "dbname": "held"}
        settings = {name.removeprefix("CONNECTORY_").lower(): value for name, value in odbc.settings().items()}
        trust = {"ssl_ca": certificates.ca_pem}
        yield Shop("mssql", held, {"host": server.host, "port": server.port} | login | trust, settings)


def redshift(_: Request) -> Iterator[Shop]:
    held = in_standard_sql()
    with RedshiftServer() as server:
        for statement in (*SCHEMAS, *held.statements()):
            server.execute(statement, database="postgres")
        login = {"user": server.superuser, "database": "postgres", "ssl_mode": "disabled"}
        yield Shop("redshift", held, {"host": server.host, "port": server.port, "password": server.password} | login)


def snowflake(_: Request) -> Iterator[Shop]:
    held = in_standard_sql('Kund "é" %s :x')
    with SnowflakeServer() as server:
        server.create_user("ANN", PASSWORD)
        login = {"account_identifier": server.account, "user_login_name": "ann", "password": PASSWORD}
        secrets = login | {"warehouse_name": "compute_wh", "database_name": "app"}
        shop = Shop("snowflake", held, secrets, {"snowflake_endpoint": server.url})
        made(shop, Snowflake(), lambda connection, it: connection.cursor().execute(it), *SCHEMAS, *held.statements())
        yield shop


def bigquery(_: Request) -> Iterator[Shop]:
    held = held_in_bigquery("one", "TWO")
    with BigQueryServer() as server:
        secrets = {"keyfile_creds": server.create_account("reader").key_file()}
        settings = {"bigquery_endpoint": server.endpoint, "bigquery_token_uri": server.token_uri}
        shop = Shop("bigquery", held, secrets, settings)
        schemas = [f"CREATE SCHEMA {name}" for name in (held.one, held.two)]
        made(
            shop, BigQuery(), lambda connection, it: connection._client.query_and_wait(it), *schemas, *held.statements()
        )
        yield shop


def made(shop: Shop, connector: Connector[Any], run: Callable[[Any, str], Any], *statements: str) -> None:
    """Make the tables where only the product's own driver can."""
    with opened(connector, shop.secrets, settings=shop.settings) as session:
        for statement in statements:
            run(session._database.connection, statement)


@pytest.fixture(params=[postgres, mariadb, mysql, mssql, redshift, snowflake, bigquery], ids=lambda one: one.__name__)
def shop(request: Request) -> Iterator[Shop]:
    yield from request.param(request)


@pytest.mark.parametrize("anonymous", ["sqlite"], indirect=True)
def test_its_datasets_are_the_same_twice_can_be_stored_and_fit(api, service, shop: Shop, monkeypatch) -> None:
    known = service.catalog.connectors[shop.type]
    monkeypatch.setitem(service.catalog.connectors, shop.type, known.configured(shop.settings))
    api.create("held", shop.type)
    stored = api.put("/connection/held/secret", json=shop.secrets).json()
    assert stored["test_status"] == "succeeded", stored
    held = shop.held

    def discover() -> dict[str, Any]:
        scope = {"scope": {"schemas": [held.one, held.two]}}
        answer = api("POST", "/connection/held/discovery", json=scope, headers={"Prefer": "wait=60"})
        assert (answer.status_code, answer.json()["status"]) == (200, "complete"), answer.text
        return answer.json()

    found = discover()
    assert facts_of(found["datasets"]) == held.expected()
    assert [(one["collection"], one["reason"]) for one in found["left_out"]] == [("seen", "view")]
    assert discover()["datasets"] == found["datasets"]
    saved = api.patch("/connection/held/dataset", json=found["datasets"]).json()
    assert (len(saved["succeeded"]), saved["failed"]) == (2, [])
    for dataset in found["datasets"]:
        checked = api("POST", f"/connection/held/dataset/{dataset['fides_key']}/check").json()
        assert (checked["coverage"], checked["ok"]) == (100, True), checked
