"""Discoveries of other databases than PostgreSQL, asked for over REST: the same tables, the same datasets.

What their sessions say of them is tested beside each connector.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from servers.mysql.server import MySQL8Front
from servers.redshift.server import RedshiftServer
from testkit.held_tables import Held, backquoted, double_quoted, facts_of


class Shop(NamedTuple):
    """A database with the tables, and the secrets of one who may read them."""

    type: str
    held: Held
    secrets: dict[str, Any]


def made_in_mysql(server: Any, held: Held) -> None:
    for name in (held.one, held.two):
        server.create_database(name)
    for statement in held.statements():
        server.execute(statement, database=held.one)


@pytest.fixture(params=["mariadb", "mysql", "redshift"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    server: Any
    if request.param == "redshift":
        held = Held(double_quoted, "One é", "TWO")
        with RedshiftServer() as server:
            for statement in ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"', *held.statements()):
                server.execute(statement, database="postgres")
            login = {"user": server.superuser, "database": "postgres", "ssl_mode": "disabled"}
            where = {"host": server.host, "port": server.port, "password": server.password}
            yield Shop("redshift", held, where | login)
        return
    # A schema is a database there, and other tests use the same server.
    held = Held(backquoted, f"Same é {uuid4().hex[:8]}", f"TWO {uuid4().hex[:8]}")
    mariadb = request.getfixturevalue("mariadb")
    if request.param == "mariadb":
        made_in_mysql(mariadb, held)
        login = {"username": mariadb.superuser, "password": mariadb.password, "dbname": held.one}
        yield Shop("mariadb", held, {"host": mariadb.host, "port": mariadb.port} | login)
        return
    certificates = request.getfixturevalue("certificates")
    with MySQL8Front(mariadb, certificate=certificates.server) as server:
        made_in_mysql(server, held)
        name = f"reader_{uuid4().hex[:8]}"
        server.create_user(name, "its password", database=held.one)
        server.execute(f"GRANT ALL ON `{held.two}`.* TO {name}")
        login = {"username": name, "password": "its password", "dbname": held.one}
        trust = {"ssl_mode": "verify-ca", "ssl_ca": certificates.ca_pem}
        yield Shop("mysql", held, {"host": server.host, "port": server.port} | login | trust)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_its_datasets_are_the_same_twice_can_be_stored_and_fit(api, shop: Shop) -> None:
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
