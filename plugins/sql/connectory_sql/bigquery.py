"""Google BigQuery: each dataset's `INFORMATION_SCHEMA`, read through Google's client. Keys are stated and not enforced."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import IdentifierPreparer

from connectory import FailureCode
from connectory.data import CollectionInfo, CollectionRef, DataFailure, Kind, Privileges
from connectory_sql.batches import text
from connectory_sql.contents import Column, Contents, KeyColumn, Reference, Table, collections
from connectory_sql.database import Database
from connectory_sql.dialect import Cursor, Dialect, ResultColumn
from connectory_sql.kinds import kind_of

_TABLES = "SELECT table_schema, table_name, table_type FROM {schema}.INFORMATION_SCHEMA.TABLES"
_COLUMNS = """
SELECT table_schema, table_name, column_name, data_type, is_nullable, is_generated FROM {schema}.INFORMATION_SCHEMA.COLUMNS
ORDER BY table_name, ordinal_position
"""
_KEYS = """
SELECT k.table_schema, k.table_name, k.constraint_name, 'P', k.column_name
FROM {schema}.INFORMATION_SCHEMA.KEY_COLUMN_USAGE k
JOIN {schema}.INFORMATION_SCHEMA.TABLE_CONSTRAINTS t ON t.constraint_name = k.constraint_name
WHERE t.constraint_type = 'PRIMARY KEY' ORDER BY k.table_name, k.ordinal_position
"""
# A foreign key refers to a primary key: which of its columns, the position tells.
_REFERENCES = """
SELECT k.table_schema, k.table_name, k.constraint_name, k.column_name, p.table_schema, p.table_name, p.column_name
FROM {schema}.INFORMATION_SCHEMA.KEY_COLUMN_USAGE k
JOIN {schema}.INFORMATION_SCHEMA.TABLE_CONSTRAINTS t ON t.constraint_name = k.constraint_name
JOIN (SELECT DISTINCT constraint_name, table_name FROM {schema}.INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE) u
  ON u.constraint_name = k.constraint_name
JOIN {schema}.INFORMATION_SCHEMA.KEY_COLUMN_USAGE p
  ON p.table_name = u.table_name AND p.ordinal_position = k.position_in_unique_constraint
JOIN {schema}.INFORMATION_SCHEMA.TABLE_CONSTRAINTS pt
  ON pt.constraint_name = p.constraint_name AND pt.constraint_type = 'PRIMARY KEY'
