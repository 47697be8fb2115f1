"""MySQL and MariaDB: their catalogue is `information_schema`, their driver is PyMySQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind
from connectory_sql.batches import document, moment, text
from connectory_sql.contents import NOT_READABLE, Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database, compiler_of
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.kinds import kind_of
from connectory_sql.mysql_privileges import privileges

_OWN = "NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
_CHOSEN = "IN :schemas"

_TABLES = """
SELECT table_schema, table_name, table_type, table_rows FROM information_schema.tables
WHERE table_schema {schemas} AND table_type NOT IN ('SEQUENCE', 'TEMPORARY', 'TEMPORARY SEQUENCE')
"""
_COLUMNS = """
SELECT table_schema, table_name, column_name, column_type, data_type, is_nullable, character_maximum_length, extra, privileges
FROM information_schema.columns WHERE table_schema {schemas} ORDER BY table_schema, table_name, ordinal_position
"""
_KEYS = """
SELECT table_schema, table_name, index_name,
  CASE WHEN index_name = 'PRIMARY' THEN 'P' WHEN non_unique = 0 THEN 'U' ELSE 'I' END, column_name
FROM information_schema.statistics WHERE table_schema {schemas} AND (non_unique = 0 OR seq_in_index = 1)
ORDER BY table_schema, table_name, index_name, seq_in_index
"""
_REFERENCES = """
SELECT table_schema, table_name, constraint_name, column_name, referenced_table_schema, referenced_table_name,
  referenced_column_name
