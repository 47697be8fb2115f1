"""What is asked of a table, as SQLAlchemy's expressions. Names are always quoted, and values are always parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy
from sqlalchemy.sql.elements import quoted_name

from connectory.data import DataFailure, Path, Read, Rows, SessionFailed
from connectory_sql.dialect import Dialect


def selects(query: Read, dialect: Dialect, schema: str | None) -> Iterator[sqlalchemy.Select[Any]]:
    """The statements that together give the rows of `query`: one, or several where a list of values is too long for one.

    Args:
        query: what to read.
        dialect: whose limits count.
        schema: where the table is; `None` for the session's own.

    Raises:
        SessionFailed: a field is a part of a column, or several lists of values are too long for one statement.
    """
    wanted = [Rows(some.fields, _comparable(some)) for some in query.any_of]
    if not query.any_of:
        yield _select(query, dialect, schema)
        return
    if sum(len(some.values) * len(some.fields) for some in wanted) <= dialect.parameters:
        if any(some.values for some in wanted):
            yield _select(query, dialect, schema, *wanted)
        return
    if len(wanted) > 1:  # a row that two statements find would come twice
        raise SessionFailed(DataFailure.TOO_LARGE)
    [(fields, values)] = [(some.fields, some.values) for some in wanted]
    step = dialect.parameters // len(fields)
    for start in range(0, len(values), step):
        yield _select(query, dialect, schema, Rows(fields, values[start : start + step]))


def _comparable(some: Rows) -> list[tuple[Any, ...]]:
    """The rows that can match: nothing matches NULL."""
    return list(dict.fromkeys(tuple(row) for row in some.values if None not in row))


def _select(query: Read, dialect: Dialect, schema: str | None, *wanted: Rows) -> sqlalchemy.Select[Any]:
    names = {_column(path) for path in [*query.fields, *(path for some in wanted for path in some.fields)]}
    columns: list[sqlalchemy.ColumnClause[Any]] = [sqlalchemy.column(quoted_name(name, True)) for name in sorted(names)]
    named = schema if schema is None else quoted_name(schema, True)
    table = sqlalchemy.table(quoted_name(query.ref.name, True), *columns, schema=named).alias("t")
    statement = sqlalchemy.select(*(table.c[path[0]].label(f"c{place}") for place, path in enumerate(query.fields)))
    if not wanted:
        return statement
    return statement.where(sqlalchemy.or_(*(_match(some, table, dialect) for some in wanted if some.values)))


def _column(path: Path) -> str:
    if len(path) != 1:
        raise SessionFailed(DataFailure.FIELD_MISSING, field=path)
    return path[0]


def _match(some: Rows, table: sqlalchemy.FromClause, dialect: Dialect) -> sqlalchemy.ColumnElement[bool]:
    columns = [table.c[path[0]] for path in some.fields]
    if len(columns) == 1:
        return columns[0].in_([value for (value,) in some.values])
    if dialect.row_values:
        return sqlalchemy.tuple_(*columns).in_(some.values)
    return sqlalchemy.or_(
        *(sqlalchemy.and_(*(one == value for one, value in zip(columns, row, strict=True))) for row in some.values)
    )
