"""Statements that run often, compiled once, and on SQLite run past SQLAlchemy.

SQLAlchemy takes 80 µs to look up what it compiled, to bind the values and to make its rows; SQLite takes 10 for one row.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.sql import Select
from sqlalchemy.sql.dml import UpdateBase

_Statement = Select[Any] | UpdateBase


class Prepared:
    """One statement. Its parameters are `bindparam`s, none of which expands to several.

    Args:
        statement: as `Connection.execute` takes it.
    """

    def __init__(self, statement: _Statement) -> None:
        self._statement = statement
        self._on_sqlite: _OnSqlite | None = None

    def all(self, database: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows.

        Args:
            values: one for each parameter.
        """
        if database.dialect.name != "sqlite":
            return [tuple(row) for row in database.execute(self._statement, values)]
        on_sqlite = self._for_sqlite(database.dialect)
        return [on_sqlite.read(row) for row in on_sqlite.execute(database, values)]

    def first(self, database: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The row of a statement that answers at most one."""
        rows = self.all(database, values)
        return rows[0] if rows else None

    def run(self, database: Connection, values: Mapping[str, Any]) -> int:
        """How many rows a statement changed that answers none."""
        if database.dialect.name != "sqlite":
            return database.execute(self._statement, values).rowcount
        return self._for_sqlite(database.dialect).execute(database, values).rowcount

    def _for_sqlite(self, dialect: Dialect) -> "_OnSqlite":
        if self._on_sqlite is None:
            self._on_sqlite = _OnSqlite(self._statement, dialect)
        return self._on_sqlite


class _OnSqlite:
    def __init__(self, statement: _Statement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._text = compiled.string
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._parameters = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        ]
        processors = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.exported_columns
        ]
        self._processed = [(index, processor) for index, processor in enumerate(processors) if processor is not None]

    def execute(self, database: Connection, values: Mapping[str, Any]) -> sqlite3.Cursor:
        driver = cast("sqlite3.Connection", database.connection.driver_connection)
        given = {**self._fixed, **values}
        parameters = [
            given[name] if processor is None else processor(given[name]) for name, processor in self._parameters
        ]
        return driver.execute(self._text, parameters)

    def read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        found = list(row)
        for index, processor in self._processed:
            found[index] = processor(found[index])
        return tuple(found)