FROM information_schema.key_column_usage WHERE table_schema {schemas} AND referenced_table_name IS NOT NULL
ORDER BY table_schema, table_name, constraint_name, ordinal_position
"""
_RULES = """
SELECT constraint_schema, table_name, constraint_name, delete_rule FROM information_schema.referential_constraints
WHERE constraint_schema {schemas}
"""
_TRIGGERS = """
SELECT DISTINCT event_object_schema, event_object_table FROM information_schema.triggers WHERE event_object_schema {schemas}
"""


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    part = _OWN if schemas is None else _CHOSEN
    values = {} if schemas is None else {"schemas": list(schemas)}

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return database.rows(statement.format(schemas=part), **values)

    columns = rows(_COLUMNS)
    readable = {(row[0], row[1]) for row in columns if "select" in (row[8] or "").lower()}
    triggers = set(rows(_TRIGGERS))
    rules = {row[:3]: row[3] for row in rows(_RULES)}
    keys = rows(_KEYS)
    by_expression = {row[:3] for row in keys if row[4] is None}  # a key of MySQL's that is more than columns
    contents = Contents(
        [
            Table(schema, name, *_state(type_, (schema, name) in readable), rows, (schema, name) in triggers or None)
            for schema, name, type_, rows in rows(_TABLES)
        ],
        list(itertools.starmap(_column, columns)),
        [KeyColumn(*row) for row in keys if row[:3] not in by_expression],
        [Reference(*(*row, rules.get(row[:3]))) for row in rows(_REFERENCES)],
    )
    return collections(contents, _ref)


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": schema})


def _state(type_: str, readable: bool) -> tuple[str, str | None]:
    """The kind of a table, and why it is not for use."""
    if type_.endswith("VIEW"):
        return "view", "view"
    return "table", None if readable else NOT_READABLE


def _column(
    schema: str,
    table: str,
    name: str,
    native: str,
    type_: str,
    nullable: str,
    length: int | None,
    extra: str,
    _: str,
) -> Column:
    stated = length if type_ in _OF_LENGTH else None
    generated = "GENERATED" in extra.upper() and "DEFAULT_GENERATED" not in extra.upper()
    kind = _KINDS.get(type_) or kind_of(type_)
    return Column(schema, table, name, native, kind, nullable == "YES", stated, generated)


_OF_LENGTH = {"char", "varchar", "binary", "varbinary", "tinytext", "tinyblob"}
# What the driver gives differs from what the names say elsewhere.
_KINDS = {
    "bit": Kind.BYTES,
    "uuid": Kind.STRING,
    **dict.fromkeys(
        [
            "geometry",
            "point",
            "linestring",
            "polygon",
            "multipoint",
            "multilinestring",
            "multipolygon",
            "geometrycollection",
        ],
        Kind.BYTES,
    ),
}

_BINARY = 63
"""The number of the character set of what is no text."""

# MySQL documentation, "Client/Server Protocol": enum_field_types.
_RESULTS = {
    **dict.fromkeys((0, 246), ResultColumn(Kind.DECIMAL)),
    **dict.fromkeys((1, 2, 3, 8, 9, 13), ResultColumn(Kind.INTEGER)),
    **dict.fromkeys((4, 5), ResultColumn(Kind.FLOAT)),
    **dict.fromkeys((7, 12), ResultColumn(Kind.TIMESTAMP, moment)),
    10: ResultColumn(Kind.DATE, moment),
    11: ResultColumn(Kind.STRING, text),
    **dict.fromkeys((16, 255), ResultColumn(Kind.BYTES)),
    245: ResultColumn(Kind.ANY, document),
}


def _columns(cursor: Any) -> list[ResultColumn]:
    # The type alone does not tell a text from a blob.
    return [
        _RESULTS.get(field.type_code)
        or ResultColumn(Kind.BYTES if field.charsetnr == _BINARY and field.type_code >= 249 else Kind.STRING)
        for field in cursor._result.fields  # noqa: SLF001  # PyMySQL's `description` leaves the character set out
    ]


_BY_ERRNO: dict[int, FailureCode | DataFailure] = {
    1044: FailureCode.PERMISSION_DENIED,  # ER_DBACCESS_DENIED_ERROR
    1049: DataFailure.COLLECTION_MISSING,  # ER_BAD_DB_ERROR
    1054: DataFailure.FIELD_MISSING,  # ER_BAD_FIELD_ERROR
    1142: FailureCode.PERMISSION_DENIED,  # ER_TABLEACCESS_DENIED_ERROR
    1143: FailureCode.PERMISSION_DENIED,  # ER_COLUMNACCESS_DENIED_ERROR
    1146: DataFailure.COLLECTION_MISSING,  # ER_NO_SUCH_TABLE
    1205: DataFailure.LOCK_TIMEOUT,  # ER_LOCK_WAIT_TIMEOUT
    1213: DataFailure.SERIALIZATION,  # ER_LOCK_DEADLOCK
    1267: DataFailure.VALUE_REJECTED,  # ER_CANT_AGGREGATE_2COLLATIONS
    1292: DataFailure.VALUE_REJECTED,  # ER_TRUNCATED_WRONG_VALUE
    1317: FailureCode.TIMEOUT,  # ER_QUERY_INTERRUPTED
    1366: DataFailure.VALUE_REJECTED,  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
    1525: DataFailure.VALUE_REJECTED,  # ER_WRONG_VALUE
    1969: FailureCode.TIMEOUT,  # MariaDB: ER_STATEMENT_TIMEOUT
    3024: FailureCode.TIMEOUT,  # ER_QUERY_TIMEOUT
}


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    import pymysql

    if not isinstance(error, pymysql.Error):
        return None
    if isinstance(error.__context__, TimeoutError):
        return FailureCode.TIMEOUT
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return _BY_ERRNO.get(number, FailureCode.QUERY_FAILED)


def _begin(database: Database, read_only: bool) -> None:
    [(version, database.facts["login"])] = database.rows("SELECT VERSION(), CONCAT(CONNECTION_ID(), '@', @@hostname)")
    database.facts["mariadb"] = "mariadb" in version.lower()
    if read_only:
        database.run("SET SESSION TRANSACTION READ ONLY")


def _limit(database: Database, seconds: float, in_all: float) -> None:
    # The driver's own limit, for a server that says nothing, must not be the first: it ends the connection, and the statement
    # goes on. A process that is killed instead has its login ended.
    database.connection._read_timeout = seconds + _LATER  # noqa: SLF001  # PyMySQL takes it when it connects, and reads it each time
    # The server counts the time in which rows are sent, too.
    if database.facts["mariadb"]:
        database.run("SET SESSION max_statement_time = :seconds", seconds=round(in_all, 3))
    else:
        database.run("SET SESSION max_execution_time = :milliseconds", milliseconds=max(1, int(in_all * 1000)))


_LATER = 5.0


def _login(database: Database) -> str:
    login: str = database.facts["login"]
    return login


def _end_login(database: Database, name: str) -> None:
    """By KILL, which the account may do to its own connections. Behind one address there may be several servers."""
    import pymysql

    number, _, server = name.partition("@")
    [(here,)] = database.rows("SELECT @@hostname")
    if here != server:
        return
    try:
        database.run("KILL :number", number=int(number))
    except pymysql.Error as error:
        if error.args[0] != _NO_SUCH_THREAD:
            raise


_NO_SUCH_THREAD = 1094


def _cursor(connection: Any) -> Cursor:
    """A cursor that reads rows as they are fetched."""
    from pymysql.cursors import SSCursor

    class Streaming(SSCursor):  # type: ignore[misc]  # PyMySQL has no types
        def close(self) -> None:
            # The driver's own would read all that is left, which may be everything.
            if self._result is not None and self._result.unbuffered_active:
                self._result.unbuffered_active = False
                self._result.connection = self.connection = None
                connection._force_close()  # noqa: SLF001
            else:
                super().close()

    cursor: Cursor = Streaming(connection)
    return cursor


def _end(connection: Any) -> None:
    if connection.open:
        connection.rollback()


def _usable(connection: Any) -> bool:
    return bool(connection.open)


def _dialect(name: str) -> Dialect:
    return Dialect(
        compiler=compiler_of(name),
        catalogue=_catalogue,
        privileges=privileges,
        failure=_failure,
        columns=_columns,
        cursor=_cursor,
        begin=_begin,
        limit=_limit,
        login=_login,
        end_login=_end_login,
        end=_end,
        usable=_usable,
    )


MYSQL = _dialect("mysql+pymysql")
"""MySQL from version 5.7 on, and what speaks like it, by PyMySQL."""
MARIADB = _dialect("mariadb+pymysql")
"""MariaDB from version 10.3 on, by PyMySQL."""