WHERE t.constraint_type = 'FOREIGN KEY' ORDER BY k.table_name, k.constraint_name, k.ordinal_position
"""
_NAMESPACE = "dataset_id"
_READS, _WRITES = "bigquery.tables.getData", "bigquery.tables.updateData"
_WRITING_ROLES = {
    "WRITER": "roles/bigquery.dataEditor",
    "OWNER": "roles/bigquery.dataOwner",
    **{role: role for role in ("roles/bigquery.dataEditor", "roles/bigquery.dataOwner", "roles/bigquery.admin")},
}
"""Roles of a dataset's access list with which data may be written, and their names in SQL; a list says the first two for short
(https://cloud.google.com/bigquery/docs/access-control-basic-roles).
"""


def _catalogue(database: Database, schemas: Sequence[str] | None) -> Iterator[CollectionInfo]:
    client = database.connection._client  # noqa: SLF001  # the one that the connector made
    for schema in schemas or sorted(dataset.dataset_id for dataset in client.list_datasets()):
        quoted = database.quoted(schema)
        try:
            tables = database.rows(_TABLES.format(schema=quoted))
        except Exception as error:
            if (
                _failure(error) is DataFailure.COLLECTION_MISSING
            ):  # as elsewhere: in a schema that is not there is nothing
                continue
            raise
        columns, keys, references = (
            database.rows(statement.format(schema=quoted)) for statement in (_COLUMNS, _KEYS, _REFERENCES)
        )
        contents = Contents(
            [_table(*row) for row in tables],
            itertools.chain.from_iterable(_column(*row) for row in columns),
            itertools.starmap(KeyColumn, keys),
            itertools.starmap(Reference, references),
        )
        yield from collections(contents, _ref)


def _ref(schema: str, name: str) -> CollectionRef:
    return CollectionRef(name, {_NAMESPACE: schema})


def _table(schema: str, name: str, type_: str) -> Table:
    kind = "table" if type_ == "BASE TABLE" else type_.lower()
    return Table(schema, name, kind, kind if kind.endswith("view") else None, has_triggers=False)


def _column(schema: str, table: str, name: str, native: str, nullable: str, generated: str) -> Iterator[Column]:
    """The column, and what is in it."""
    for inner, type_, array in _parts(native, (name,)):
        length = re.fullmatch(r"(?:STRING|BYTES)\((\d+)\)", type_)
        yield Column(
            schema,
            table,
            inner[0],
            type_,
            _kind(type_),
            nullable == "YES" if len(inner) == 1 else None,
            int(length[1]) if length else None,
            generated == "ALWAYS",
            array,
            inner[1:],
        )


def _parts(native: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """The path, type and whether it is an array, of a type and of each member that it has."""
    array = native.startswith("ARRAY<")
    type_ = native[6:-1] if array else native
    yield path, type_, array
    if type_.startswith("STRUCT<"):
        for member in _members(type_[7:-1]):
            name, _, inner = member.partition(" ")
            yield from _parts(inner, (*path, name.strip("`")))


def _members(inside: str) -> Iterator[str]:
    """What commas separate, except within brackets."""
    depth, start = 0, 0
    for place, character in enumerate(inside):
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            yield inside[start:place].strip()
            start = place + 1
    yield inside[start:].strip()


def _kind(type_: str) -> Kind:
    name = re.split(r"[<(]", type_, maxsplit=1)[0]
    return {"STRUCT": Kind.OBJECT, "GEOGRAPHY": Kind.STRING}.get(name) or kind_of(name)


def _privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    """By asking which of some permissions the account has. What the API does not tell is not known.

    Nor is where they come from, other than from the dataset's own access list: of a role of the project, a table or a group no
    statement here could be sure to take it away.
    """
    from google.api_core.exceptions import GoogleAPICallError

    client = database.connection._client  # noqa: SLF001
    account = getattr(client._credentials, "service_account_email", "")  # noqa: SLF001
    remedy_of = cache(partial(_remedy, database, account))
    for ref in refs:
        schema = ref.namespace.get(_NAMESPACE, "")
        try:
            answer: Mapping[str, Any] = client.test_iam_permissions(
                f"{client.project}.{schema}.{ref.name}", [_READS, _WRITES], retry=None
            )
        except GoogleAPICallError:
            continue
        held = answer.get("permissions", ())
        writes = _WRITES in held
        yield Privileges(ref, _READS in held, writes, writes, remedy_of(schema) if writes else "")


def _remedy(database: Database, account: str, schema: str) -> str:
    """What takes from the account what the dataset's access list gives it to write."""
    from google.api_core.exceptions import GoogleAPICallError

    client = database.connection._client  # noqa: SLF001
    try:
        entries = client.get_dataset(f"{client.project}.{schema}", retry=None).access_entries
    except GoogleAPICallError:
        return ""
    roles = {_WRITING_ROLES[one.role] for one in entries if one.entity_id == account and one.role in _WRITING_ROLES}
    dataset = database.quoted(client.project, schema)
    return " ".join(f'REVOKE `{role}` ON SCHEMA {dataset} FROM "serviceAccount:{account}";' for role in sorted(roles))


def _columns(cursor: Cursor) -> list[ResultColumn]:
    return [_RESULTS.get(described[1], ResultColumn(Kind.STRING, text)) for described in cursor.description or ()]


_RESULTS = {
    **dict.fromkeys(("INTEGER", "INT64"), ResultColumn(Kind.INTEGER)),
    **dict.fromkeys(("FLOAT", "FLOAT64"), ResultColumn(Kind.FLOAT)),
    **dict.fromkeys(("BOOLEAN", "BOOL"), ResultColumn(Kind.BOOLEAN)),
    **dict.fromkeys(("NUMERIC", "BIGNUMERIC"), ResultColumn(Kind.DECIMAL)),
    **dict.fromkeys(("RECORD", "STRUCT"), ResultColumn(Kind.OBJECT)),
    "STRING": ResultColumn(Kind.STRING),
    "BYTES": ResultColumn(Kind.BYTES),
    "DATE": ResultColumn(Kind.DATE),
    **dict.fromkeys(("TIMESTAMP", "DATETIME"), ResultColumn(Kind.TIMESTAMP)),
    "JSON": ResultColumn(Kind.ANY),
}


def _begin(database: Database, read_only: bool) -> None:
    del read_only  # only reading is done
    connection = database.connection
    plain = connection.cursor

    def cursor() -> Any:
        made = plain()
        made.arraysize = _PAGE
        return made

    connection.cursor = cursor


_PAGE = 2000
"""Rows that the client asks for at a time; left alone, it asks for one."""


def _limit(database: Database, seconds: float, _in_all: float) -> None:
    from google.cloud.bigquery import QueryJobConfig

    config = QueryJobConfig(job_timeout_ms=max(1, int(seconds * 1000)))
    database.connection._client.default_query_job_config = config  # noqa: SLF001


def _failure(error: BaseException) -> FailureCode | DataFailure | None:
    from google.api_core.exceptions import GoogleAPICallError
    from google.cloud.bigquery.dbapi import Error

    cause = error.args[0] if isinstance(error, Error) and error.args else error
    if not isinstance(cause, GoogleAPICallError):
        return FailureCode.QUERY_FAILED if isinstance(error, Error) else None
    reasons = {entry.get("reason") for entry in cause.errors if isinstance(entry, Mapping)}
    found = [code for reason, code in _BY_REASON.items() if reason in reasons]
    return found[0] if found else FailureCode.QUERY_FAILED


# Google's documentation, "BigQuery error messages".
_BY_REASON: dict[str, FailureCode | DataFailure] = {
    "notFound": DataFailure.COLLECTION_MISSING,
    "accessDenied": FailureCode.PERMISSION_DENIED,
    "rateLimitExceeded": FailureCode.RATE_LIMITED,
    "quotaExceeded": FailureCode.RATE_LIMITED,
    "stopped": FailureCode.TIMEOUT,
    "timeout": FailureCode.TIMEOUT,
}


class _Quoting(IdentifierPreparer):
    """Names in backticks, in which a backslash escapes (Google's documentation, "Lexical structure")."""

    def __init__(self, dialect: Any) -> None:
        super().__init__(dialect, initial_quote="`", final_quote="`")

    def _escape_identifier(self, value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace("`", "\\`")
        return escaped.replace("%", "%%") if self._double_percents else escaped


def _compiler() -> DefaultDialect:
    dialect = DefaultDialect(paramstyle="pyformat")
    dialect.identifier_preparer = _Quoting(dialect)
    return dialect


BIGQUERY = Dialect(
    compiler=_compiler,
    catalogue=_catalogue,
    privileges=_privileges,
    failure=_failure,
    columns=_columns,
    begin=_begin,
    limit=_limit,
    end=lambda _connection: None,  # it has no transactions that are left open
    parameters=9_000,
    namespace=_NAMESPACE,
)
"""BigQuery, by the DBAPI connection of Google's client (`google.cloud.bigquery.dbapi`)."""
