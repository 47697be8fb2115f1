"""Write many rows with one statement: insert them, and where a key is stored already leave that row out or replace it.

Not by `Connection.execute` with a list of rows, which processes every value of every row once more: for 50 connections it takes
twice as long on SQLite, and eight times as long on PostgreSQL (`benchmarks/RESULTS.md`).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import orjson
from sqlalchemy import Column, Select, Table, bindparam, select
from sqlalchemy.engine import Connection

from connectory.store.prepared import hand_over
from connectory.store.timestamps import UtcDateTime, iso_text

Row = Mapping[str, Any]
"""Values by column: text, numbers, booleans, None, and aware datetimes in UTC. The rows of a call have the same columns."""


def insert_rows(database: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, in order."""
    if rows:
        _write(database, table, rows)


def insert_unless_taken(database: Connection, unique: Column[Any], rows: Sequence[Row]) -> set[str]:
    """Insert rows, and leave out those whose value of `unique` is stored already. The transaction stays usable.

    They are inserted in the order of that value, so that two transactions with common values wait for each other and do
    not deadlock.

    Args:
        unique: a column. Where its table has an `id` as well, which is new for every row, that tells one's own rows.

    Returns:
        The values of `unique` that were inserted; without an `id`, those that are stored now.
    """
    if not rows:
        return set()
    in_order = sorted(rows, key=lambda row: str(row[unique.key]))
    if _write(database, unique.table, in_order, f"ON CONFLICT ({unique.key}) DO NOTHING") == len(rows):
        return {row[unique.key] for row in rows}
    identity = _identity(unique)
    return set(database.execute(_own(unique), {"own": [row[identity.key] for row in rows]}).scalars())


def replace_rows(database: Connection, unique: Column[Any], rows: Sequence[Row], **computed: str) -> None:
    """Insert rows; one whose value of `unique` is stored takes the place of what is there, column for column.

    Args:
        computed: SQL for a column that is not among the values, where a row is replaced; `excluded` is the new row.
    """
    if not rows:
        return
    taken = {name: f"excluded.{name}" for name in rows[0] if name != unique.key} | computed
    changes = ", ".join(f"{name} = {value}" for name, value in taken.items())
    _write(database, unique.table, rows, f"ON CONFLICT ({unique.key}) DO UPDATE SET {changes}")


def _write(database: Connection, table: Any, rows: Sequence[Row], conflict: str = "") -> int:
    """How many rows were written."""
    names = tuple(rows[0])
    statement = _statement(table.name, names, conflict, database.dialect.name)
    times = _times(table, names)
    if database.dialect.name == "postgresql":
        document = [dict(zip(names, _plain(row, times), strict=True)) for row in rows]
        written: int = hand_over(database, statement, (orjson.dumps(document).decode(),)).rowcount
        return written
    driver = cast("sqlite3.Connection", database.connection.driver_connection)
    return driver.executemany(statement, [_plain(row, times) for row in rows]).rowcount


@cache
def _statement(table: str, names: Iterable[str], conflict: str, dialect: str) -> str:
    # Names of tables and columns only; every value is a parameter.
    columns = ", ".join(names)
    if dialect == "postgresql":
        # One parameter, which the server takes apart. `WHERE true` ends the SELECT for the parser, before ON CONFLICT.
        source = f"SELECT {columns} FROM json_populate_recordset(NULL::{table}, %s) WHERE true"  # noqa: S608
    else:
        source = f"VALUES ({', '.join('?' for _ in names)})"
    return f"INSERT INTO {table} ({columns}) {source} {conflict}"


@cache
def _times(table: Table, names: tuple[str, ...]) -> tuple[int, ...]:
    """Which of these columns hold times."""
    return tuple(index for index, name in enumerate(names) if isinstance(table.c[name].type, UtcDateTime))


def _plain(row: Row, times: tuple[int, ...]) -> list[Any]:
    values = list(row.values())
    for index in times:
        if values[index] is not None:
            values[index] = iso_text(values[index])
    return values


@cache
def _own(unique: Column[Any]) -> Select[Any]:
    return select(unique).where(_identity(unique).in_(bindparam("own", expanding=True)))


def _identity(unique: Column[Any]) -> Column[Any]:
    return unique.table.c.get("id", unique)
