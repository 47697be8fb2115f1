"""Amazon Redshift: PostgreSQL's catalogues of old, and a driver that takes all rows at once, unless it is kept from that.

Statements are written as for PostgreSQL. Redshift does not enforce the keys that it states.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind, Privileges
from connectory_sql.contents import NOT_READABLE, Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database, compiler_of
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.failures import failure_of_state
from connectory_sql.kinds import kind_of
from connectory_sql.postgresql import OTHER_RESULT, RESULTS

_OWN = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'catalog_history')"
_CHOSEN = "n.nspname IN :schemas"

_TABLES = """
SELECT n.nspname, c.relname, c.relkind, c.reltuples,
  has_schema_privilege(n.nspname, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm') AND c.relname !~ '^mv_tbl__' AND {schemas}
"""
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), t.typname, NOT a.attnotnull, a.atttypmod,
  COALESCE(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND {schemas}
ORDER BY a.attrelid, a.attnum
"""
# Redshift's keys have 16 columns at most that matter here; it has no unnest.
_PLACES = "(" + " UNION ALL ".join(f"SELECT {place} AS place" for place in range(1, 17)) + ") p"
_KEYS = """
SELECT n.nspname, c.relname, k.conname, k.contype, a.attname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN {places} ON k.conkey[p.place] IS NOT NULL
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[p.place]
WHERE k.contype IN ('p', 'u') AND {schemas}
ORDER BY k.oid, p.place
"""
_REFERENCES = """
SELECT n.nspname, c.relname, k.conname, a.attname, fn.nspname, f.relname, fa.attname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
JOIN {places} ON k.conkey[p.place] IS NOT NULL
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[p.place]
JOIN pg_catalog.pg_attribute fa ON fa.attrelid = f.oid AND fa.attnum = k.confkey[p.place]
WHERE k.contype = 'f' AND {schemas}
ORDER BY k.oid, p.place
"""
_RIGHTS = """
SELECT n.nspname, c.relname, u.usename, u.usesuper, c.relowner = u.usesysid,
  (SELECT MIN(a.usename::varchar) FROM pg_catalog.pg_user a WHERE a.usesuper AND a.usename <> 'rdsdb'), c.relkind = 'r', {rights}
FROM pg_catalog.pg_user u, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE u.usename = CURRENT_USER AND n.nspname = :schema AND c.relname IN :names
"""
_WRITES = ("INSERT", "UPDATE", "DELETE")
# What has_table_privilege does not tell: more rights, and who holds them. An account sees only what it has itself, or by a role
# or group.
_COLUMN_GRANTS = """
SELECT relation_name, privilege_type, column_name, identity_type, identity_name FROM svv_column_privileges
WHERE privilege_type = 'UPDATE' AND namespace_name = :schema
"""
_TABLE_GRANTS = """
SELECT relation_name, privilege_type, NULL, identity_type, identity_name FROM svv_relation_privileges
WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AND namespace_name = :schema
"""


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    part = _OWN if schemas is None else _CHOSEN
    values = {} if schemas is None else {"schemas": list(schemas)}

    def rows(statement: str) -> list[tuple[Any, ...]]:
        return database.rows(statement.format(schemas=part, places=_PLACES), **values)

    contents = Contents(
        list(itertools.starmap(_table, rows(_TABLES))),
        list(itertools.starmap(_column, rows(_COLUMNS))),
        [KeyColumn(schema, table, key, type_.upper(), name) for schema, table, key, type_, name in rows(_KEYS)],
        itertools.starmap(Reference, rows(_REFERENCES)),
    )
    return collections(contents, _ref)


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {"schema": schema})


def _table(schema: str, name: str, relkind: str, rows: float, readable: bool) -> Table:
    if relkind != "r":
        return Table(schema, name, "view", "view")
    # Redshift has no triggers.
    return Table(
        schema,
        name,
        left_out=None if readable else NOT_READABLE,
        rows=int(rows) if rows >= 1 else None,
        has_triggers=False,
    )


def _column(
    schema: str, table: str, name: str, native: str, type_: str, nullable: bool, modifier: int, default: str
) -> Column:
    # The length of a text is its modifier less the four bytes of a header.
    length = modifier - 4 if type_ in ("varchar", "bpchar") and modifier > 4 else None
    return Column(schema, table, name, native, kind_of(type_), nullable, length, '"identity"(' in default)


def _privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    rights = ", ".join(f"has_table_privilege(c.oid, '{right}')" for right in ("SELECT", *_WRITES))
    statement = _RIGHTS.format(rights=rights)
    for schema in sorted({ref.namespace.get("schema", "") for ref in refs}):
        names = [ref.name for ref in refs if ref.namespace.get("schema", "") == schema]
        further = _further(database, schema)
        for _, name, me, superuser, owns, admin, takes_rows, read, *held in database.rows(
            statement, schema=schema, names=names
        ):
            if not takes_rows:  # a view
                yield Privileges(_ref(schema, name), read, update=False, delete=False)
                continue
            table, user = database.quoted(schema, name), database.quoted(me)
            grants = [grant for grant in further or () if grant.table == name and grant.counts_for(me)]
            told = {grant.right for grant in grants}
            may = told | {right for right, has in zip(_WRITES, held, strict=True) if has}
            untold = [right for right in _WRITES if right in may - told]
            remedies = [f"REVOKE {', '.join(untold)} ON {table} FROM {user};"] if untold else []
            remedies += [grant.revoked(database, table) for grant in grants]
            if superuser:
                remedies = [f"ALTER USER {user} NOCREATEUSER;"]
            elif owns:
                # Redshift has no word for who runs it; the right to read goes with the table.
                remedies = [
                    f"ALTER TABLE {table} OWNER TO {database.quoted(admin)};",
                    f"GRANT SELECT ON {table} TO {user};",
                ]
            yield Privileges(
                _ref(schema, name),
                read=read,
                update=_known(owns or bool(may & {"INSERT", "UPDATE"}), further),
                delete=_known(owns or bool(may & {"DELETE", "TRUNCATE"}), further),
                remedy=" ".join(remedies),
            )


