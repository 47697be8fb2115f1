"""What is special to Redshift's sessions: its old catalogues, and a driver that would hold every row. Against PostgreSQL."""

import secrets as random
from collections.abc import Iterator
from typing import Any

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
from connectory_redshift import Redshift
from servers.redshift.server import RedshiftServer
from testkit.held_tables import Held, double_quoted
from testkit.sessions import among, found, opened, rows

SHOP = """
CREATE SCHEMA shop;
CREATE SCHEMA "Old Stock";
CREATE TABLE shop.region (country char(2), number integer, PRIMARY KEY (number, country));
CREATE TABLE shop.visit (id integer PRIMARY KEY, c char(2), n integer, note varchar(40), price decimal(8, 2), at timestamp,
  before_id integer REFERENCES shop.visit, FOREIGN KEY (c, n) REFERENCES shop.region (country, number));
CREATE VIEW shop.seen AS SELECT id FROM shop.visit;
CREATE TABLE svv_column_privileges (namespace_name text, relation_name text, column_name text, privilege_type text,
  identity_name text, identity_type text);
CREATE TABLE svv_relation_privileges (LIKE svv_column_privileges);
GRANT SELECT ON svv_column_privileges, svv_relation_privileges TO PUBLIC;
CREATE TABLE "Old Stock"."we""ird.tå%ble (x)" ("Éd 1" integer PRIMARY KEY, "%s :x" text);
INSERT INTO "Old Stock"."we""ird.tå%ble (x)" VALUES (1, 'it''s 100% :y %s');
INSERT INTO shop.region VALUES ('CH', 1), ('CH', 2), ('DE', 1), ('DE', 2);
INSERT INTO shop.visit VALUES (0, 'CH', 2, '', 1.5, NULL, NULL), (1, 'DE', 1, NULL, NULL, NULL, 0);
"""


