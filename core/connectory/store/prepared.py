"""Statements that run often: compiled once, and handed to the driver past SQLAlchemy.

SQLAlchemy takes 80 µs to look up what it compiled, to bind the values and to make its rows; SQLite takes 10 for one row.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Select
from sqlalchemy.sql.dml import UpdateBase

from connectory.store.session_limits import is_pooled

_Statement = Select[Any] | UpdateBase


class Prepared:
    """One statement. Its parameters are `bindparam`s, none of which expands to several.

    Args:
        statement: as `Connection.execute` takes it.
    """

    def __init__(self, statement: _Statement) -> None:
        self._statement = statement
        self._by_dialect: dict[str, _Compiled] = {}

    def all(self, database: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows.

        Args:
            values: one for each parameter.
        """
        compiled = self._compiled(database.dialect)
        return [compiled.read(row) for row in hand_over(database, compiled.text, compiled.bind(values)).fetchall()]

    def first(self, database: Connection, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The row of a statement that answers at most one."""
        rows = self.all(database, values)
        return rows[0] if rows else None

    def run(self, database: Connection, values: Mapping[str, Any]) -> int:
        """How many rows a statement changed that answers none."""
        compiled = self._compiled(database.dialect)
        changed: int = hand_over(database, compiled.text, compiled.bind(values)).rowcount
        return changed

    def _compiled(self, dialect: Dialect) -> "_Compiled":
        if dialect.name not in self._by_dialect:
            self._by_dialect[dialect.name] = _Compiled(self._statement, dialect)
        return self._by_dialect[dialect.name]


class _Compiled:
    """A statement as a driver takes it.

    Attributes:
        text: with the driver's placeholders.
    """

    def __init__(self, statement: _Statement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = compiled.string
        self._positions = compiled.positiontup
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._binding = {
            name: processor
            for name, bind in compiled.binds.items()
            if (processor := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        processors = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.exported_columns
        ]
        self._reading = [(index, processor) for index, processor in enumerate(processors) if processor is not None]

    def bind(self, values: Mapping[str, Any]) -> Any:
        """The parameters, by position or by name."""
        given = {**self._fixed, **values}
        for name, processor in self._binding.items():
            given[name] = processor(given[name])
        return given if self._positions is None else [given[name] for name in self._positions]

    def read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a row of the driver's stands for."""
        found = list(row)
        for index, processor in self._reading:
            found[index] = processor(found[index])
        return tuple(found)


def hand_over(database: Connection, text: str, parameters: Any) -> Any:
    """Have the driver run a statement.

    Args:
        text: with its placeholders.
        parameters: as it takes them.

    Returns:
        Its cursor, or what has `fetchall` and `rowcount` like one.

    Raises:
        DBAPIError: the statement failed.
    """
    if database.dialect.name == "postgresql" and is_pooled(database):
        return database.exec_driver_sql(text, parameters)  # with which the session's settings go
    driver: Any = database.connection.driver_connection
    cursor = driver.cursor()
    try:
        cursor.execute(text, parameters)
    except database.dialect.loaded_dbapi.Error as error:
        if getattr(driver, "closed", False):  # of PostgreSQL's, when the server is gone
            database.exec_driver_sql("SELECT 1")  # fails, so that SQLAlchemy gives up the pool's connections
        raise DBAPIError(text, None, error) from None
    return cursor
