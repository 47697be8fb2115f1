"""What BigQuery's `INFORMATION_SCHEMA` says of keys and of types with a length, which the emulator knows nothing of.

After Google's pages on the views TABLE_CONSTRAINTS, KEY_COLUMN_USAGE, CONSTRAINT_COLUMN_USAGE and COLUMNS. A foreign key refers
to a primary key of another table of the same dataset; others are refused there, and here. Projects are left out.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import sqlglot
from sqlglot import exp

from servers.stated_keys import Key, StatedKeys, literal, literal_rows

_VIEW = re.compile(
    r"(`?)(\w+)\1\.INFORMATION_SCHEMA\.(TABLE_CONSTRAINTS|KEY_COLUMN_USAGE|CONSTRAINT_COLUMN_USAGE|COLUMNS)\b"
)
_PLACE = ("constraint_name", "table_schema", "table_name")
_FORBIDDEN = "a foreign key refers to another table of the same dataset"


class InformationSchema:
    """Of one project."""

    def __init__(self) -> None:
        self._keys = StatedKeys("bigquery", primary=True)
        self._types: dict[tuple[str, str, str], str] = {}

    def rewritten(self, body: bytes) -> bytes:
        """A request as the emulator understands it: without keys, and with their rows where it asks for them."""
        try:
            request = json.loads(body)
        except ValueError:
            return body
        holder = request.get("configuration", request) if isinstance(request, dict) else {}
        holder = holder.get("query", {}) if "configuration" in request else holder
        statement = holder.get("query") if isinstance(holder, dict) else None
        if not isinstance(statement, str):
            return body
        self._note_types(statement)
        statement = self._keys.taken_from(statement)
        holder["query"] = _VIEW.sub(lambda found: f"({self._view(found[2], found[3], found[0])})", statement)
        return json.dumps(request).encode()

    def _note_types(self, statement: str) -> None:
        if not statement.lstrip().upper().startswith("CREATE TABLE"):
            return
        tree = sqlglot.parse_one(statement, read="bigquery")
        table = tree.find(exp.Table)
        for column in tree.find_all(exp.ColumnDef):
            if column.kind is not None and column.kind.expressions:
                self._types[table.db, table.name, column.name] = column.kind.sql(dialect="bigquery")

    def _view(self, schema: str, view: str, name: str) -> str:
        primary, foreign = self._keys.primary(schema), self._keys.foreign(schema)
        if any(key.target_schema != schema or key.target == key.table for key in foreign):
            raise ValueError(_FORBIDDEN)
        match view:
            case "TABLE_CONSTRAINTS":
                types = [(key, "PRIMARY KEY") for key in primary] + [(key, "FOREIGN KEY") for key in foreign]
                return _rows((*_PLACE, "constraint_type"), [(*self._place(key), type_) for key, type_ in types])
            case "KEY_COLUMN_USAGE":
                usage = [(*self._place(key), *part) for key in [*primary, *foreign] for part in self._positions(key)]
                return _rows((*_PLACE, "column_name", "ordinal_position", "position_in_unique_constraint"), usage)
            case "CONSTRAINT_COLUMN_USAGE":  # of a foreign key, what it refers to
                used = [
                    (key, key.target or key.table, key.target_columns or key.columns) for key in [*primary, *foreign]
                ]
                rows = [(*self._place(key)[:2], table, column) for key, table, columns in used for column in columns]
                return _rows((*_PLACE, "column_name"), rows)
        known = [(place, type_) for place, type_ in self._types.items() if place[0] == schema]
        cases = " ".join(
            f"WHEN table_name = {literal(table)} AND column_name = {literal(column)} THEN {literal(type_)}"
            for (_, table, column), type_ in known
        )
        type_ = f"CASE {cases} ELSE data_type END" if cases else "data_type"
        others = "table_schema, table_name, column_name, is_nullable, ordinal_position, is_generated"
        return f"SELECT {others}, {type_} AS data_type FROM {name}"

    def _place(self, key: Key) -> tuple[str, ...]:
        return (f"{key.table}.{key.name}", key.schema, key.table)

    def _positions(self, key: Key) -> Iterator[tuple[Any, ...]]:
        there = next((known.columns for known in self._keys.primary(key.schema) if known.table == key.target), ())
        for number, column in enumerate(key.columns, start=1):
            yield column, number, there.index(key.target_columns[number - 1]) + 1 if key.target else None


def _rows(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    return literal_rows(columns, rows, quote="`")
