"""What a Snowflake database holds, and how it is read, through the real driver: against a stand-in on DuckDB.

It has no rights to tell of; its foreign keys and its views are told by a front of ours.
"""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectory import CheckFailed, FailureCode
from connectory.data import CollectionRef, DataFailure, DataSession, FieldInfo, Kind, Privileges, Read, SessionFailed
from connectory_snowflake import Snowflake
from servers.snowflake.server import SnowflakeServer
from testkit.held_tables import Held, double_quoted
from testkit.sessions import among, found, opened, rows

PASSWORD = "p@ss w/:rd"
SHOP = """
CREATE TABLE "T""x %s" ("Id 1" integer PRIMARY KEY, name varchar(40), price number(8,2), day date, seen_at timestamp_ntz,
  active boolean, picture binary, extra variant, rate float)
CREATE TABLE REGION (country varchar(2), number integer, PRIMARY KEY (number, country))
CREATE VIEW SEEN AS SELECT 1 AS x
INSERT INTO REGION VALUES ('CH', 1), ('CH', 2), ('DE', 1), ('DE', 2)
INSERT INTO "T""x %s" SELECT 1, 'it''s 100% :y %s', 1.5, '1980-02-29', '2026-01-02 03:04:05', false, to_binary('00ff', 'hex'),
  parse_json('{"a": [1]}'), 0.5
"""


def public(name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": "PUBLIC"})


@pytest.fixture(scope="module")
def secrets(snowflake: SnowflakeServer) -> dict[str, Any]:
    return {
        "account_identifier": snowflake.account,
        "user_login_name": "ann",
        "password": PASSWORD,
        "warehouse_name": "compute_wh",
        "database_name": "app",
        "schema_name": "public",
    }


@pytest.fixture(scope="module")
def session(snowflake: SnowflakeServer, secrets: dict[str, Any]) -> Iterator[DataSession]:
    with opened(Snowflake(), secrets, settings={"snowflake_endpoint": snowflake.url}) as session:
        statement = ""
        for line in [*SHOP.strip().splitlines(), "END "]:
            if statement and line.startswith(("CREATE", "INSERT", "END")):
                session._database.connection.cursor().execute(statement)
                statement = ""
            statement += line
        yield session


def test_tables_columns_and_keys_are_found(session: DataSession) -> None:
    collections = found(session)
    assert set(collections) >= {'T"x %s', "REGION"}
    assert collections["REGION"].primary_key == (("NUMBER",), ("COUNTRY",))
    fields = {field.path[0]: field for field in collections['T"x %s'].fields}
    assert fields["Id 1"] == FieldInfo(
        ("Id 1",), Kind.INTEGER, "NUMBER(38,0)", nullable=False, unique=True, indexed=True
    )
    assert (fields["NAME"].max_length, fields["PRICE"].native) == (40, "NUMBER(8,2)")
    kinds = "integer string decimal date timestamp boolean bytes any float"
    assert [field.kind.value for field in fields.values()] == kinds.split()


def test_values_are_of_their_kinds_and_names_go_through(session: DataSession) -> None:
    names = ("Id 1", "NAME", "PRICE", "DAY", "SEEN_AT", "ACTIVE", "PICTURE", "EXTRA", "RATE")
    mine = among("NAME", values=[("it's 100% :y %s",), (None,)])
    [batch] = session.read(Read(public('T"x %s'), tuple((name,) for name in names), (mine,)), 10)
    kinds = "integer string decimal date timestamp boolean bytes any float"
    assert [kind.value for kind in batch.kinds] == kinds.split()
    at = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001  # as it is stored
    extra = {"a": [1]}
    assert batch.rows == [
        (1, "it's 100% :y %s", Decimal("1.50"), date(1980, 2, 29), at, False, b"\x00\xff", extra, 0.5)
    ]


def test_rows_match_whole(session: DataSession) -> None:
    some = among("COUNTRY", "NUMBER", values=[("CH", 2), ("DE", 1), ("FR", None)])
    assert rows(session, public("REGION"), "COUNTRY", "NUMBER", any_of=(some,)) == [("CH", 2), ("DE", 1)]
    assert [len(batch.rows) for batch in session.read(Read(public("REGION"), (("NUMBER",),)), 3)] == [3, 1]


def test_what_goes_wrong_is_told_by_its_code(session: DataSession) -> None:
    with pytest.raises(SessionFailed) as refused:
        rows(session, public("NOWHERE"), "ID")
    assert refused.value.code is DataFailure.COLLECTION_MISSING


def test_snowflake_ends_a_statement_by_itself(snowflake: SnowflakeServer, secrets: dict[str, Any]) -> None:
    settings = {"snowflake_endpoint": snowflake.url}
    with opened(Snowflake(), secrets, settings=settings, timeout=9, in_all=40) as session:
        [limit] = session._database.records("SHOW PARAMETERS LIKE 'STATEMENT_TIMEOUT_IN_SECONDS'")
    assert limit["value"] == "40"


def test_rights_that_are_not_told_are_unknown(session: DataSession) -> None:
    assert list(session.privileges([public("REGION")])) == [Privileges(public("REGION"), None, None, None)]


def test_a_login_that_fails_says_why(snowflake: SnowflakeServer, secrets: dict[str, Any]) -> None:
    for change, code in (
        ({"password": "wrong"}, FailureCode.AUTH_FAILED),
        ({"schema_name": "nowhere"}, FailureCode.SCHEMA_NOT_FOUND),
    ):
        with (
            pytest.raises(CheckFailed) as failed,
            opened(Snowflake(), secrets | change, settings={"snowflake_endpoint": snowflake.url}),
        ):
            pass
        assert failed.value.code is code


def test_the_same_tables_make_the_same_datasets_as_elsewhere(session: DataSession) -> None:
    held = Held(double_quoted, "One é", "TWO", weird='Kund "é" %s :x')
    for statement in ('CREATE SCHEMA "One é"', 'CREATE SCHEMA "TWO"', *held.statements()):
        session._database.connection.cursor().execute(statement)
    held.require_found(session)
