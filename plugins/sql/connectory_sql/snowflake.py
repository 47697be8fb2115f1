"""Snowflake: the current database's `INFORMATION_SCHEMA`, and SHOW for its keys, which Snowflake states and does not enforce."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind, Privileges
from connectory_sql.batches import text
from connectory_sql.contents import Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.failures import failure_of_state
from connectory_sql.kinds import kind_of

_OWN = "<> 'INFORMATION_SCHEMA'"
_CHOSEN = "IN :schemas"

_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ROW_COUNT FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA {schemas}
"""
_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE
FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA {schemas} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION
"""
_RIGHTS = """
SELECT TABLE_SCHEMA, TABLE_NAME, GRANTEE, PRIVILEGE_TYPE FROM INFORMATION_SCHEMA.TABLE_PRIVILEGES
WHERE TABLE_SCHEMA IN :schemas ORDER BY GRANTEE, PRIVILEGE_TYPE
"""
# Nobody can write through a view, not even who owns it.
_VIEWS = "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_SCHEMA IN :schemas"
_ADMINISTRATORS = {"ACCOUNTADMIN", "SECURITYADMIN"}
_UPDATES = {"INSERT", "UPDATE", "OWNERSHIP"}
_DELETES = {"DELETE", "TRUNCATE", "OWNERSHIP"}


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    part = _OWN if schemas is None else _CHOSEN
    values = {} if schemas is None else {"schemas": list(schemas)}

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return database.rows(statement.format(schemas=part), **values)

    tables = [_table(*row) for row in rows(_TABLES)]
    keys: list[KeyColumn] = []
    references: list[Reference] = []
    for schema in sorted({table.schema for table in tables}):
        place = f"IN SCHEMA {database.quoted(schema)}"
        for type_, kind in (("P", "PRIMARY"), ("U", "UNIQUE")):
            found = database.records(f"SHOW {kind} KEYS {place}")
            keys += [
                KeyColumn(schema, row["table_name"], row["constraint_name"], type_, row["column_name"])
                for row in _ordered(found)
            ]
        references += [
            Reference(*(row[name] for name in _REFERENCE))
            for row in _ordered(database.records(f"SHOW IMPORTED KEYS {place}"))
            if row["pk_table_name"]
        ]
    return collections(Contents(tables, itertools.starmap(_column, rows(_COLUMNS)), keys, references), _ref)


_REFERENCE = (
    "fk_schema_name",
    "fk_table_name",
    "fk_name",
    "fk_column_name",
    "pk_schema_name",
    "pk_table_name",
    "pk_column_name",
    "delete_rule",
)


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: int(row["key_sequence"]))


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": schema})


def _table(schema: str, name: str, type_: str, rows: int | None) -> Table:
    kind = "table" if type_ == "BASE TABLE" else type_.lower()
    # Snowflake has no triggers.
    return Table(schema, name, kind, kind if kind.endswith("view") else None, rows, has_triggers=False)


def _column(
    schema: str,
    table: str,
    name: str,
    type_: str,
    nullable: str,
    length: int | None,
    precision: int | None,
    scale: int | None,
) -> Column:
    kind, native = kind_of(type_), type_
    if type_ == "NUMBER":
        kind, native = (Kind.DECIMAL if scale else Kind.INTEGER), f"NUMBER({precision},{scale})"
    elif length is not None:
        native = f"{type_}({length})"
    stated = length if length is not None and length < _LONGEST else None
    return Column(schema, table, name, native, kind, nullable == "YES", stated, array=type_ == "ARRAY")


_LONGEST = 8_388_608
"""What columns that state no length have: 8 or 16 MiB, and 128 MiB since 2025."""


def _privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    schemas = sorted({ref.namespace.get("schema", "") for ref in refs})
    try:
        [(available, user)] = database.rows("SELECT CURRENT_AVAILABLE_ROLES(), CURRENT_USER()")
        rows = database.rows(_RIGHTS, schemas=schemas)
        views = set(database.rows(_VIEWS, schemas=schemas))
    except Exception as error:
        if _failure(error) is None:
            raise
        return
    roles = set(json.loads(available))
    administers = bool(roles & _ADMINISTRATORS)
    held: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for schema, name, role, right in rows:
        if role in roles:
            held[schema, name][role].append(right)
    for (schema, name), by_role in held.items():  # where nothing is told of a table, nothing is known
        rights = {right for some in by_role.values() for right in some}
        if (schema, name) in views:
            yield Privileges(_ref(schema, name), read=bool(rights), update=False, delete=False)
            continue
        yield Privileges(
            _ref(schema, name),
            read=bool(rights & {"SELECT", "OWNERSHIP"}),
            # Who may manage grants can give himself any right.
            update=administers or bool(rights & _UPDATES),
            delete=administers or bool(rights & _DELETES),
            remedy=" ".join(
                f"REVOKE ROLE {role} FROM USER {database.quoted(user)};" for role in sorted(roles & _ADMINISTRATORS)
            )
            or " ".join(
                f"REVOKE {', '.join(taken)} ON TABLE {database.quoted(schema, name)} FROM ROLE {database.quoted(role)};"
                for role, some in by_role.items()
                if (taken := [right for right in some if right in _UPDATES | _DELETES])
            ),
        )


def _columns(cursor: Cursor) -> list[ResultColumn]:
    return [
        ResultColumn(Kind.DECIMAL) if described[1] == _FIXED and described[5] else _RESULTS.get(described[1], _OTHER)
        for described in cursor.description
    ]


def _any_document(value: Any) -> Any:
    try:
        return json.loads(value)
    except ValueError:  # Snowflake writes `undefined` too
        return value


_FIXED = 0
_OTHER = ResultColumn(Kind.STRING, text)
# By the driver's numbers (snowflake.connector.constants.FIELD_TYPES).
_RESULTS = {
    _FIXED: ResultColumn(Kind.INTEGER),
    1: ResultColumn(Kind.FLOAT),
    2: ResultColumn(Kind.STRING),
    3: ResultColumn(Kind.DATE),
    **dict.fromkeys((4, 6, 7, 8), ResultColumn(Kind.TIMESTAMP)),
    **dict.fromkeys((5, 9, 10), ResultColumn(Kind.ANY, _any_document)),
    11: ResultColumn(Kind.BYTES, bytes),
    13: ResultColumn(Kind.BOOLEAN),
}


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    from snowflake.connector import Error

    if not isinstance(error, Error):
        return None
    return _BY_ERRNO.get(error.errno) or failure_of_state(error.sqlstate)


_BY_ERRNO: dict[int | None, FailureCode | DataFailure] = {
    904: DataFailure.FIELD_MISSING,  # invalid identifier
    2003: DataFailure.COLLECTION_MISSING,  # does not exist, or may not be used
    3001: FailureCode.PERMISSION_DENIED,  # insufficient privileges
    90105: FailureCode.DATABASE_NOT_FOUND,  # the session is in no database
}


SNOWFLAKE = Dialect(
    compiler=lambda: DefaultDialect(paramstyle="pyformat"),
    catalogue=_catalogue,
    privileges=_privileges,
    failure=_failure,
    columns=_columns,
    end=lambda _connection: None,  # nothing is open: each statement is a transaction
    parameters=15_000,
)
"""Snowflake, by its own driver with autocommit. A name without quotes means itself in capitals: see `schema_named`."""


def schema_named(name: str | None) -> str | None:
    """What a schema is called that somebody has written as Snowflake's SQL names it: in quotes, or in any case."""
    if name is not None and len(name) > 2 and name[0] == name[-1] == '"':
        return name[1:-1].replace('""', '"')
    return name if name is None else name.upper()
