"""One page of rows, and how many there are in all: the same for every listing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, bindparam
from sqlalchemy.engine import Connection


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
