"""A SQL Server's tables, rows and rights, through the real driver: against a server of ours that keeps them in PostgreSQL."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg2
import pytest

from connectory import CheckFailed, FailureCode
from connectory.data import (
    CollectionRef,
    DataFailure,
    DataSession,
    FieldInfo,
    ForeignKey,
    Kind,
    Privileges,
    Read,
    SessionFailed,
)
from connectory.testing import Certificates, Workbench, load_connector
from connectory_mssql import MSSQL
from servers.mssql import odbc
from servers.mssql.server import MSSQLServer
from testkit import sessions
from testkit.held_tables import Held, double_quoted
from testkit.sessions import among, found, read_and_kill, rows

PASSWORD = "pw1-of-the-reader"
SHOP = """
CREATE TABLE dbo.region (country char(2), number integer, PRIMARY KEY (number, country));
CREATE TABLE dbo.visit (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, c char(2), n integer, note varchar(40) UNIQUE,
  price decimal(8, 2), day date, at timestamp, active boolean, picture bytea, rate float8,
  before_id integer REFERENCES dbo.visit ON DELETE SET NULL, FOREIGN KEY (c, n) REFERENCES dbo.region (country, number));
CREATE SCHEMA "old stock";
CREATE TABLE "old stock"."we]ird.tå%ble (x)" ("éd ]1" integer PRIMARY KEY, "? :x" varchar(90));
CREATE VIEW dbo.seen AS SELECT id FROM dbo.visit;
INSERT INTO "old stock"."we]ird.tå%ble (x)" VALUES (1, 'it''s 100% :y ?');
INSERT INTO dbo.region VALUES ('CH', 1), ('CH', 2), ('DE', 1), ('DE', 2);
INSERT INTO dbo.visit (c, n, note, price, day, at, active, picture, rate, before_id) VALUES
  ('CH', 2, 'é', 1.5, '1980-02-29', '2026-01-02 03:04:05', false, '\\x00ff', 0.5, NULL),
  ('DE', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1);
