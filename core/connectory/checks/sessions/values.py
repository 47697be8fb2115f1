"""Columns of values as JSON and back. The column's kind says what they are, so they need no tags; only `any` and `object` do."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from connectory.checks.sessions.frames import FRAME_LIMIT
from connectory.checks.wire import ProtocolViolation
from connectory.contract.data import Kind, Path, Value
from connectory.contract.session import DataFailure, SessionFailed

DEPTH = 60
"""Levels that a value may nest."""
_NONE = type(None)

# What JSON says itself, by the very types: `True` is no integer here.
_NATURAL: dict[Kind, frozenset[type]] = {
    Kind.STRING: frozenset({str, _NONE}),
    Kind.OBJECT_ID: frozenset({str, _NONE}),
    Kind.INTEGER: frozenset({int, _NONE}),
    Kind.FLOAT: frozenset({float, _NONE}),
    Kind.BOOLEAN: frozenset({bool, _NONE}),
}
_Encode = Callable[[Any], Any]
# Of each kind: the classes that are one, and how to say it.
_ENCODED: dict[Kind, tuple[tuple[type, ...], _Encode]] = {
    Kind.STRING: ((str,), str),
    Kind.OBJECT_ID: ((str,), str),
    Kind.INTEGER: ((int,), int),
    Kind.FLOAT: ((float, int), float),
    Kind.BOOLEAN: ((bool,), bool),
    Kind.DECIMAL: ((Decimal, int), str),
    Kind.BYTES: ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode()),
    Kind.TIMESTAMP: ((datetime,), datetime.isoformat),
    Kind.DATE: ((date,), date.isoformat),
    Kind.UUID: ((UUID,), str),
}
_DECODED: dict[Kind, Callable[[str], Any]] = {
    Kind.DECIMAL: Decimal,
    Kind.BYTES: lambda text: base64.b64decode(text, validate=True),
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.DATE: date.fromisoformat,
    Kind.UUID: UUID,
}
_PLAIN = {kind: frozenset({_ENCODED[kind][0][0], _NONE}) for kind in _DECODED}
_TAGGED = (
    Kind.DECIMAL,
    Kind.BYTES,
    Kind.TIMESTAMP,
    Kind.DATE,
    Kind.UUID,
)  # a datetime is a date too, so it comes first
_OBJECT = Kind.OBJECT.value


def encoded_column(kind: Kind, values: Sequence[Value], path: Path, limit: int = FRAME_LIMIT) -> Sequence[Any]:
    """`values` as JSON values.

    Args:
        kind: what they are.
        path: the field's, for what is raised.
        limit: characters or bytes of each.

    Raises:
        SessionFailed: `too_large`: one of them is over the limit, or nests too deeply.
        TypeError: one of them is of another kind.
    """
    types = set(map(type, values))
    if str in types or bytes in types:
        _require_size(values, path, limit)
    if types <= _NATURAL.get(kind, frozenset()):
        return values
    if types <= _PLAIN.get(kind, frozenset()):  # the usual case of the rest, without a look at each
        return _each(_ENCODED[kind][1], values, types)
    try:
        return [_encoded(kind, value, DEPTH) for value in values]
    except _TooDeep:
        raise SessionFailed(DataFailure.TOO_LARGE, field=path) from None


def _require_size(values: Iterable[Value], path: Path, limit: int) -> None:
    sized = [value for value in values if isinstance(value, str | bytes)]
    if max(map(len, sized), default=0) > limit:
        raise SessionFailed(DataFailure.TOO_LARGE, field=path)


def _each(convert: Callable[[Any], Any], values: Sequence[Any], types: set[type]) -> list[Any]:
    """What `convert` makes of each value but `None`."""
    if _NONE in types:
        return [None if value is None else convert(value) for value in values]
    return list(map(convert, values))


class _TooDeep(Exception):
    """A value nests over `DEPTH` levels."""


def _encoded(kind: Kind, value: Any, depth: int) -> Any:
    if value is None:
        return None
    if depth == 0:
        raise _TooDeep
    if isinstance(value, list | tuple):
        return [_encoded(kind, element, depth - 1) for element in value]
    if kind in (Kind.ANY, Kind.OBJECT):
        if kind is Kind.OBJECT and not isinstance(value, dict):
            raise TypeError("a value of an object must be a dict")
        return _tagged(value, depth)
    classes, encode = _ENCODED[kind]
    wrong = (isinstance(value, bool) and kind is not Kind.BOOLEAN) or (
        isinstance(value, datetime) and kind is Kind.DATE
    )
    if wrong or not isinstance(value, classes):
        raise TypeError(f"a value of kind {kind} must not be a {type(value).__name__}")
    return encode(value)


def _tagged(value: Any, depth: int) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("the names in an object must be text")
        return {_OBJECT: {name: _encoded(Kind.ANY, inner, depth - 1) for name, inner in value.items()}}
    for kind in _TAGGED:
        classes, encode = _ENCODED[kind]
        if isinstance(value, classes):
            return {kind.value: encode(value)}
    raise TypeError(f"there is no kind for a {type(value).__name__}")


def decoded_column(kind: Kind, values: Sequence[Any]) -> Sequence[Value]:
    """The values that `encoded_column` made these of.

    Raises:
        ProtocolViolation: it did not.
    """
    types = set(map(type, values))
    if types <= _NATURAL.get(kind, frozenset()):
        return values
    try:
        if kind in _DECODED and types <= {str, _NONE}:
            return _each(_DECODED[kind], values, types)
        return [_decoded(kind, value, DEPTH) for value in values]
    except (ValueError, InvalidOperation, binascii.Error):
        raise ProtocolViolation("a value must be of its column's kind") from None


def _decoded(kind: Kind, value: Any, depth: int) -> Any:
    if value is None:
        return None
    if depth == 0:
        raise ProtocolViolation(f"a value nests {DEPTH} levels")
    if type(value) is list:
        return [_decoded(kind, element, depth - 1) for element in value]
    if kind in (Kind.ANY, Kind.OBJECT):
        return _untagged(value, depth, only_objects=kind is Kind.OBJECT)
    if kind in _NATURAL:
        if type(value) not in _NATURAL[kind]:
            raise ValueError
        return value
    if type(value) is not str:
        raise ValueError
    return _DECODED[kind](value)


def _untagged(value: Any, depth: int, *, only_objects: bool) -> Any:
    if type(value) is not dict:
        if only_objects:
            raise ValueError
        return value
    if len(value) != 1:
        raise ValueError
    [(tag, inner)] = value.items()
    if tag == _OBJECT:
        if type(inner) is not dict:
            raise ValueError
        return {name: _decoded(Kind.ANY, member, depth - 1) for name, member in inner.items()}
    if only_objects or tag not in _TAGGED:
        raise ValueError
    return _decoded(Kind(tag), inner, 1)