def shop(name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": "shop"})


@pytest.fixture(scope="module")
def database(redshift: RedshiftServer) -> str:
    name = f"held_{random.token_hex(4)}"
    redshift.create_database(name)
    redshift.execute(SHOP, database=name)
    return name


@pytest.fixture(scope="module")
def secrets(redshift: RedshiftServer, database: str) -> dict[str, Any]:
    login = {"user": redshift.superuser, "password": redshift.password, "ssl_mode": "disabled"}
    return {"host": redshift.host, "port": redshift.port, "database": database} | login


@pytest.fixture
def session(secrets: dict[str, Any]) -> Iterator[DataSession]:
    with opened(Redshift(), secrets) as session:
        yield session


def test_tables_columns_and_keys_are_found(session: DataSession) -> None:
    assert list(session.discover()) == list(session.discover())
    assert {one.ref.namespace["schema"] for one in session.discover()} == {"shop", "Old Stock", "public"}
    collections = found(session, schema="shop")
    assert collections["region"].primary_key == (("number",), ("country",))
    assert set(collections["visit"].foreign_keys) == {
        ForeignKey((("before_id",),), shop("visit"), (("id",),)),
        ForeignKey((("c",), ("n",)), shop("region"), (("country",), ("number",))),
    }
    fields = {field.path[0]: field for field in collections["visit"].fields}
    assert fields["note"] == FieldInfo(
        ("note",), Kind.STRING, "character varying(40)", nullable=True, max_length=40, indexed=False
    )
    assert (fields["price"].kind, fields["at"].kind) == (Kind.DECIMAL, Kind.TIMESTAMP)
    assert collections["seen"].left_out == "view"


def test_rows_are_asked_for_some_at_a_time(session: DataSession, redshift: RedshiftServer, database: str) -> None:
    redshift.execute(
        "CREATE VIEW shop.many AS SELECT a AS i FROM generate_series(1, 9999) a, generate_series(1, 9999) b",
        database=database,
    )
    reading = session.read(Read(shop("many"), (("i",),)), 60)
    found = [len(next(reading).rows) for _ in range(4)]
    assert found == [50, 60, 60, 60]
    reading.close()
    batches = list(session.read(Read(shop("region"), (("number",),)), 3))
    assert [len(batch.rows) for batch in batches] == [3, 1]
    assert [len(batch.rows) for batch in session.read(Read(shop("region"), (("number",),)), 4)] == [4]


def test_names_and_values_go_through(session: DataSession) -> None:
    [table] = session.discover({"schema": "Old Stock"})
    mine = among("%s :x", values=[("it's 100% :y %s",)])
    assert rows(session, table.ref, "Éd 1", "%s :x", any_of=(mine,)) == [(1, "it's 100% :y %s")]
    some = among("country", "number", values=[("CH", 2), ("DE", 1), ("FR", None)])
    assert rows(session, shop("region"), "country", "number", any_of=(some,)) == [("CH", 2), ("DE", 1)]


def test_what_goes_wrong_is_told_by_its_code_and_the_session_lives_on(session: DataSession) -> None:
    for name, field, code in (
        ("nowhere", "id", DataFailure.COLLECTION_MISSING),
        ("visit", "nothing", DataFailure.FIELD_MISSING),
    ):
        with pytest.raises(SessionFailed) as refused:
            rows(session, shop(name), field)
        assert refused.value.code is code
    assert rows(session, shop("visit"), "id") == [(0,), (1,)]


def test_a_statement_ends_with_the_time_of_its_operation(
    secrets: dict[str, Any], redshift: RedshiftServer, database: str
) -> None:
    redshift.execute("CREATE VIEW shop.slow AS SELECT pg_sleep(30)::text AS s", database=database)
    with opened(Redshift(), secrets, timeout=9, in_all=0.3) as session, pytest.raises(SessionFailed) as ended:
        rows(session, shop("slow"), "s")
    assert ended.value.code is FailureCode.TIMEOUT


def test_another_session_ends_a_login(secrets: dict[str, Any]) -> None:
    with opened(Redshift(), secrets) as one, opened(Redshift(), secrets) as other:
        other.end_login(one._context.login)
        with pytest.raises(SessionFailed):
            list(one.discover())
        assert list(other.discover())


def test_a_login_that_fails_says_why(secrets: dict[str, Any]) -> None:
    with pytest.raises(CheckFailed) as failed, opened(Redshift(), secrets | {"password": "wrong"}):
        pass
    assert failed.value.code is FailureCode.AUTH_FAILED


def test_who_may_write_is_told_with_the_remedy(
    redshift: RedshiftServer, database: str, secrets: dict[str, Any], session: DataSession
) -> None:
    redshift.create_user("clerk", "clerk")
    redshift.execute("GRANT USAGE ON SCHEMA shop TO clerk", database=database)
    redshift.execute("GRANT SELECT, UPDATE ON shop.visit TO clerk", database=database)
    [mine] = session.privileges([shop("visit")])
    assert (mine.update, mine.delete) == (True, True)
    with opened(Redshift(), secrets | {"user": "clerk", "password": "clerk"}) as theirs:
        assert list(theirs.privileges([shop("region"), shop("visit"), shop("nowhere")])) == [
            Privileges(shop("region"), read=False, update=False, delete=False),
            Privileges(
                shop("visit"),
                read=True,
                update=True,
                delete=False,
                remedy='REVOKE UPDATE ON "shop"."visit" FROM "clerk";',
            ),
            Privileges(shop("nowhere"), None, None, None),
        ]
        assert found(theirs)["region"].left_out == "the account may not read it"


GRANTS = {
    "a column": ("column", ("n", "UPDATE", "reader", "user"), (True, False), 'UPDATE ("n") ON {} FROM "reader"'),
    "a column, by a role": ("column", ("n", "UPDATE", "r", "role"), (True, False), 'UPDATE ("n") ON {} FROM ROLE "r"'),
    "a column, by a group": (
        "column",
        ("n", "UPDATE", "g", "group"),
        (True, False),
        'UPDATE ("n") ON {} FROM GROUP "g"',
    ),
    "a column to read": ("column", ("n", "SELECT", "reader", "user"), (False, False), None),
    "a column, of another": ("column", ("n", "UPDATE", "other", "user"), (False, False), None),
    "all rows, by everybody": (
        "relation",
        (None, "TRUNCATE", "public", "public"),
        (False, True),
        "TRUNCATE ON {} FROM PUBLIC",
    ),
}


@pytest.fixture
def reader(redshift: RedshiftServer, database: str, secrets: dict[str, Any]) -> Iterator[DataSession]:
    if not redshift.execute("SELECT 1 FROM pg_roles WHERE rolname = 'reader'"):
        redshift.create_user("reader", "reader")
    redshift.execute("GRANT USAGE ON SCHEMA shop TO reader", database=database)
    redshift.execute("GRANT SELECT ON shop.region TO reader", database=database)
    with opened(Redshift(), secrets | {"user": "reader", "password": "reader"}) as session:
        yield session


@pytest.mark.parametrize(("view", "grant", "may", "revoked"), GRANTS.values(), ids=GRANTS)
def test_rights_that_only_the_system_views_tell_count(
    redshift: RedshiftServer,
    database: str,
    reader: DataSession,
    view: str,
    grant: tuple[str | None, ...],
    may: tuple[bool, bool],
    revoked: str | None,
) -> None:
    row = f"INSERT INTO svv_{view}_privileges VALUES ('shop', 'region', %s, %s, %s, %s)"
    redshift.execute(row, *grant, database=database)
    try:
        [known] = reader.privileges([shop("region")])
    finally:
        redshift.execute(f"DELETE FROM svv_{view}_privileges", database=database)
    table = '"shop"."region"'
    remedy = "" if revoked is None else f"REVOKE {revoked.format(table)};"
    assert known == Privileges(shop("region"), True, *may, remedy)


def test_rights_are_unknown_where_the_system_views_cannot_be_read(
    redshift: RedshiftServer, database: str, reader: DataSession
) -> None:
    redshift.execute("REVOKE SELECT ON svv_relation_privileges FROM PUBLIC", database=database)
    try:
        assert list(reader.privileges([shop("region")])) == [Privileges(shop("region"), True, None, None)]
    finally:
        redshift.execute("GRANT SELECT ON svv_relation_privileges TO PUBLIC", database=database)


def test_the_same_tables_make_the_same_datasets_as_elsewhere(redshift: RedshiftServer, secrets: dict[str, Any]) -> None:
    held = Held(double_quoted, "One é", "TWO")
    redshift.create_database("same")
    for statement in ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"', *held.statements()):
        redshift.execute(statement, database="same")
    with opened(Redshift(), secrets | {"database": "same"}) as session:
        held.require_found(session)
