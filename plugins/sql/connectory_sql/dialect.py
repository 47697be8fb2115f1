"""What is special to the SQL of one product, as a value: everything else is said once, in the other modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind, Privileges

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect as Compiler

    from connectory_sql.database import Database


class Cursor(Protocol):
    """As much of a DBAPI cursor as reading needs."""

    @property
    def description(self) -> Any:
        """One entry for each column, once rows were fetched."""

    def execute(self, statement: str, parameters: Any, /) -> Any:
        """Run one statement."""

    def fetchmany(self, size: int, /) -> Sequence[Any]:
        """The next rows, at most `size`."""

    def close(self) -> None:
        """Let go of what was not fetched."""


class ResultColumn(NamedTuple):
    """What a column of a result holds, and what makes the driver's value one of that kind, where it is not one already."""

    kind: Kind
    convert: Callable[[Any], Any] | None = None


def _plain_cursor(connection: Any) -> Cursor:
    cursor: Cursor = connection.cursor()
    return cursor


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Dialect:
    """One product's SQL.

    Attributes:
        compiler: makes the SQLAlchemy dialect that writes the statements.
        catalogue: the collections of these schemas, by schema and name; of all but the product's own where there are `None`.
        privileges: what the account may do with collections, in any order; those that it finds.
        failure: the code for an exception of the driver, from its number or SQLSTATE; `None` for what is none of the driver's.
        columns: what the columns of a result hold, from a cursor that has fetched.
        cursor: opens a cursor that leaves the rows on the server. Default: the driver's plain one, for drivers whose plain one
            does.
        begin: what a session begins with; told whether it must only read. Default: nothing.
        limit: sets the server's own deadline for what follows: seconds for each part of an answer, and seconds in all. Default:
            nothing.
        login: by which name the server knows the connection, where it does not notice that a client has gone. Default: none.
        end_login: ends the login of that name, if it is there. Default: nothing.
        end: ends what an operation has left open. Default: rolls back.
        usable: whether the connection can still be used; another one is opened where it cannot. Default: yes.
        row_values: whether `(a, b) IN ((1, 2), …)` is understood. Default: yes.
        parameters: how many a statement may have. Default: 30,000.
        namespace: the key of a collection's namespace that names its schema. Default: `schema`.
    """

    compiler: Callable[[], Compiler]
    catalogue: Callable[[Database, Sequence[str] | None], Iterator[CollectionInfo]]
    privileges: Callable[[Database, Sequence[CollectionRef]], Iterable[Privileges]]
    failure: Callable[[BaseException], FailureCode | DataFailure | None]
    columns: Callable[[Cursor], list[ResultColumn]]
    cursor: Callable[[Any], Cursor] = _plain_cursor
    begin: Callable[[Database, bool], None] = _nothing
    limit: Callable[[Database, float, float], None] = _nothing
    login: Callable[[Database], str | None] = _nothing
    end_login: Callable[[Database, str], None] = _nothing
    end: Callable[[Any], None] = lambda connection: connection.rollback()
    usable: Callable[[Any], bool] = lambda _connection: True
    row_values: bool = True
    parameters: int = 30_000
    namespace: str = "schema"

    def schema_of(self, ref: CollectionRef) -> str | None:
        """The schema that a collection is in; `None` for the session's own."""
        return ref.namespace.get(self.namespace)
