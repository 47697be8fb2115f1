"""What a connection holds, in words that know no database: collections, fields, keys, and rows that are read from them.

A table, a collection of documents and a list behind an HTTP interface are all collections here; a column, a member of a nested
document and a property are all fields. A field's place is a path, because documents nest:

>>> from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind
>>> address = CollectionRef("address", {"schema": "public"})
>>> customer = CollectionInfo(
...     CollectionRef("customer", {"schema": "public"}),
...     fields=(
...         FieldInfo(("id",), Kind.INTEGER, "bigint", nullable=False, unique=True),
...         FieldInfo(("email",), Kind.STRING, "character varying(100)", max_length=100),
...         FieldInfo(("address_id",), Kind.INTEGER, "bigint"),
...     ),
...     primary_key=(("id",),),
...     foreign_keys=(ForeignKey((("address_id",),), address, (("id",),)),),
... )
>>> [field.path[-1] for field in customer.fields if field.path in customer.primary_key]
['id']

All of these are plain values: they can be compared, and making one reads nothing. More members may come, always with a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

Scalar: TypeAlias = bool | int | float | Decimal | str | bytes | date | datetime | UUID | None
"""A single value. What a system has besides, such as an interval or MongoDB's ObjectId, is text; the field's kind tells it."""

Value: TypeAlias = "Scalar | list[Value] | dict[str, Value]"
"""A value as it is read: of an array field a list, of an object a dict with text as its keys; nested 60 levels at most."""

Path: TypeAlias = tuple[str, ...]
"""The place of a field: `("email",)` of a column, `("address", "zip")` of a member of a nested document."""


class Kind(StrEnum):
    """What a field's values are to Python.

    Attributes:
        STRING: `str`; also what has no kind of its own, such as an interval or a time of day, as text.
        INTEGER: `int` of any size.
        DECIMAL: `decimal.Decimal`; numbers that are exact where they are stored.
        FLOAT: `float`, also infinite or not a number.
        BOOLEAN: `bool`.
        BYTES: `bytes`.
        DATE: `datetime.date`, which is no `datetime`.
        TIMESTAMP: `datetime.datetime`, with or without a time zone.
        UUID: `uuid.UUID`.
        OBJECT_ID: the 24 hexadecimal digits of a MongoDB ObjectId, as `str`.
        OBJECT: `dict` with text as its keys.
        ANY: any of these, from value to value.
    """

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    DATE = "date"
    TIMESTAMP = "timestamp"
    UUID = "uuid"
    OBJECT_ID = "object_id"
    OBJECT = "object"
    ANY = "any"


@dataclass(frozen=True)
class CollectionRef:
    """Names one collection of a connection.

    Attributes:
        name: the table's or the collection's own name, exactly as the system spells it.
        namespace: what it is in, such as `{"schema": "public"}`; the words are the system's. Default: nothing.

    >>> from connectory.data import CollectionRef
    >>> CollectionRef("customer", {"schema": "public"}) == CollectionRef("customer", {"schema": "sales"})
    False
    """

    name: str
    namespace: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class FieldInfo:
    """One field of a collection.

    Attributes:
        path: its place.
        kind: what its values are; of an array, what its elements are.
        native: the type in the system's own words, such as `character varying(100)`.
        array: whether its values are lists.
        nullable: whether it may be empty; `None` where that cannot be known.
        max_length: characters that its text, or bytes that its bytes may have; `None` where it states no limit.
        unique: whether it alone is a key: no two rows have the same value.
        generated: whether the system computes it, so that it cannot be written.
        indexed: whether rows are found by it without a look at all; `None` where that cannot be known.
        presence: the share of sampled documents that have it, from 0 to 1; `None` where nothing was sampled.
    """

    path: Path
    kind: Kind
    native: str
    array: bool = False
    nullable: bool | None = None
    max_length: int | None = None
    unique: bool = False
    generated: bool = False
    indexed: bool | None = None
    presence: float | None = None


@dataclass(frozen=True)
class ForeignKey:
    """Fields whose values are found in another collection, or in the same one.

    Attributes:
        fields: the fields, in the order of `target_fields`.
        target: where the values are found.
        target_fields: the fields there, as many as `fields`.
        on_delete: what becomes of rows here when the one there is deleted: `restrict`, `cascade`, `set_null` or `set_default`.
        deferrable: whether it may be broken until a transaction ends.
    """

    fields: tuple[Path, ...]
    target: CollectionRef
    target_fields: tuple[Path, ...]
    on_delete: str = "restrict"
    deferrable: bool = False


@dataclass(frozen=True)
class CollectionInfo:
    """What is known of one collection.

    Attributes:
        ref: its name.
        fields: its fields in the system's order; of nested documents each member, the object before what is in it.
        primary_key: the fields of its primary key, in the key's order; empty where it has none.
        foreign_keys: to other collections, and to itself.
        rows: about how many rows it has, where the system tells that without counting; otherwise `None`.
        has_triggers: whether writing to it runs code of the database; `None` where that cannot be known.
        kind: what the system calls it: `table`, `view`, `collection`, or a word of its own.
        inferred: whether the fields were found by looking at samples, and not stated by the system.
        selectable: the fields that rows can be found by; `None` for any.
        left_out: why it is not for use, in a few words that may hold names and no values, such as `partition of audit`; its
            fields may then be empty. `None` where it is for use.
        fields_left_out: places of fields that are there and not in `fields`, or whose members are not, each with the reason in a
            few words. Default: none.

    >>> from connectory.data import CollectionInfo, CollectionRef
    >>> CollectionInfo(CollectionRef("audit_2024"), fields=(), left_out="partition of audit").left_out
    'partition of audit'
    """

    ref: CollectionRef
    fields: tuple[FieldInfo, ...]
    primary_key: tuple[Path, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    rows: int | None = None
    has_triggers: bool | None = None
    kind: str = "table"
    inferred: bool = False
    selectable: frozenset[Path] | None = None
    left_out: str | None = None
    fields_left_out: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class Privileges:
    """What the account of the connection may do with one collection; `None` where that cannot be decided.

    Attributes:
        ref: the collection.
        read: whether it may read every row of it, for all that is known.
        update: whether it may change rows: by UPDATE or INSERT, by owning it, or as a role that it may take on.
        delete: whether it may remove rows: by DELETE or TRUNCATE, by owning it, or as a role that it may take on.
        remedy: the statement that takes away the right to write, for a person to run; names and no values. Default: none.
    """

    ref: CollectionRef
    read: bool | None
    update: bool | None
    delete: bool | None
    remedy: str = ""


@dataclass(frozen=True)
class Rows:
    """Some rows' values of some fields. One form for a list of values, for keys of several fields, and for rows to write.

    >>> from connectory.data import Rows
    >>> Rows(fields=(("shop",), ("number",)), values=[(1, "A-7"), (2, "A-7")]).values[0]
    (1, 'A-7')
    """

    fields: tuple[Path, ...]
    values: Sequence[tuple[Scalar, ...]]


@dataclass(frozen=True)
class Read:
    """What to read from one collection.

    Attributes:
        ref: the collection.
        fields: the fields wanted, in the order of the answer; at least one.
        any_of: the rows wanted: those that match any row of any of these, in all its fields. Nothing matches `None`. Without an
            entry every row is wanted. Default: none.
    """

    ref: CollectionRef
    fields: tuple[Path, ...]
    any_of: tuple[Rows, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Some of the rows that were asked for.

    Attributes:
        kinds: what the values are, in the order of `Read.fields`, and the same in every batch of an answer.
        rows: the values, in the same order. A field that a document lacks is `None`.

    >>> from connectory.data import Batch, Kind
    >>> Batch(kinds=(Kind.INTEGER, Kind.STRING), rows=[(1, "jane@shop.example"), (2, None)]).rows[1]
    (2, None)
    """

    kinds: tuple[Kind, ...]
    rows: Sequence[tuple[Value, ...]]
