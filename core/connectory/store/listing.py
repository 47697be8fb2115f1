"""Listing connections: filters, order, pages.

Every statement is built once for each shape of filters and then only gets its values: building it anew would cost more
than running it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.engine import Connection

from connectory.store import search
from connectory.store.connections import COLUMNS, StoredConnection
from connectory.store.paging import load_page, load_page_at_once, paged
from connectory.store.search import SearchMethod, storable
from connectory.store.tables import connections

TestStatus = Literal["passed", "failed", "untested"]

# SQLite finds few matches fastest one by one, to be sorted afterwards, and many by walking all rows in order until the page
# is full. Measured at 10,000 rows: 35 matches take 0.4 ms and 2.8 ms, 10,000 matches 10 ms and 2.8 ms; so even near here.
_MANY_MATCHES = 2000


Sorting = Literal["name", "key", "created_at", "updated_at", "last_test_timestamp"]
"""What connections can be sorted by."""


class Order(NamedTuple):
    """The order of a listing. What sorts the same is ordered by name, then key; connections without a test come last.

    Attributes:
        descending: newest or last in the alphabet first; names and keys that tie still ascend.
    """

    by: Sorting = "name"
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """Which connections to list. What is left out does not filter; all that is given must hold.

    Attributes:
        connection_types, system_types: any of these.
        test_status: by the last test of the secrets stored now; "untested" if there was none.
        search: part of the key, name or description, in any case.
    """

    connection_types: Collection[str] = ()
    system_types: Collection[str] = ()
    disabled: bool | None = None
    test_status: TestStatus | None = None
    search: str | None = None


class _Shape(NamedTuple):
    """What of `Filters` changes the statement, and not only its values."""

    connection_types: bool
    system_types: bool
    disabled: bool | None
    test_status: TestStatus | None
    search: SearchMethod | None


_EVERYTHING = Filters()
_BY_NAME = Order()


def list_connections(
    database: Connection, filters: Filters = _EVERYTHING, order: Order = _BY_NAME, *, page: int = 1, size: int = 50
) -> tuple[list[StoredConnection], int]:
    """One page of the connections that pass the filters, and how many pass in all.

    Args:
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    shape = _shape(filters, database.dialect.name)
    values = _values(filters, shape)
    if shape.search != "index":
        rows, total = load_page_at_once(
            database, _count(shape), _page_at_once(shape, order), values, page=page, size=size
        )
        return [StoredConnection._make(row[:-1]) for row in rows], total
    found, total = load_page(
        database,
        _count(shape),
        lambda total: _page(shape, order, in_order=total > _MANY_MATCHES),
        values,
        page=page,
        size=size,
    )
    return [StoredConnection._make(row) for row in found], total


def _shape(filters: Filters, dialect: str) -> _Shape:
    return _Shape(
        connection_types=bool(filters.connection_types),
        system_types=bool(filters.system_types),
        disabled=filters.disabled,
        test_status=filters.test_status,
        search=search.method(dialect, filters.search) if filters.search else None,
    )


def _values(filters: Filters, shape: _Shape) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if shape.connection_types:
        values["connection_types"] = [word for word in filters.connection_types if storable(word)]
    if shape.system_types:
        values["system_types"] = [word for word in filters.system_types if storable(word)]
    if shape.search and filters.search:
        values |= search.parameters(shape.search, filters.search)
    return values


@cache
def _count(shape: _Shape) -> Select[Any]:
    if shape == (False, False, None, None, "index"):
        return search.count_in_index()
    return select(func.count()).select_from(connections).where(*_conditions(shape))


@cache
def _page_at_once(shape: _Shape, order: Order) -> Select[Any]:
    return _page(shape, order, in_order=False).add_columns(_count(shape).scalar_subquery())


@cache
def _page(shape: _Shape, order: Order, *, in_order: bool) -> Select[Any]:
    rows = select(*COLUMNS).where(*_conditions(shape, in_order=in_order))
    column = connections.c[order.by]
    wanted = column.desc() if order.descending else column.asc()
    ties = [connections.c[name].asc() for name in ("name", "key") if name != order.by]
    # Only a nullable column, because NULLS LAST keeps PostgreSQL from walking an index backwards.
    return paged(rows.order_by(wanted.nulls_last() if column.nullable else wanted, *ties))


def _conditions(shape: _Shape, *, in_order: bool = False) -> list[ColumnElement[bool]]:
    columns = connections.c
    conditions: list[ColumnElement[bool]] = []
    if shape.connection_types:
        conditions.append(columns.connection_type.in_(bindparam("connection_types", expanding=True)))
    if shape.system_types:
        conditions.append(columns.system_type.in_(bindparam("system_types", expanding=True)))
    if shape.disabled is not None:
        conditions.append(columns.disabled.is_(shape.disabled))
    match shape.test_status:
        case "untested":
            conditions.append(columns.last_test_succeeded.is_(None))
        case "passed" | "failed":
            conditions.append(columns.last_test_succeeded.is_(shape.test_status == "passed"))
    if shape.search:
        conditions.append(search.condition(shape.search, in_order=in_order))
    return conditions
