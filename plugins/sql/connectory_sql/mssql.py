"""Microsoft SQL Server: its catalogues are `INFORMATION_SCHEMA` and `sys`, its driver is pyodbc.

It shows an account only what the account has some right to.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind, Privileges
from connectory_sql.batches import text
from connectory_sql.contents import NOT_READABLE, Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database, compiler_of
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.failures import failure_of_state
from connectory_sql.kinds import kind_of

_OWN = "NOT IN ('sys', 'INFORMATION_SCHEMA', 'information_schema')"
_CHOSEN = "IN :schemas"
_PLACE = "CONCAT(QUOTENAME(s.name), '.', QUOTENAME(o.name))"

_TABLES = """
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE,
  HAS_PERMS_BY_NAME(CONCAT(QUOTENAME(t.TABLE_SCHEMA), '.', QUOTENAME(t.TABLE_NAME)), 'OBJECT', 'SELECT')
FROM INFORMATION_SCHEMA.TABLES t WHERE t.TABLE_SCHEMA {schemas}
"""
_COLUMNS = """
SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.IS_NULLABLE, c.CHARACTER_MAXIMUM_LENGTH,
  c.NUMERIC_PRECISION, c.NUMERIC_SCALE
FROM INFORMATION_SCHEMA.COLUMNS c WHERE c.TABLE_SCHEMA {schemas}
ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION
"""
_GENERATED = """
SELECT s.name, o.name, c.name
FROM sys.columns c JOIN sys.objects o ON o.object_id = c.object_id JOIN sys.schemas s ON s.schema_id = o.schema_id
WHERE (c.is_identity = 1 OR c.is_computed = 1) AND s.name {schemas}
"""
_KEYS = """
SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, CASE t.CONSTRAINT_TYPE WHEN 'PRIMARY KEY' THEN 'P' ELSE 'U' END,
  k.COLUMN_NAME
FROM INFORMATION_SCHEMA.KEY_COLUMN_USAGE k JOIN INFORMATION_SCHEMA.TABLE_CONSTRAINTS t
  ON t.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND t.TABLE_NAME = k.TABLE_NAME
WHERE t.CONSTRAINT_TYPE IN ('PRIMARY KEY', 'UNIQUE') AND k.TABLE_SCHEMA {schemas}
ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
_REFERENCES = """
SELECT s.name, o.name, f.name, c.name, ts.name, t.name, tc.name, f.delete_referential_action_desc
FROM sys.foreign_keys f
JOIN sys.foreign_key_columns p ON p.constraint_object_id = f.object_id
JOIN sys.objects o ON o.object_id = f.parent_object_id
JOIN sys.schemas s ON s.schema_id = o.schema_id
JOIN sys.columns c ON c.object_id = o.object_id AND c.column_id = p.parent_column_id
JOIN sys.objects t ON t.object_id = f.referenced_object_id
JOIN sys.schemas ts ON ts.schema_id = t.schema_id
JOIN sys.columns tc ON tc.object_id = t.object_id AND tc.column_id = p.referenced_column_id
WHERE s.name {schemas}
ORDER BY f.object_id, p.constraint_column_id
"""
_TRIGGERS = """
SELECT s.name, o.name FROM sys.triggers g
JOIN sys.objects o ON o.object_id = g.parent_id JOIN sys.schemas s ON s.schema_id = o.schema_id WHERE s.name {schemas}
"""
_RIGHTS = f"""
SELECT s.name, o.name, USER_NAME(), SUSER_SNAME(), IS_SRVROLEMEMBER('sysadmin'),
  IS_ROLEMEMBER('db_owner'), IS_ROLEMEMBER('db_datawriter'),
  HAS_PERMS_BY_NAME({_PLACE}, 'OBJECT', 'SELECT'), HAS_PERMS_BY_NAME({_PLACE}, 'OBJECT', 'INSERT'),
  (SELECT MAX(HAS_PERMS_BY_NAME({_PLACE}, 'OBJECT', 'UPDATE', c.name, 'COLUMN')) FROM sys.columns c
    WHERE c.object_id = o.object_id),
  HAS_PERMS_BY_NAME({_PLACE}, 'OBJECT', 'DELETE'), HAS_PERMS_BY_NAME({_PLACE}, 'OBJECT', 'ALTER')
FROM sys.objects o JOIN sys.schemas s ON s.schema_id = o.schema_id WHERE s.name = :schema AND o.name IN :names
"""  # noqa: S608  # all of it is here
_WRITES = ("INSERT", "UPDATE", "DELETE", "ALTER")  # the last is the right to TRUNCATE


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    part = _OWN if schemas is None else _CHOSEN
    values = {} if schemas is None else {"schemas": list(schemas)}

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return database.rows(statement.format(schemas=part), **values)

    triggers, generated = set(rows(_TRIGGERS)), set(rows(_GENERATED))
    contents = Contents(
        [_table(*row, has_triggers=row[:2] in triggers) for row in rows(_TABLES)],
        [_column(*row, generated=row[:3] in generated) for row in rows(_COLUMNS)],
        itertools.starmap(KeyColumn, rows(_KEYS)),
        itertools.starmap(Reference, rows(_REFERENCES)),
    )
    return collections(contents, _ref)


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": schema})


