"""What a database's own catalogue says, row by row, and the collections that it makes together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind, Path


class Table(NamedTuple):
    """A table, or what is like one. `left_out` says why it is not for use."""

    schema: str
    name: str
    kind: str = "table"
    left_out: str | None = None
    rows: int | None = None
    has_triggers: bool | None = None


class Column(NamedTuple):
    """A column, in the table's order. `length` is of characters or bytes, `inner` the path of a member in it."""

    schema: str
    table: str
    name: str
    native: str
    kind: Kind
    nullable: bool | None
    length: int | None = None
    generated: bool = False
    array: bool = False
    inner: Path = ()


class KeyColumn(NamedTuple):
    """A column of a primary key (`P`), of another key (`U`), or the first of an index (`I`), in the key's order."""

    schema: str
    table: str
    constraint: str
    type: str
    column: str


class Reference(NamedTuple):
    """A column of a foreign key, in the key's order. `on_delete` is SQL's own word for it."""

    schema: str
    table: str
    constraint: str
    column: str
    target_schema: str
    target: str
    target_column: str
    on_delete: str | None = None
    deferrable: bool = False


class Contents(NamedTuple):
    """All that was read of some tables, columns in their order."""

    tables: Iterable[Table]
    columns: Iterable[Column]
    keys: Iterable[KeyColumn] = ()
    references: Iterable[Reference] = ()


NO_COLUMNS = "table without columns"
NOT_READABLE = "the account may not read it"


def collections(contents: Contents, named: Callable[[str, str], CollectionRef]) -> Iterator[CollectionInfo]:
    """The collections, by schema and name.

    Args:
        contents: what was read.
        named: the reference for a schema and a table's name.
    """
    columns, keys, references = _grouped(contents.columns), _grouped(contents.keys), _grouped(contents.references)
    for table in sorted(contents.tables):
        place = (table.schema, table.name)
        mine = _by_constraint(keys[place])
        primary = next((fields for type_, fields in mine if type_ == "P"), ())
        unique = {fields[0] for type_, fields in mine if type_ in "PU" and len(fields) == 1}
        indexed = {fields[0] for _, fields in mine}
        fields = tuple(_field(column, unique, indexed) for column in columns[place])
        yield CollectionInfo(
            named(*place),
            fields=() if table.left_out else fields,
            primary_key=() if table.left_out else primary,
            foreign_keys=() if table.left_out else tuple(_foreign_keys(references[place], named)),
            rows=table.rows,
            has_triggers=table.has_triggers,
            kind=table.kind,
            left_out=table.left_out or (None if fields else NO_COLUMNS),
        )


RowT = TypeVar("RowT", Column, KeyColumn, Reference)


def _grouped(rows: Iterable[RowT]) -> dict[tuple[str, str], list[RowT]]:
    """The rows of each table, in their order."""
    found: dict[tuple[str, str], list[RowT]] = defaultdict(list)
    for row in rows:
        found[row.schema, row.table].append(row)
    return found


def _by_constraint(rows: Iterable[KeyColumn]) -> list[tuple[str, tuple[Path, ...]]]:
    """The type and the fields of each key."""
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for row in rows:
        found[row.type, row.constraint].append((row.column,))
    return [(type_, tuple(fields)) for (type_, _), fields in found.items()]


def _field(column: Column, unique: set[Path], indexed: set[Path]) -> FieldInfo:
    path = (column.name, *column.inner)
    return FieldInfo(
        path,
        column.kind,
        column.native,
        array=column.array,
        nullable=column.nullable,
        max_length=column.length,
        unique=path in unique,
        generated=column.generated,
        indexed=path in indexed,
    )


def _foreign_keys(rows: Iterable[Reference], named: Callable[[str, str], CollectionRef]) -> Iterator[ForeignKey]:
    found: dict[str, list[Reference]] = defaultdict(list)
    for row in rows:
        found[row.constraint].append(row)
    for _, parts in sorted(found.items()):
        first = parts[0]
        yield ForeignKey(
            tuple((part.column,) for part in parts),
            named(first.target_schema, first.target),
            tuple((part.target_column,) for part in parts),
            on_delete=_ON_DELETE.get((first.on_delete or "").upper().replace("_", " "), "restrict"),
            deferrable=first.deferrable,
        )


_ON_DELETE = {"CASCADE": "cascade", "SET NULL": "set_null", "SET DEFAULT": "set_default"}
