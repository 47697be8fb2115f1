"""One page of rows, and how many there are in all: the same for every listing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam
from sqlalchemy.engine import Connection

_MOST_SKIPPED = 2**62
"""More rows than a table has; databases count in 64 bits."""


def paged(rows: Select[Any]) -> Select[Any]:
    """A statement cut to a page, for `load_page`."""
    return rows.limit(bindparam("size")).offset(bindparam("skipped"))


def load_page(
    database: Connection,
    count: Select[Any],
    rows: Callable[[int], Select[Any]],
    values: Mapping[str, Any] | None = None,
    *,
    page: int,
    size: int,
) -> tuple[Sequence[Row[Any]], int]:
    """The rows of one page, and how many rows there are in all.

    Args:
        count: counts all rows.
        rows: given that count, the `paged` statement to select them with.
        values: for both statements.
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    values = values or {}
    total: int = database.execute(count, values).scalar_one()
    skipped = (page - 1) * size
    if skipped >= total:  # also keeps a number that no database could take away from it
        return [], total
    found = database.execute(rows(total), {**values, "size": size, "skipped": skipped})
    return found.all(), total


def load_page_at_once(
    database: Connection,
    count: Select[Any],
    rows: Select[Any],
    values: Mapping[str, Any],
    *,
    page: int,
    size: int,
) -> tuple[Sequence[Row[Any]], int]:
    """`load_page` with one statement, which needs no transaction to see one state, unless the page is past the end.

    Args:
        rows: the `paged` statement, whose last column is how many rows there are in all.
    """
    skipped = min((page - 1) * size, _MOST_SKIPPED)
    found = database.execute(rows, {**values, "size": size, "skipped": skipped}).all()
    if found:
        return found, found[0][-1]
    total: int = database.execute(count, values).scalar_one()
    return [], total
