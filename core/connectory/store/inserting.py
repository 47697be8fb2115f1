"""Insert rows whose key may be stored already: leave those out, or replace what is stored."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Executable, Select, Table, bindparam, select
from sqlalchemy.engine import Connection


def insert_unless_taken(database: Connection, unique: Column[Any], rows: Sequence[dict[str, Any]]) -> set[str]:
    """Insert rows with one statement, and leave out those whose value of `unique` is stored already.

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
    statement = _statement(unique, database.dialect.name)
    if database.dialect.name == "postgresql":
        return set(database.execute(statement, in_order).scalars())
    # SQLite prepares one row's statement once. With RETURNING, SQLAlchemy writes one statement that holds all rows.
    if database.execute(statement, in_order).rowcount == len(rows):
        return {row[unique.key] for row in rows}
    identity = _identity(unique)
    return set(database.execute(_own(unique), {"own": [row[identity.key] for row in rows]}).scalars())


def replace_rows(database: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, each with all columns; one whose primary key is stored takes the place of what is there."""
    if rows:
        database.execute(_upsert(table, database.dialect.name), rows)


@cache
def _statement(unique: Column[Any], dialect: str) -> Executable:
    statement = _insert(unique.table, dialect).on_conflict_do_nothing(index_elements=[unique])
    return statement.returning(unique) if dialect == "postgresql" else statement


@cache
def _upsert(table: Table, dialect: str) -> Executable:
    statement = _insert(table, dialect)
    key = list(table.primary_key)
    given = {column.name: statement.excluded[column.name] for column in table.columns if column not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=given)


def _insert(table: Any, dialect: str) -> Any:
    # ON CONFLICT is not in SQLAlchemy's common insert; each dialect is imported only where it is used.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


@cache
def _own(unique: Column[Any]) -> Select[Any]:
    return select(unique).where(_identity(unique).in_(bindparam("own", expanding=True)))


def _identity(unique: Column[Any]) -> Column[Any]:
    return unique.table.c.get("id", unique)