def _table(schema: str, name: str, type_: str, readable: int | None, *, has_triggers: bool) -> Table:
    if type_ == "VIEW":
        return Table(schema, name, "view", "view")
    return Table(schema, name, left_out=None if readable else NOT_READABLE, has_triggers=has_triggers)


def _column(
    schema: str,
    table: str,
    name: str,
    type_: str,
    nullable: str,
    length: int | None,
    precision: int | None,
    scale: int | None,
    *,
    generated: bool,
) -> Column:
    kind = _KINDS.get(type_) or kind_of(type_)
    native = type_
    if length is not None:
        native = f"{type_}({'max' if length < 0 else length})"
    elif kind is Kind.DECIMAL and type_ in ("decimal", "numeric"):
        native = f"{type_}({precision},{scale})"
    # Of the types that state no length of their own it tells the greatest there is.
    stated = length if length is not None and 0 < length < 1 << 29 else None
    return Column(schema, table, name, native, kind, nullable == "YES", stated, generated)


_KINDS = {
    "bit": Kind.BOOLEAN,
    "timestamp": Kind.BYTES,  # which is a number of the row's version
    "hierarchyid": Kind.BYTES,
    "geography": Kind.BYTES,
    "geometry": Kind.BYTES,
}


def _privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    for schema in sorted({ref.namespace.get("schema", "") for ref in refs}):
        names = [ref.name for ref in refs if ref.namespace.get("schema", "") == schema]
        for _, name, user, login, admin, *known in database.rows(_RIGHTS, schema=schema, names=names):
            owner, writer, read, *held = known
            insert, update, delete, alter = held
            writes = [right for right, has in zip(_WRITES, held, strict=True) if has]
            me, table = database.quoted(user), database.quoted(schema, name)
            remedy = f"REVOKE {', '.join(writes)} ON {table} FROM {me};" if writes else ""
            if admin:
                remedy = f"ALTER SERVER ROLE [sysadmin] DROP MEMBER {database.quoted(login)};"
            elif owner or writer:
                remedy = f"ALTER ROLE {'[db_owner]' if owner else '[db_datawriter]'} DROP MEMBER {me};"
            yield Privileges(_ref(schema, name), _any(read), _any(insert, update), _any(delete, alter), remedy)


def _any(*answers: int | None) -> bool | None:
    """Whether any of these is true; `None` where that depends on one that the server did not answer."""
    if any(answers):
        return True
    return None if None in answers else False


def _begin(database: Database, read_only: bool) -> None:
    del read_only  # only reading is done, and SQL Server has no session that refuses the rest
    import pyodbc

    pyodbc.native_uuid = True
    database.connection.add_output_converter(-155, _datetimeoffset)
    for user_defined in (-150, -151):
        database.connection.add_output_converter(user_defined, bytes)


