"""What is read, in the server's words: which documents, and what of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import bson

from connectory.data import Path, Rows, Scalar
from connectory_mongodb.values import OPTIONS, stored_forms

_MOST_BYTES = 8 * 2**20
"""Bytes of values that one question may hold: half of what a document of the server's may have."""
_SMALL = 32
"""Bytes that a value takes that is neither text nor bytes, with its place in a list."""
Clause = dict[str, Any]


def questions(any_of: Sequence[Rows]) -> Iterator[Clause]:
    """Filters that together find the rows wanted; none where no row can match. A document may fit several of them.

    Raises:
        SessionFailed: `value_rejected`.
    """
    if not any_of:
        yield {}
        return
    clauses: list[Clause] = []
    size = 0
    for clause in (clause for rows in any_of for clause in _clauses(rows)):
        weight = _weight(clause)
        if clauses and size + weight > _MOST_BYTES:
            yield {"$or": clauses}
            clauses, size = [], 0
        clauses.append(clause)
        size += weight
    if clauses:
        yield {"$or": clauses}


def _clauses(rows: Rows) -> Iterator[Clause]:
    """What documents must fit, one of it; nothing matches `None`."""
    known = [values for values in rows.values if None not in values]
    if len(rows.fields) > 1:
        for values in known:
            yield {"$and": [_equals(path, [value]) for path, value in zip(rows.fields, values, strict=True)]}
        return
    [path] = rows.fields
    forms: list[Any] = []
    size = 0
    for [value] in known:
        forms.append(value)
        size += _SMALL + (len(value) if isinstance(value, str | bytes) else 0)
        if size > _MOST_BYTES // 2:
            yield _equals(path, forms)
            forms, size = [], 0
    if forms:
        yield _equals(path, forms)


def _equals(path: Path, values: Iterable[Scalar]) -> Clause:
    """That a field, or an element of it where it is an array, has one of some values."""
    forms = [form for value in values for form in stored_forms(value, path)]
    if _is_plain(path):
        return {".".join(path): {"$in": forms}}
    # A name that the server would take for a place or an operator. Nothing that was given is read as an expression.
    found: Any = "$$ROOT"
    for name in path:
        found = {"$getField": {"field": {"$literal": name}, "input": found}}
    return {"$expr": {"$in": [found, {"$literal": forms}]}}


def _weight(document: Clause) -> int:
    return len(bson.encode(document, codec_options=OPTIONS))


def _is_plain(path: Path) -> bool:
    return not any("." in name or name.startswith("$") for name in path)


def projection(fields: Iterable[Path]) -> dict[str, bool] | None:
    """What the server is asked for: the fields, or the objects around those that it cannot name; `None` for whole documents."""
    asked: set[Path] = {("_id",)}
    for path in fields:
        unnameable = next((depth for depth in range(len(path)) if not _is_plain(path[depth : depth + 1])), len(path))
        asked.add(path[:unnameable])
    if () in asked:
        return None
    # Of a field and a member of it the server takes only one.
    outer = [path for path in asked if not any(path[:depth] in asked for depth in range(1, len(path)))]
    return {".".join(path): True for path in sorted(outer)}


class Once:
    """Tells documents that were found before. It is asked only where there are several questions."""

    def __init__(self) -> None:
        self._found: set[bytes] = set()

    def is_new(self, document: dict[str, Any]) -> bool:
        """Whether it is found for the first time."""
        key = bson.encode({"": document.get("_id")}, codec_options=OPTIONS)
        digest = hashlib.blake2b(key, digest_size=16).digest()
        before = len(self._found)
        self._found.add(digest)
        return len(self._found) > before
