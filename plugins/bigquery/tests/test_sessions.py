"""What a BigQuery dataset holds, and how it is read, through Google's client: against a stand-in on DuckDB.

Keys and lengths are told by a front of ours; of rights nothing is.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectory import CheckFailed, FailureCode
from connectory.data import CollectionRef, DataSession, FieldInfo, Kind, Privileges, Read
from connectory_bigquery import BigQuery
from servers.bigquery.server import BigQueryServer, ServiceAccount
from testkit import hostile
from testkit.held_tables import held_in_bigquery
from testkit.sessions import among, found, opened, rows


def app(name: str) -> CollectionRef:
    return CollectionRef(name, {"dataset_id": "app"})


@pytest.fixture(scope="module")
def settings(bigquery: BigQueryServer) -> dict[str, Any]:
    return {"bigquery_endpoint": bigquery.endpoint, "bigquery_token_uri": bigquery.token_uri}


@pytest.fixture(scope="module")
def session(account: ServiceAccount, settings: dict[str, Any]) -> Iterator[DataSession]:
    from google.cloud.bigquery import SchemaField as Column
    from google.cloud.bigquery import Table

    with opened(BigQuery(), {"keyfile_creds": account.key_file(), "dataset": "app"}, settings=settings) as session:
        client = session._database.connection._client
        inner = [Column("zip", "STRING"), Column("points", "RECORD", "REPEATED", fields=[Column("x", "FLOAT64")])]
        columns = [
            Column("id", "INT64", "REQUIRED"),
            Column("name", "STRING"),
            Column("price", "NUMERIC"),
            Column("day", "DATE"),
            Column("at", "TIMESTAMP"),
            Column("active", "BOOL"),
            Column("picture", "BYTES"),
            Column("tags", "STRING", "REPEATED"),
            Column("address", "RECORD", fields=inner),
        ]
        client.create_table(Table("demo-project.app.visit", columns))
        row = {
            "id": 1,
            "name": "it's 100% :y %s",
            "price": "1.5",
            "day": "1980-02-29",
            "at": "2026-01-02 03:04:05+00:00",
        }
        row |= {"active": False, "picture": "AP8=", "tags": ["a"], "address": {"zip": "8000", "points": [{"x": 0.5}]}}
        assert client.insert_rows_json("demo-project.app.visit", [row, {"id": 2, "name": "b"}]) == []
        client.query_and_wait("CREATE VIEW app.seen AS SELECT 1 AS x")
        yield session


def test_tables_and_columns_are_found_with_what_is_in_them(session: DataSession) -> None:
    collections = found(session)
    assert collections["seen"].left_out == "view"
    fields = {field.path: field for field in collections["visit"].fields}
    assert fields["id",] == FieldInfo(("id",), Kind.INTEGER, "INT64", nullable=False, indexed=False)
    assert {path: (field.kind, field.array) for path, field in fields.items()} == {
        ("id",): (Kind.INTEGER, False),
        ("name",): (Kind.STRING, False),
        ("price",): (Kind.DECIMAL, False),
        ("day",): (Kind.DATE, False),
        ("at",): (Kind.TIMESTAMP, False),
        ("active",): (Kind.BOOLEAN, False),
        ("picture",): (Kind.BYTES, False),
        ("tags",): (Kind.STRING, True),
        ("address",): (Kind.OBJECT, False),
        ("address", "zip"): (Kind.STRING, False),
        ("address", "points"): (Kind.OBJECT, True),
        ("address", "points", "x"): (Kind.FLOAT, False),
    }


@pytest.mark.parametrize("word", ["schema", "dataset_id"])
def test_a_scope_is_one_dataset(session: DataSession, word: str) -> None:
    assert set(found(session, **{word: "app"})) >= {"visit", "seen"}
    assert found(session, **{word: "nowhere"}) == {}


def test_values_are_of_their_kinds(session: DataSession) -> None:
    names = ("id", "name", "price", "day", "at", "active", "picture", "tags")
    mine = (among("name", values=[("it's 100% :y %s",)]), among("id", "name", values=[(1, "x"), (None, "b")]))
    fields = {field.path: field for field in found(session)["visit"].fields}
    [batch] = session.read(Read(app("visit"), tuple((name,) for name in names), mine), 10)
    assert list(batch.kinds) == [fields[name,].kind for name in names]
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [tuple(row) for row in batch.rows] == [
        (1, "it's 100% :y %s", Decimal("1.5"), date(1980, 2, 29), at, False, b"\x00\xff", ["a"])
    ]
    assert rows(session, app("visit"), "id") == [(1,), (2,)]


def test_google_ends_a_query_by_itself(
    bigquery: BigQueryServer, account: ServiceAccount, settings: dict[str, Any]
) -> None:
    bigquery.time_limits.clear()
    secrets = {"keyfile_creds": account.key_file(), "dataset": "app"}
    with opened(BigQuery(), secrets, settings=settings, timeout=9) as session:
        rows(session, app("visit"), "id")
    assert bigquery.time_limits
    assert all(limit <= 9000 for limit in bigquery.time_limits)


def test_rights_that_are_not_told_are_unknown(session: DataSession) -> None:
    assert list(session.privileges([app("visit")])) == [Privileges(app("visit"), None, None, None)]


def test_credentials_of_the_machine_are_not_looked_for(
    account: ServiceAccount, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.silent() as metadata:
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
            monkeypatch.setenv(name, f"127.0.0.1:{metadata.port}")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/hostname")
        with opened(BigQuery(), {"keyfile_creds": account.key_file(), "dataset": "app"}, settings=settings) as session:
            assert list(session.discover())
        assert metadata.connections == 0


def test_a_login_that_fails_says_why(
    bigquery: BigQueryServer, account: ServiceAccount, settings: dict[str, Any]
) -> None:
    stranger = bigquery.create_account("nobody", runs_queries=False)
    with (
        pytest.raises(CheckFailed) as failed,
        opened(BigQuery(), {"keyfile_creds": stranger.key_file()}, settings=settings),
    ):
        pass
    assert failed.value.code is FailureCode.PERMISSION_DENIED


def test_the_same_tables_make_the_same_datasets_as_elsewhere(session: DataSession) -> None:
    held = held_in_bigquery("one", "TWO")
    client = session._database.connection._client
    for name in (held.one, held.two):
        client.create_dataset(name)
    for statement in held.statements():
        client.query_and_wait(statement)
    held.require_found(session)