GRANT USAGE ON SCHEMA "old stock" TO PUBLIC;
CREATE ROLE db_datawriter;
GRANT SELECT ON dbo.visit TO seller;
GRANT UPDATE (c) ON dbo.visit TO seller;
"""


def opened(secrets: dict[str, Any], timeout: float = 30) -> AbstractContextManager[DataSession]:
    """A session with FreeTDS, which is unpacked and not installed."""
    settings = {name.removeprefix("CONNECTORY_").lower(): value for name, value in odbc.settings().items()}
    return sessions.opened(MSSQL(), secrets, settings=settings, timeout=timeout)


def dbo(name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": "dbo"})


@pytest.fixture(scope="module")
def secrets(mssql: MSSQLServer, certificates: Certificates) -> dict[str, Any]:
    mssql.create_database("held")
    mssql.create_user("seller", PASSWORD, databases=["held"])
    mssql.execute(SHOP, database="held")
    login = {"username": mssql.superuser, "password": mssql.password, "ssl_ca": certificates.ca_pem}
    return {"host": mssql.host, "port": mssql.port, "dbname": "held"} | login


@pytest.fixture
def session(secrets: dict[str, Any]) -> Iterator[DataSession]:
    with opened(secrets) as session:
        yield session


def test_tables_columns_and_keys_are_found(session: DataSession) -> None:
    assert list(session.discover()) == list(session.discover())
    collections = found(session, schema="dbo")
    assert set(collections) >= {"region", "visit", "seen"}
    assert collections["seen"].left_out == "view"
    assert collections["region"].primary_key == (("number",), ("country",))
    assert set(collections["visit"].foreign_keys) == {
        ForeignKey((("before_id",),), dbo("visit"), (("id",),), on_delete="set_null"),
        ForeignKey((("c",), ("n",)), dbo("region"), (("country",), ("number",))),
    }
    fields = {field.path[0]: field for field in collections["visit"].fields}
    assert fields["id"].generated
    assert fields["note"] == FieldInfo(
        ("note",), Kind.STRING, "character varying(40)", nullable=True, max_length=40, unique=True, indexed=True
    )
    assert (fields["price"].kind, fields["price"].native) == (Kind.DECIMAL, "numeric(8,2)")


def test_values_are_of_their_kinds(session: DataSession) -> None:
    names = ("id", "c", "n", "note", "price", "day", "at", "active", "picture", "rate", "before_id")
    query = Read(dbo("visit"), tuple((name,) for name in names), (among("id", values=[(1,)]),))
    [batch] = session.read(query, 10)
    kinds = "integer string integer string decimal date timestamp boolean bytes float integer"
    assert [kind.value for kind in batch.kinds] == kinds.split()
    at = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # as it is stored
    assert batch.rows == [(1, "CH", 2, "é", Decimal("1.50"), date(1980, 2, 29), at, False, b"\x00\xff", 0.5, None)]


def test_names_and_values_go_through(session: DataSession) -> None:
    [table] = session.discover({"schema": "old stock"})
    mine = among("? :x", values=[("it's 100% :y ?",)])
    assert rows(session, table.ref, "éd ]1", "? :x", any_of=(mine,)) == [(1, "it's 100% :y ?")]
    some = among("country", "number", values=[("CH", 2), ("DE", 1), ("FR", None)])
    assert rows(session, dbo("region"), "country", "number", any_of=(some,)) == [("CH", 2), ("DE", 1)]
    assert [len(batch.rows) for batch in session.read(Read(dbo("region"), (("number",),)), 3)] == [3, 1]


def test_what_goes_wrong_is_told_by_its_code_and_the_session_lives_on(session: DataSession) -> None:
    for name, field, code in (
        ("nowhere", "id", DataFailure.COLLECTION_MISSING),
        ("visit", "nothing", DataFailure.FIELD_MISSING),
    ):
        with pytest.raises(SessionFailed) as refused:
            rows(session, dbo(name), field)
        assert refused.value.code is code
    assert rows(session, dbo("visit"), "id") == [(1,), (2,)]


def test_a_login_that_fails_says_why(secrets: dict[str, Any]) -> None:
    with pytest.raises(CheckFailed) as failed, opened(secrets | {"password": "wrong"}):
        pass
    assert failed.value.code is FailureCode.AUTH_FAILED


def test_who_may_write_is_told_with_the_remedy(
    secrets: dict[str, Any], session: DataSession, mssql: MSSQLServer
) -> None:
    [mine] = session.privileges([dbo("visit")])
    assert (mine.update, mine.delete) == (True, True)
    assert mine.remedy == f"ALTER SERVER ROLE [sysadmin] DROP MEMBER [{mssql.superuser}];"
    with opened(secrets | {"username": "seller", "password": PASSWORD}) as theirs:
        assert list(theirs.privileges([dbo("visit"), dbo("region"), dbo("nowhere")])) == [
            Privileges(dbo("visit"), True, True, False, "DENY UPDATE ON [dbo].[visit] TO [seller];"),
            Privileges(dbo("region"), False, False, False),
            Privileges(dbo("nowhere"), None, None, None),
        ]
        with pytest.raises(SessionFailed) as refused:
            rows(theirs, dbo("region"), "number")
        assert refused.value.code is FailureCode.PERMISSION_DENIED
        mssql.execute("GRANT INSERT ON dbo.visit TO db_datawriter; GRANT db_datawriter TO seller", database="held")
        [known] = theirs.privileges([dbo("visit")])
        assert known.remedy == "ALTER ROLE [db_datawriter] DROP MEMBER [seller];"


def test_a_reader_only_reads_and_an_owner_may_write(secrets: dict[str, Any], mssql: MSSQLServer) -> None:
    for statement in ("read", "own"):
        mssql.execute(f"CREATE TABLE dbo.to_{statement} (id integer)", database="held")
    mssql.create_user("clerk", PASSWORD, databases=["held"])
    mssql.execute("GRANT SELECT ON dbo.to_read TO clerk; ALTER TABLE dbo.to_own OWNER TO clerk", database="held")
    with opened(secrets | {"username": "clerk", "password": PASSWORD}) as session:
        reads, owns = session.privileges([dbo("to_read"), dbo("to_own")])
    assert reads == Privileges(dbo("to_read"), True, False, False)
    assert (owns.read, owns.update, owns.delete) == (True, True, True)
    given_up = (
        "ALTER AUTHORIZATION ON OBJECT::[dbo].[to_own] TO [dbo]; GRANT SELECT ON OBJECT::[dbo].[to_own] TO [clerk];"
    )
    assert owns.remedy == given_up


def test_the_same_tables_make_the_same_datasets_as_elsewhere(mssql: MSSQLServer, secrets: dict[str, Any]) -> None:
    held = Held(double_quoted, "One é", "TWO")
    mssql.create_database("same")
    for statement in ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"', *held.statements()):
        mssql.execute(statement, database="same")
    with opened(secrets | {"dbname": "same"}) as session:
        held.require_found(session)


SLOW = """
CREATE FUNCTION dbo.slow() RETURNS integer LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(600)';
CREATE VIEW dbo.endless AS SELECT dbo.slow() AS x;
"""


def test_nothing_runs_on_after_a_session_was_killed(
    mssql: MSSQLServer, secrets: dict[str, Any], workbench: Workbench
) -> None:
    mssql.execute(SLOW, database="held")
    connector = load_connector("mssql", "connectory-mssql")
    busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%endless%'"
    running = f"{busy} AND pid <> pg_backend_pid()"
    query = Read(dbo("endless"), (("x",),))
    read_and_kill(workbench, connector, secrets, query, lambda: mssql.execute(running, database="held") != [(0,)])


def test_another_session_is_ended_by_its_name_only(secrets: dict[str, Any]) -> None:
    with opened(secrets) as ended, opened(secrets) as session:
        name = ended._context.login
        session.end_login(f"{name}, later")  # the same number, of another login
        assert rows(ended, dbo("visit"), "id")
        session.end_login(name)
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the driver says of a connection that is gone
            rows(ended, dbo("visit"), "id")
        session.end_login(name)  # nothing to end any more


def test_who_may_not_end_sessions_ends_none(secrets: dict[str, Any]) -> None:
    with opened(secrets) as admin, opened(secrets | {"username": "seller", "password": PASSWORD}) as seller:
        seller.end_login(admin._context.login)
        assert rows(admin, dbo("visit"), "id")


def test_sql_server_ends_a_wait_for_others_by_itself(mssql: MSSQLServer, secrets: dict[str, Any]) -> None:
    where = {"host": mssql.backend.host, "port": mssql.backend.port, "dbname": "held"}
    with (
        closing(psycopg2.connect(**where, user=mssql.superuser, password=mssql.password)) as other,
        opened(secrets, timeout=4) as session,
    ):
        other.cursor().execute("LOCK TABLE dbo.region")
        with pytest.raises(SessionFailed) as failed:
            rows(session, dbo("region"), "number")
        assert failed.value.code is DataFailure.LOCK_TIMEOUT
