"""Values of documents as the contract has them, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
from bson import Code, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError

from connectory.data import DataFailure, Kind, Path, Scalar, SessionFailed, Value

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    uuid_representation=UuidRepresentation.STANDARD,
    unicode_decode_error_handler="replace",  # a text that is none must not end the whole answer
    datetime_conversion=DatetimeConversion.DATETIME_CLAMP,  # years that Python has not
)
_OBJECT_ID_DIGITS = 24

# What values are, by their very classes, and what BSON calls them.
_TYPES: Mapping[type, tuple[Kind, str]] = {
    str: (Kind.STRING, "string"),
    bool: (Kind.BOOLEAN, "bool"),
    int: (Kind.INTEGER, "int"),
    bson.Int64: (Kind.INTEGER, "long"),
    float: (Kind.FLOAT, "double"),
    Decimal128: (Kind.DECIMAL, "decimal"),
    datetime: (Kind.TIMESTAMP, "date"),
    ObjectId: (Kind.OBJECT_ID, "objectId"),
    UUID: (Kind.UUID, "binData (UUID)"),
    bytes: (Kind.BYTES, "binData"),
    bson.Binary: (Kind.BYTES, "binData"),
    dict: (Kind.OBJECT, "object"),
    DBRef: (Kind.OBJECT, "object"),
    Regex: (Kind.STRING, "regex"),
    Code: (Kind.STRING, "javascript"),
    Timestamp: (Kind.STRING, "timestamp"),
    MinKey: (Kind.STRING, "minKey"),
    MaxKey: (Kind.STRING, "maxKey"),
}


def type_of(value: Any) -> tuple[Kind, str]:
    """What a value that is neither empty nor an array is, and what BSON calls it."""
    return _TYPES.get(type(value), (Kind.ANY, type(value).__name__))


def members_of(value: Any) -> Mapping[str, Any] | None:
    """The members of an object; `None` of anything else."""
    if isinstance(value, DBRef):
        return value.as_doc()
    return value if isinstance(value, dict) else None


def value_of(value: Any) -> Value:
    """A value of a document as the contract has it. What Python has no value for is text."""
    if isinstance(value, list):
        return [value_of(element) for element in value]
    members = members_of(value)
    if members is not None:
        return {name: value_of(member) for name, member in members.items()}
    return _scalar(value)


def _scalar(value: Any) -> Scalar:
    match value:
        case bson.Int64():
            return int(value)
        case Decimal128():
            return value.to_decimal()
        case bson.Binary():
            return bytes(value)
        case Timestamp():
            return f"{value.time}:{value.inc}"
        case Regex():
            return str(value.pattern)
        case None | bool() | int() | float() | datetime() | UUID() | bytes():
            return value
        case MinKey() | MaxKey():
            return type(value).__name__
        case _:  # text, code, an ObjectId
            return str(value)


def value_at(document: Any, path: Path) -> Value:
    """What a document has at a place: `None` where it has nothing; in an array a list of what each of its objects has."""
    found = document
    for depth, name in enumerate(path):
        if isinstance(found, list):
            inside = path[depth:]
            return [value_at(element, inside) for element in found if members_of(element) is not None]
        members = members_of(found)
        if members is None:
            return None
        found = members.get(name)
    return value_of(found)


def stored_forms(value: Scalar, path: Path) -> Iterator[Any]:
    """What a value that is looked for may be in a document. A text of 24 hexadecimal digits may be an ObjectId too.

    Raises:
        SessionFailed: `value_rejected`: no document can hold it.
    """
    stored: Any = value
    try:
        if isinstance(value, Decimal):
            stored = Decimal128(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            stored = datetime.combine(value, time(), UTC)
        bson.encode({"": stored}, codec_options=OPTIONS)
    except (BSONError, ArithmeticError, ValueError, TypeError):
        raise SessionFailed(DataFailure.VALUE_REJECTED, field=path) from None
    yield stored
    if isinstance(value, str) and len(value) == _OBJECT_ID_DIGITS and ObjectId.is_valid(value):
        yield ObjectId(value)
