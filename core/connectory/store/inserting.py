"""Insert rows unless a unique key is taken: the way out of a race that leaves the transaction usable."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Executable
from sqlalchemy.engine import Connection


def insert_unless_taken(database: Connection, unique: Column[Any], rows: Sequence[dict[str, Any]]) -> set[str]:
    """Insert rows with one statement, and leave out those whose value of `unique` is stored already.

    They are inserted in the order of that value, so that two transactions with common values wait for each other and do
    not deadlock.

    Returns:
        The values of `unique` that were inserted.
    """
    if not rows:
        return set()
    in_order = sorted(rows, key=lambda row: str(row[unique.key]))
    return set(database.execute(_statement(unique, database.dialect.name), in_order).scalars())


@cache
def _statement(unique: Column[Any], dialect: str) -> Executable:
    # ON CONFLICT is not in SQLAlchemy's common insert; each dialect is imported only where it is used.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(unique.table).on_conflict_do_nothing(index_elements=[unique]).returning(unique)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(unique.table).on_conflict_do_nothing(index_elements=[unique]).returning(unique)
