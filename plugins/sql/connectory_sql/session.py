"""The data session of every SQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from connectory.data import (
    Batch,
    CollectionInfo,
    CollectionRef,
    DataSession,
    Privileges,
    Read,
    SessionContext,
    SessionFailed,
)
from connectory_sql.batches import batches
from connectory_sql.database import Database
from connectory_sql.dialect import Dialect
from connectory_sql.statements import selects


class SqlSession(DataSession):
    """A session of a database that speaks SQL.

    Args:
        dialect: the product's SQL.
        log_in: opens the driver's connection (PEP 249) and logs in. Called at once, and again where a statement could only be
            ended together with its connection.
        context: of the session.
        schema: the schema that the connection is for. Default: all that the product does not keep for itself.
        afterwards: what to close once the session is closed. Default: nothing.
    """

    def __init__(
        self,
        dialect: Dialect,
        log_in: Callable[[], Any],
        context: SessionContext,
        *,
        schema: str | None = None,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        self._dialect = dialect
        self._log_in = log_in
        self._context = context
        self._schema = schema
        self._afterwards = afterwards
        self._database = self._opened()

    def close(self) -> None:
        """Log out."""
        try:
            if self._dialect.usable(self._database.connection):
                self._database.connection.close()
        finally:
            if self._afterwards is not None:
                self._afterwards()

    def end_login(self, name: str) -> None:
        """End another login of the same account, where the server would not notice that its client has gone."""
        with self._operation():
            self._dialect.end_login(self._database, name)

    def discover(self, namespace: Mapping[str, str] | None = None, sample: int = 1000) -> Iterator[CollectionInfo]:
        """Every table of the schemas that the connection is for, by schema and name. Nothing is sampled."""
        del sample
        named = namespace or {}
        # Who asks for a schema need not know what the product calls it.
        schema = named.get(self._dialect.namespace, named.get("schema", self._schema))
        with self._operation(), self._database.understanding():
            yield from self._dialect.catalogue(self._database, None if schema is None else [schema])

    def privileges(self, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
        """What the account may do, as the database's catalogue says. Nothing is written."""
        with self._operation(), self._database.understanding():
            found = {_place(known.ref): known for known in self._dialect.privileges(self._database, refs)}
        for ref in refs:
            yield found.get(_place(ref), Privileges(ref, None, None, None))

    def read(self, query: Read, batch: int) -> Iterator[Batch]:
        """The rows, by a cursor that leaves them on the server."""
        with self._operation():
            for statement in selects(query, self._dialect, self._dialect.schema_of(query.ref) or self._schema):
                with self._database.opened(statement) as cursor:
                    yield from batches(cursor, self._dialect.columns, batch, self._database.understanding)

    def _opened(self) -> Database:
        database = Database(self._dialect, self._log_in())
        with self._told():
            self._dialect.begin(database, self._context.read_only)
            login = self._dialect.login(database)
        if login is not None:
            self._context.report_login(login)
        return database

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """What is done inside ends in time, and leaves nothing open."""
        if not self._dialect.usable(self._database.connection):
            self._database = self._opened()
        with self._told():
            try:
                self._dialect.limit(self._database, self._context.timeout, self._context.time_in_all)
                yield
            finally:
                with suppress(Exception):  # a connection that is lost has nothing open
                    self._dialect.end(self._database.connection)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the driver's errors mean."""
        try:
            yield
        except Exception as error:
            failure = self._dialect.failure(error)
            if failure is None:
                raise
            raise SessionFailed(failure) from error


def _place(ref: CollectionRef) -> tuple[str, tuple[tuple[str, str], ...]]:
    return ref.name, tuple(sorted(ref.namespace.items()))