class _Grant(NamedTuple):
    """A right that a user, a role, a group or everybody has on a table, or on a column of it."""

    table: str
    right: str
    column: str | None
    kind: str
    holder: str

    def counts_for(self, user: str) -> bool:
        return self.kind != "user" or self.holder == user

    def revoked(self, database: Database, table: str) -> str:
        right = self.right if self.column is None else f"{self.right} ({database.quoted(self.column)})"
        words = {"role": "ROLE ", "group": "GROUP "}
        holder = "PUBLIC" if self.kind == "public" else words.get(self.kind, "") + database.quoted(self.holder)
        return f"REVOKE {right} ON {table} FROM {holder};"


def _further(database: Database, schema: str) -> list[_Grant] | None:
    """Grants of other kinds; `None` where the server does not tell them."""
    try:
        rows = [*database.rows(_COLUMN_GRANTS, schema=schema), *database.rows(_TABLE_GRANTS, schema=schema)]
    except Exception as error:
        if _failure(error) is None:
            raise
        return None
    return [_Grant(*row) for row in rows]


def _known(found: bool, further: list[_Grant] | None) -> bool | None:
    """Whether the right is there: what is not found is unknown where not everything was told."""
    return None if further is None and not found else found


class _Portal:
    """A cursor that asks for some rows at a time.

    The driver's own asks for all of them and keeps them. Here its message that asks (Execute, "PostgreSQL: Frontend/Backend
    Protocol") gets a limit, in a transaction, which keeps the portal from one message to the next.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._complete = False

    @property
    def description(self) -> Any:
        return self._cursor.description

    def execute(self, statement: str, values: Any, /) -> None:
        self._connection.autocommit = False
        # Rows are asked for when they are fetched: one, because none would mean all.
        self._connection.send_EXECUTE = lambda _cursor: self._ask(1)
        try:
            self._cursor.execute(statement, values)
        finally:
            del self._connection.send_EXECUTE
        self._complete = not self._cursor._cached_rows  # noqa: SLF001  # what the driver holds

    def fetchmany(self, size: int, /) -> Sequence[Any]:
        held = len(self._cursor._cached_rows)  # noqa: SLF001
        if not self._complete and size > held:
            from redshift_connector.core import SYNC_MSG

            connection = self._connection
            self._ask(size - held)
            connection._write(SYNC_MSG)  # noqa: SLF001
            connection._flush()  # noqa: SLF001
            connection.handle_messages(self._cursor)
            self._complete = len(self._cursor._cached_rows) < size  # noqa: SLF001
        rows: Sequence[Any] = self._cursor.fetchmany(size)
        return rows

    def _ask(self, rows: int) -> None:
        body = b"\0" + struct.pack("!i", rows)  # the portal without a name
        self._connection._write(b"E" + struct.pack("!i", 4 + len(body)) + body)  # noqa: SLF001

    def close(self) -> None:
        self._cursor.close()


def _begin(database: Database, read_only: bool) -> None:
    del read_only  # only reading is done, and Redshift has no session that refuses the rest
    connection = database.connection
    plain = connection.cursor

    def cursor() -> Any:
        made = plain()
        made.paramstyle = "qmark"  # in the driver's default, a % in a name cannot be written
        return made

    connection.cursor = cursor


def _cursor(connection: Any) -> Cursor:
    return _Portal(connection)


def _end(connection: Any) -> None:
    connection.rollback()
    connection.autocommit = True


def _limit(database: Database, seconds: float, in_all: float) -> None:
    # The driver reads from a socket that the connector has opened. Its limit must not be the first: the statement would go on.
    database.connection._usock.settimeout(seconds + _LATER)  # noqa: SLF001
    # The server counts until the last row is fetched.
    database.rows("SELECT set_config('statement_timeout', :limit, false)", limit=str(max(1, int(in_all * 1000))))


_LATER = 5.0


def _login(database: Database) -> str:
    [(process,)] = database.rows("SELECT pg_backend_pid()")
    return str(process)


def _end_login(database: Database, name: str) -> None:
    """By a signal, which the account may have sent to its own sessions."""
    database.rows("SELECT pg_terminate_backend(:process)", process=int(name))


def _columns(cursor: Cursor) -> list[ResultColumn]:
    return [_RESULTS.get(described[1], OTHER_RESULT) for described in cursor.description]


_RESULTS = {**RESULTS, 4000: ResultColumn(Kind.STRING)}  # SUPER, as the text of its JSON


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    from redshift_connector.error import Error

    if not isinstance(error, Error):
        return None
    fields = error.args[0] if error.args else None
    return failure_of_state(fields.get("C") if isinstance(fields, dict) else None)


REDSHIFT = Dialect(
    compiler=compiler_of("postgresql+psycopg2", paramstyle="qmark"),
    catalogue=_catalogue,
    privileges=_privileges,
    failure=_failure,
    columns=_columns,
    cursor=_cursor,
    begin=_begin,
    limit=_limit,
    login=_login,
    end_login=_end_login,
    end=_end,
)
"""Amazon Redshift, by redshift-connector with autocommit."""
