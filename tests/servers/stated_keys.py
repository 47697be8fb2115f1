"""Keys that a warehouse states and does not enforce: kept beside an emulator that knows none, and told in its answers.

Imports nothing but sqlglot, so that emulators can use it in environments of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import sqlglot
from sqlglot import exp


class Key(NamedTuple):
    """A primary key, or, with a target, a foreign one. `name` is unique."""

    name: str
    schema: str
    table: str
    columns: tuple[str, ...]
    target_schema: str = ""
    target: str = ""
    target_columns: tuple[str, ...] = ()


class StatedKeys:
    """The keys that statements have stated.

    Args:
        dialect: of the statements, by sqlglot's name.
        unquoted: what a name without quotes means.
        primary: whether primary keys are taken from the statements too. Default: only foreign ones.
    """

    def __init__(self, dialect: str, *, unquoted: Callable[[str], str] = str, primary: bool = False) -> None:
        self._dialect, self._unquoted, self._primary = dialect, unquoted, primary
        self._keys: list[Key] = []

    def taken_from(self, statement: str) -> str:
        """The statement without its keys, which are noted; one that states nothing else does nothing then."""
        if not statement.lstrip().upper().startswith(("CREATE TABLE", "ALTER TABLE")):
            return statement
        tree = sqlglot.parse_one(statement, read=self._dialect)
        table = tree.find(exp.Table)
        parts: list[exp.Expression] = [*tree.find_all(exp.ForeignKey)]
        inline: list[exp.Expression] = []
        if self._primary:
            parts += tree.find_all(exp.PrimaryKey)
            inline += tree.find_all(exp.PrimaryKeyColumnConstraint)
        for part in parts:
            self._note(table, [*map(self._name, part.expressions)], part.args.get("reference"))
        for part in inline:
            self._note(table, [self._name(part.find_ancestor(exp.ColumnDef).this)], None)
        if isinstance(tree, exp.Alter):
            return "SELECT 1 AS done" if parts else statement
        for part in parts:
            (part.parent if isinstance(part.parent, exp.Constraint) else part).pop()
        for part in inline:
            part.parent.pop()
        return tree.sql(dialect=self._dialect)

    def primary(self, schema: str) -> list[Key]:
        """The primary keys of a schema's tables."""
        return [key for key in self._keys if key.schema == schema and not key.target]

    def foreign(self, schema: str) -> list[Key]:
        """The foreign keys of a schema's tables."""
        return [key for key in self._keys if key.schema == schema and key.target]

    def _note(self, table: Any, columns: list[str], reference: Any) -> None:
        schema, name = self._name(table.args["db"]), self._name(table.this)
        constraint = f"key_{len(self._keys) + 1:04}"
        if reference is None:
            self._keys.append(Key(constraint, schema, name, tuple(columns)))
            return
        there, target_columns = reference.this.this, map(self._name, reference.this.expressions)
        target = self._name(there.args["db"]), self._name(there.this)
        self._keys.append(Key(constraint, schema, name, tuple(columns), *target, tuple(target_columns)))

    def _name(self, node: Any) -> str:
        identifier = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier)
        return identifier.name if identifier.quoted else self._unquoted(identifier.name)


def literal_rows(columns: Iterable[str], rows: Iterable[Iterable[str | int | None]], quote: str = '"') -> str:
    """A query that gives these rows, with these columns."""
    names = [f"{quote}{column}{quote}" for column in columns]
    lines = [list(map(literal, row)) for row in rows]
    if not lines:
        return f"SELECT {', '.join(f'NULL AS {name}' for name in names)} LIMIT 0"
    lines[0] = list(map(" AS ".join, zip(lines[0], names, strict=True)))
    return " UNION ALL ".join(f"SELECT {', '.join(line)}" for line in lines)


def literal(value: str | int | None) -> str:
    """The value as SQL says it."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
