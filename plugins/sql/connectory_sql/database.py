"""One login: statements go out with their values beside them, and rows come back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy

from connectory import FailureCode
from connectory.data import SessionFailed
from connectory_sql.dialect import Cursor, Dialect

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as Compiler


def compiler_of(name: str, **options: Any) -> Callable[[], Compiler]:
    """What makes SQLAlchemy's dialect of this name, such as `mysql+pymysql`, with these options."""

    def compiler() -> Compiler:
        made: Compiler = sqlalchemy.make_url(f"{name}://").get_dialect()(**options)
        return made

    return compiler


_MALFORMED = (struct.error, LookupError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError)


class Statement(NamedTuple):
    """What goes to the driver.

    Attributes:
        text: the statement, with the driver's own placeholders.
        values: what stands for them, by place or by name.
    """

    text: str
    values: Any


def written(statement: sqlalchemy.ClauseElement, compiler: Compiler) -> Statement:
    """The statement as `compiler` writes it."""
    compiled: Any = statement.compile(dialect=compiler, compile_kwargs={"render_postcompile": True})
    values = compiled.params
    if compiled.positional:
        return Statement(str(compiled), tuple(values[name] for name in compiled.positiontup))
    return Statement(str(compiled), values)


class Database:
    """A connection that a connector has opened, and how statements for it are written.

    Args:
        dialect: the product's SQL.
        connection: the driver's connection (PEP 249), logged in.

    Attributes:
        facts: what the dialect has found out about the server, for itself.
    """

    def __init__(self, dialect: Dialect, connection: Any) -> None:
        self.dialect = dialect
        self.connection = connection
        self.compiler = dialect.compiler()
        self.facts: dict[str, Any] = {}

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement of ours, in which `:name` stands for the value of that name. A list stands for all in it."""
        names: list[Any] = [
            sqlalchemy.bindparam(name, value, expanding=isinstance(value, list)) for name, value in values.items()
        ]
        text, parameters = written(sqlalchemy.text(statement).bindparams(*names), self.compiler)
        with self.understanding(), closing(self.connection.cursor()) as cursor:
            cursor.execute(text, parameters)
            return [tuple(row) for row in cursor.fetchall()]

    def records(self, statement: str) -> list[dict[str, Any]]:
        """All rows of a statement of ours, by the names of their columns in lower case."""
        with self.understanding(), closing(self.connection.cursor()) as cursor:
            cursor.execute(*written(sqlalchemy.text(statement), self.compiler))
            names = [described[0].lower() for described in cursor.description]
            return [dict(zip(names, row, strict=False)) for row in cursor.fetchall()]

    def run(self, statement: str, **values: Any) -> None:
        """Run a statement of ours that gives no rows."""
        with self.understanding(), closing(self.connection.cursor()) as cursor:
            cursor.execute(*written(sqlalchemy.text(statement).bindparams(**values), self.compiler))

    @contextmanager
    def opened(self, statement: sqlalchemy.ClauseElement) -> Iterator[Cursor]:
        """A cursor whose rows stay on the server until they are fetched."""
        cursor = self.dialect.cursor(self.connection)
        try:
            with self.understanding():
                cursor.execute(*written(statement, self.compiler))
            yield cursor
        finally:
            with suppress(Exception):  # after a failure there may be nothing to close, and the failure is what counts
                cursor.close()

    @contextmanager
    def understanding(self) -> Iterator[None]:
        """For what reads answers: what is raised where an answer makes no sense is told as that."""
        try:
            yield
        except _MALFORMED as error:
            if self.dialect.failure(error) is not None:
                raise
            raise SessionFailed(FailureCode.PROTOCOL_MISMATCH) from error

    def quoted(self, *names: str) -> str:
        """A name as it stands in a statement, its parts joined by dots."""
        preparer = self.compiler.identifier_preparer
        return ".".join(preparer.quote_identifier(name) for name in names)
