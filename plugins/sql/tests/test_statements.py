"""The statements, as they are written for each product: names quoted, values beside them."""

from dataclasses import replace
from typing import Any

import pytest

from connectory.data import CollectionRef, DataFailure, Read, Rows, SessionFailed
from connectory_sql.bigquery import BIGQUERY
from connectory_sql.database import written
from connectory_sql.dialect import Dialect
from connectory_sql.mssql import MSSQL
from connectory_sql.mysql import MARIADB, MYSQL
from connectory_sql.postgresql import POSTGRESQL
from connectory_sql.redshift import REDSHIFT
from connectory_sql.snowflake import SNOWFLAKE
from connectory_sql.statements import selects

NAME = "o'r\"d`e]r %s"
READ = Read(
    CollectionRef(NAME),
    (("Id",), ("a b",)),
    (
        Rows((("Id",),), [(7,), (None,), (7,), (0,)]),
        Rows((("shop",), ("a b",)), [(1, "x' OR 1=1"), (2, None)]),
    ),
)
VALUES = [7, 0, 1, "x' OR 1=1"]
DIALECTS = {
    "postgres": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MARIADB,
    "mssql": MSSQL,
    "redshift": REDSHIFT,
    "snowflake": SNOWFLAKE,
    "bigquery": BIGQUERY,
}
_MYSQL = (
    "SELECT t.`Id` AS c0, t.`a b` AS c1 FROM `Old Stock`.`o'r\"d``e]r %%s` AS t "
    "WHERE t.`Id` IN (%s, %s) OR (t.`shop`, t.`a b`) IN ((%s, %s))"
)
GOLDEN = {
    "postgres": (
        'SELECT t."Id" AS c0, t."a b" AS c1 FROM "Old Stock"."o\'r""d`e]r %%s" AS t '
        'WHERE t."Id" IN (%(Id_1_1)s, %(Id_1_2)s) OR (t."shop", t."a b") IN ((%(param_1_1_1)s, %(param_1_1_2)s))'
    ),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "mssql": (
        "SELECT t.[Id] AS c0, t.[a b] AS c1 FROM [Old Stock].[o'r\"d`e]]r %s] AS t "
        "WHERE t.[Id] IN (?, ?) OR t.[shop] = ? AND t.[a b] = ?"
    ),
    "redshift": (
        'SELECT t."Id" AS c0, t."a b" AS c1 FROM "Old Stock"."o\'r""d`e]r %s" AS t '
        'WHERE t."Id" IN (?, ?) OR (t."shop", t."a b") IN ((?, ?))'
    ),
    "snowflake": (
        'SELECT t."Id" AS c0, t."a b" AS c1 FROM "Old Stock"."o\'r""d`e]r %%s" AS t '
        'WHERE t."Id" IN (%(Id_1_1)s, %(Id_1_2)s) OR (t."shop", t."a b") IN ((%(param_1_1_1)s, %(param_1_1_2)s))'
    ),
    "bigquery": (
        "SELECT t.`Id` AS c0, t.`a b` AS c1 FROM `Old Stock`.`o'r\"d\\`e]r %%s` AS t "
        "WHERE t.`Id` IN (%(Id_1_1)s, %(Id_1_2)s) OR (t.`shop`, t.`a b`) IN ((%(param_1_1_1)s, %(param_1_1_2)s))"
    ),
}


def statements(query: Read, dialect: Dialect) -> list[tuple[str, list[Any]]]:
    found = [written(statement, dialect.compiler()) for statement in selects(query, dialect, "Old Stock")]
    return [
        (" ".join(text.split()), list(values.values()) if isinstance(values, dict) else list(values))
        for text, values in found
    ]


@pytest.mark.parametrize("name", DIALECTS)
def test_names_are_quoted_and_values_stand_beside_the_statement(name: str) -> None:
    [(text, values)] = statements(READ, DIALECTS[name])
    assert text == GOLDEN[name]
    assert values == VALUES


@pytest.mark.parametrize("name", DIALECTS)
def test_every_row_is_wanted_where_none_is_named_and_none_where_nothing_can_match(name: str) -> None:
    [(text, values)] = statements(replace(READ, any_of=()), DIALECTS[name])
    assert (text, values) == (GOLDEN[name].partition(" WHERE ")[0], [])
    nothing = (Rows((("Id",),), [(None,)]), Rows((("a",), ("b",)), []))
    assert statements(replace(READ, any_of=nothing), DIALECTS[name]) == []


def test_more_values_than_a_statement_takes_go_into_several() -> None:
    narrow = replace(POSTGRESQL, parameters=4)
    many = Rows((("a",), ("b",)), [(number, number) for number in range(5)])
    found = statements(replace(READ, any_of=(many,)), narrow)
    assert [len(values) for _, values in found] == [4, 4, 2]
    with pytest.raises(SessionFailed) as refused:
        statements(replace(READ, any_of=(many, many)), narrow)
    assert refused.value.code is DataFailure.TOO_LARGE


def test_a_part_of_a_column_is_no_field_of_a_table() -> None:
    with pytest.raises(SessionFailed) as refused:
        statements(Read(CollectionRef("t"), (("a", "b"),)), POSTGRESQL)
    assert (refused.value.code, refused.value.field) == (DataFailure.FIELD_MISSING, ("a", "b"))
