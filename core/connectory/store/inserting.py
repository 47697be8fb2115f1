"""Insert rows unless a unique key is taken: the way out of a race that leaves the transaction usable."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Executable, Select, bindparam, select
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


@cache
def _statement(unique: Column[Any], dialect: str) -> Executable:
    # ON CONFLICT is not in SQLAlchemy's common insert; each dialect is imported only where it is used.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(unique.table).on_conflict_do_nothing(index_elements=[unique]).returning(unique)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(unique.table).on_conflict_do_nothing(index_elements=[unique])


@cache
def _own(unique: Column[Any]) -> Select[Any]:
    return select(unique).where(_identity(unique).in_(bindparam("own", expanding=True)))


def _identity(unique: Column[Any]) -> Column[Any]:
    return unique.table.c.get("id", unique)
