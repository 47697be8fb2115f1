"""PostgreSQL: its catalogues are `pg_catalog`, its driver is psycopg2."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind
from connectory_sql.batches import binary, text, uuid
from connectory_sql.contents import NOT_READABLE, Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database, compiler_of
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.failures import failure_of_state
from connectory_sql.kinds import kind_of
from connectory_sql.postgresql_privileges import privileges

_OWN = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_CHOSEN = "n.nspname IN :schemas"

_TABLES = """
SELECT n.nspname, c.relname, c.relkind::text, parent.relname, c.reltuples::bigint,
  EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal),
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND (
    pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT'))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_catalog.pg_class parent ON parent.oid = i.inhparent
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {schemas}
"""

# A domain counts as what it stands for in the end, also as the element of an array; the length of a text is its modifier less the
# four bytes of a header.
_COLUMNS = """
WITH RECURSIVE step (oid, base, modifier, required) AS (
  SELECT oid, typbasetype, typtypmod, typnotnull FROM pg_catalog.pg_type WHERE typtype = 'd'
  UNION ALL
  SELECT d.oid, t.typbasetype, greatest(d.modifier, t.typtypmod), d.required OR t.typnotnull
  FROM step d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
), domain AS (SELECT d.* FROM step d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype <> 'd')
SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
  b.typname, CASE WHEN b.typcategory = 'A' THEN e.typname END, NOT (a.attnotnull OR coalesce(d.required, false)),
  CASE WHEN b.typname IN ('varchar', 'bpchar') AND greatest(a.atttypmod, d.modifier) > 4
    THEN greatest(a.atttypmod, d.modifier) - 4 END,
  a.attidentity = 'a' OR {generated}
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN domain d ON d.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = coalesce(d.base, a.atttypid)
LEFT JOIN domain of_element ON of_element.oid = b.typelem
LEFT JOIN pg_catalog.pg_type e ON e.oid = coalesce(of_element.base, b.typelem)
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND {schemas}
ORDER BY a.attrelid, a.attnum
"""

_KEYS = """
SELECT n.nspname, c.relname, x.relname, k.type, a.attname
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
CROSS JOIN LATERAL (SELECT CASE WHEN i.indisprimary THEN 'P' WHEN i.indisunique AND NOT 0 = ANY (i.indkey) THEN 'U'
  ELSE 'I' END AS type) k
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS p (attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum
WHERE i.indisvalid AND i.indpred IS NULL AND p.place <= CASE k.type WHEN 'I' THEN 1 ELSE {columns} END
  AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND {schemas}
ORDER BY i.indexrelid, p.place
"""

# A key to a partitioned table has a row for each of its partitions, too.
_REFERENCES = """
SELECT n.nspname, c.relname, k.conname, a.attname, fn.nspname, f.relname, fa.attname,
  CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END, k.condeferrable
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS p (attnum, fattnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.attnum
JOIN pg_catalog.pg_attribute fa ON fa.attrelid = f.oid AND fa.attnum = p.fattnum
WHERE k.contype = 'f' AND {stated} AND NOT c.relispartition AND {schemas}
ORDER BY k.oid, p.place
"""

_TABLE_KINDS = {"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    version = database.connection.server_version
    parts = {
        "schemas": _OWN if schemas is None else _CHOSEN,
        "generated": "a.attgenerated <> ''" if version >= 12_00_00 else "false",
        "stated": "k.conparentid = 0" if version >= 11_00_00 else "true",
        "columns": "i.indnkeyatts" if version >= 11_00_00 else "i.indnatts",
    }
    values = {} if schemas is None else {"schemas": list(schemas)}

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return database.rows(statement.format(**parts), **values)

    contents = Contents(
        [_table(*row) for row in rows(_TABLES)],
        [_column(*row) for row in rows(_COLUMNS)],
        itertools.starmap(KeyColumn, rows(_KEYS)),
        itertools.starmap(Reference, rows(_REFERENCES)),
    )
    return collections(contents, _ref)


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": schema})


def _table(
    schema: str, name: str, relkind: str, parent: str | None, rows: int, has_triggers: bool, readable: bool
) -> Table:
    kind = _TABLE_KINDS[relkind]
    left_out = None
    if parent is not None:
        left_out = f"partition of {parent}"
    elif relkind in "vm":
        left_out = kind
    elif not readable:
        left_out = NOT_READABLE
    # Before the first ANALYZE the number is -1, and 0 in old versions.
    return Table(schema, name, kind, left_out, rows if rows > 0 else None, has_triggers)


def _column(
    schema: str,
    table: str,
    name: str,
    native: str,
    base: str,
    element: str | None,
    nullable: bool,
    length: int | None,
    generated: bool,
) -> Column:
    kind = kind_of(element or base) if base not in _AS_TEXT else Kind.STRING
    return Column(schema, table, name, native, kind, nullable, length, generated, array=element is not None)


_AS_TEXT = {"money", "oidvector", "int2vector"}

RESULTS = {
    16: ResultColumn(Kind.BOOLEAN),
    17: ResultColumn(Kind.BYTES, binary),
    **dict.fromkeys((18, 19, 25, 1042, 1043), ResultColumn(Kind.STRING)),
    **dict.fromkeys((20, 21, 23, 26), ResultColumn(Kind.INTEGER)),
    **dict.fromkeys((700, 701), ResultColumn(Kind.FLOAT)),
    1700: ResultColumn(Kind.DECIMAL),
    1082: ResultColumn(Kind.DATE),
    **dict.fromkeys((1114, 1184), ResultColumn(Kind.TIMESTAMP)),
    2950: ResultColumn(Kind.UUID, uuid),
    **dict.fromkeys((114, 3802), ResultColumn(Kind.ANY)),
    # Arrays of these.
    1000: ResultColumn(Kind.BOOLEAN),
    1001: ResultColumn(Kind.BYTES, binary),
    **dict.fromkeys((1002, 1003, 1009, 1014, 1015), ResultColumn(Kind.STRING)),
    **dict.fromkeys((1005, 1007, 1016, 1028), ResultColumn(Kind.INTEGER)),
    **dict.fromkeys((1021, 1022), ResultColumn(Kind.FLOAT)),
    1231: ResultColumn(Kind.DECIMAL),
    1182: ResultColumn(Kind.DATE),
    **dict.fromkeys((1115, 1185), ResultColumn(Kind.TIMESTAMP)),
    2951: ResultColumn(Kind.UUID, uuid),
    **dict.fromkeys((199, 3807), ResultColumn(Kind.ANY)),
}
"""The types of results, by their number in pg_type."""
OTHER_RESULT = ResultColumn(Kind.STRING, text)
"""Of a type that has no kind of its own."""


def _columns(cursor: Cursor) -> list[ResultColumn]:
    return [RESULTS.get(described[1], OTHER_RESULT) for described in cursor.description]


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    import psycopg2

    if isinstance(error, ValueError):  # text with a NUL, or a date that Python has not, such as one before the year 1
        return DataFailure.VALUE_REJECTED
    if not isinstance(error, psycopg2.Error):
        return None
    if error.pgcode is None and "memory" in str(error):  # libpq says only in text that there is no room for an answer
        return FailureCode.RESOURCE_LIMIT
    return failure_of_state(error.pgcode)


def _begin(database: Database, read_only: bool) -> None:
    import psycopg2
    from psycopg2 import extensions, extras

    connection = database.connection
    # Where the driver would need to have seen a type's array before, it gives it as the server's text.
    extensions.register_type(extensions.new_array_type((2951,), "UUID[]", psycopg2.STRING), connection)
    extras.register_default_jsonb(connection)
    if connection.server_version >= _NOTICES_SINCE:
        # So that the server notices that a killed process has gone. Not every system that it runs on can.
        connection.autocommit = True
        with suppress(psycopg2.Error):
            database.run("SET client_connection_check_interval = 500")
            database.facts["notices"] = True
        connection.autocommit = False
    connection.set_session(readonly=read_only)


_NOTICES_SINCE = 14_00_00
"""The version since which a server can look whether its client is still there."""


def _login(database: Database) -> str | None:
    if "notices" in database.facts:
        return None
    [(process, since)] = database.rows(
        "SELECT pid, backend_start::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
    )
    return f"{process} {since}"


def _end_login(database: Database, name: str) -> None:
    """By a signal, which the account may have sent to its own backends."""
    process, _, since = name.partition(" ")
    statement = (
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
        "WHERE pid = :process AND backend_start::text = :since"
    )
    database.rows(statement, process=int(process), since=since)


def _limit(database: Database, seconds: float, _in_all: float) -> None:  # each fetch counts anew
    database.rows("SELECT set_config('statement_timeout', :limit, false)", limit=str(max(1, int(seconds * 1000))))


def _cursor(connection: Any) -> Cursor:
    cursor: Cursor = connection.cursor("connectory")
    return cursor


POSTGRESQL = Dialect(
    compiler=compiler_of("postgresql+psycopg2"),
    catalogue=_catalogue,
    privileges=privileges,
    failure=_failure,
    columns=_columns,
    cursor=_cursor,
    begin=_begin,
    limit=_limit,
    login=_login,
    end_login=_end_login,
)
"""PostgreSQL from version 10 on, by psycopg2 without autocommit."""
