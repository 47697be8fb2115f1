"""Rows as they come from the server, in batches that stay small whatever the rows weigh."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime
from typing import Any
from uuid import UUID

from connectory.data import Batch
from connectory_sql.dialect import Cursor, ResultColumn

_FIRST = 50
"""Rows that are asked for before it is known what one weighs."""
_WEIGHT = 1 << 20
"""Bytes that a batch should not exceed, as far as the rows before it tell."""
_SAMPLE = 20
"""Rows of a batch that are weighed."""


def batches(
    cursor: Cursor,
    columns_of: Callable[[Cursor], list[ResultColumn]],
    size: int,
    understanding: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Batch]:
    """What `cursor` has found, in batches of at most `size` rows.

    Args:
        cursor: has run the statement.
        columns_of: what its columns hold.
        size: rows, at most, of each batch.
        understanding: what to call the driver in. Default: nothing.
    """

    def fetched(number: int) -> Sequence[Any]:
        with understanding():
            return cursor.fetchmany(number)

    asked = min(size, _FIRST)
    rows = fetched(asked)
    columns = columns_of(cursor)
    kinds = tuple(found.kind for found in columns)
    conversions = [(place, found.convert) for place, found in enumerate(columns) if found.convert]
    while rows:
        converted = [_converted(row, conversions) for row in rows] if conversions else [tuple(row) for row in rows]
        yield Batch(kinds, converted)
        asked = min(size, 4 * asked, max(1, _WEIGHT // _weight(converted)))
        rows = fetched(asked)


def _converted(row: Sequence[Any], conversions: list[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    values = list(row)
    for place, convert in conversions:
        if values[place] is not None:
            values[place] = convert(values[place])
    return tuple(values)


def _weight(rows: list[tuple[Any, ...]]) -> int:
    """About how many bytes the heaviest of some rows has."""
    step = max(1, len(rows) // _SAMPLE)
    return max(sum(_length(value) for value in row) for row in rows[::step])


def _length(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value) + 8
    return len(repr(value)) if isinstance(value, list | dict) else 16


def text(value: Any) -> Any:
    """A value that has no kind of its own, as text; of a list each."""
    if isinstance(value, list):
        return [None if one is None else text(one) for one in value]
    return value if isinstance(value, str) else str(value)


def uuid(value: Any) -> Any:
    """A UUID that the driver gives as text; of a list each."""
    if isinstance(value, list):
        return [None if one is None else uuid(one) for one in value]
    return value if isinstance(value, UUID) else UUID(value)


def binary(value: Any) -> Any:
    """Bytes that the driver gives as a view of them; of a list each."""
    return [None if one is None else bytes(one) for one in value] if isinstance(value, list) else bytes(value)


def document(value: Any) -> Any:
    """What a text holds as JSON."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def moment(value: Any) -> date | datetime | None:
    """A date or a time stamp; MySQL's `0000-00-00`, which its driver gives as text, is none."""
    return value if isinstance(value, date) else None