def _datetimeoffset(value: bytes) -> datetime:
    """ODBC's SQL_SS_TIMESTAMPOFFSET_STRUCT."""
    year, month, day, hour, minute, second, nanosecond, hours, minutes = struct.unpack("<6hI2h", value)
    zone = timezone(timedelta(hours=hours, minutes=minutes))
    return datetime(year, month, day, hour, minute, second, nanosecond // 1000, zone)


def _limit(database: Database, seconds: float, _in_all: float) -> None:
    # Past it the driver sends an attention, which ends the statement on the server. By itself the server ends only what waits
    # for others, a little earlier, so that it is told as that.
    whole = max(1, math.floor(seconds))
    database.connection.timeout = whole
    database.run(f"SET LOCK_TIMEOUT {whole * 900}")


def _login(database: Database) -> str | None:
    """The number of the session, with what tells it from a later one of that number; `None` where the server does not say."""
    rows = _sessions(database, "@@SPID")
    return _LOGIN.join(map(str, rows[0])) if rows else None


def _end_login(database: Database, name: str) -> None:
    """By KILL: a server that works on a statement looks at its client again only when it has something to send.

    Another session is shown, and may be ended, only by whoever has ALTER ANY CONNECTION, or on Azure KILL DATABASE CONNECTION.
    """
    number, *_ = name.split(_LOGIN)
    if [name] == [_LOGIN.join(map(str, row)) for row in _sessions(database, str(int(number)))]:
        with suppress(*_not_allowed()):
            database.run(f"KILL {int(number)}")  # which takes no variable


_LOGIN = "@"
_SESSION = "SELECT session_id, login_time, @@SERVERNAME FROM sys.dm_exec_sessions WHERE session_id = {number}"


def _sessions(database: Database, number: str) -> list[tuple[Any, ...]]:
    """Number, time of login and server of the session; none where the account is not shown it."""
    with suppress(*_not_allowed()):
        return database.rows(_SESSION.format(number=number))
    return []


def _not_allowed() -> tuple[type[Exception], ...]:
    import pyodbc

    return (pyodbc.Error,)


def _columns(cursor: Cursor) -> list[ResultColumn]:
    return [_RESULTS.get(described[1], ResultColumn(Kind.STRING, text)) for described in cursor.description]


# By the type of Python that the driver gives.
_RESULTS: dict[type, ResultColumn] = {
    str: ResultColumn(Kind.STRING),
    int: ResultColumn(Kind.INTEGER),
    Decimal: ResultColumn(Kind.DECIMAL),
    float: ResultColumn(Kind.FLOAT),
    bool: ResultColumn(Kind.BOOLEAN),
    bytearray: ResultColumn(Kind.BYTES, bytes),
    bytes: ResultColumn(Kind.BYTES),
    date: ResultColumn(Kind.DATE),
    datetime: ResultColumn(Kind.TIMESTAMP),
    UUID: ResultColumn(Kind.UUID),
}


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    import pyodbc

    if not isinstance(error, pyodbc.Error):
        return None
    # Microsoft's driver and FreeTDS give a missing right the state of a wrong statement; only the number beside it tells.
    number = _NUMBER.search(str(error.args[-1])) if error.args else None
    if number and int(number[1]) in _BY_NUMBER:
        return _BY_NUMBER[int(number[1])]
    return failure_of_state(str(error.args[0]) if error.args else None)


_NUMBER = re.compile(r"\((\d+)\) \(SQL")
"""The server's error number, as pyodbc writes it before the name of the function that failed."""
_BY_NUMBER: dict[int, FailureCode | DataFailure] = {
    207: DataFailure.FIELD_MISSING,
    208: DataFailure.COLLECTION_MISSING,
    229: FailureCode.PERMISSION_DENIED,
    230: FailureCode.PERMISSION_DENIED,  # on a column
    245: DataFailure.VALUE_REJECTED,  # conversion failed
    1205: DataFailure.SERIALIZATION,  # chosen as the victim of a deadlock
    1222: DataFailure.LOCK_TIMEOUT,
    8114: DataFailure.VALUE_REJECTED,  # conversion failed
}

MSSQL = Dialect(
    compiler=compiler_of("mssql+pyodbc", paramstyle="qmark"),
    catalogue=_catalogue,
    privileges=_privileges,
    failure=_failure,
    columns=_columns,
    begin=_begin,
    limit=_limit,
    login=_login,
    end_login=_end_login,
    row_values=False,
    parameters=2000,
)
"""SQL Server from version 2016 on and Azure SQL, by pyodbc with autocommit."""
