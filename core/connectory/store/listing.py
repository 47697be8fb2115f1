"""Listing connections: filters, order, pages.

Every statement is built once for each shape of filters and then only gets its values: building it anew would cost more
than running it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal_column, select, true
from sqlalchemy.engine import Connection

from connectory.store import search
from connectory.store.connections import COLUMNS, StoredConnection
from connectory.store.paging import load_page_at_once, paged
from connectory.store.search import SearchMethod, storable
from connectory.store.tables import connections

TestStatus = Literal["passed", "failed", "untested"]

Sort = Literal[
    "name", "-name", "key", "-key", "created_at", "-created_at", "updated_at", "-updated_at",
    "last_test_timestamp", "-last_test_timestamp",
]  # fmt: skip
"""What to order by; "-" is descending. Rows of one value are ordered by key in the same direction, so that every page is cut
from one and the same order. What was never tested comes last in both directions."""

_MANY_MATCHES = 2000
"""Rows up to which SQLite is fastest if it looks up each, and sorts them."""

_READ = 10_000
"""Rows that SQLite reads at most, to see of each whether it passes: 4 µs for a row, 0.2 µs for an entry of an index."""

_Plan = Literal["plain", "in_order", "first", "each", "walk", "walk_past"]
"""How SQLite gets a page. PostgreSQL finds its own way, from `plain`.

plain: as it finds best, which is right for few matches of a search.
in_order: walk the index that has the order and all that is filtered by.
each: gather the numbers of the few rows that pass, look up each, and sort them.
first: walk the index that has the order, and look at each row until the page is full, but not at more than `_READ`.
walk: gather the numbers of the rows that pass, from the indexes of filters and texts, then walk the index that has the order, and
    read only the rows of the page.
walk_past: the same with the numbers of the rows that do not pass, where those are fewer.
"""


# A unary plus, so that SQLite looks it up in no index and walks the one that has the order.
_TYPE_BY_ITSELF: ColumnElement[str] = literal_column("+connections.connection_type")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which connections to list. What is left out does not filter; all that is given must hold.

    Attributes:
        connection_types, system_types: any of these.
        test_status: by the last test of the secrets stored now; "untested" if there was none.
        failure_codes: the last test failed with any of these.
        other_types_than: of none of these types, such as those of all connectors; None does not filter.
        other_keys_than: secrets are stored, and none of these keys sealed them; None does not filter.
        search: part of the key, name or description, in any case.
    """

    connection_types: Collection[str] = ()
    system_types: Collection[str] = ()
    disabled: bool | None = None
    test_status: TestStatus | None = None
    failure_codes: Collection[str] = ()
    other_types_than: Collection[str] | None = None
    other_keys_than: Collection[str] | None = None
    search: str | None = None


class _Shape(NamedTuple):
    """What of `Filters` changes the statement, and not only its values.

    Attributes:
        matches: how many the search finds, where SQLite has to know: at most `_MANY_MATCHES`, or more than half of all.
    """

    connection_types: bool = False
    system_types: bool = False
    disabled: bool | None = None
    test_status: TestStatus | None = None
    failure_codes: bool = False
    other_types_than: bool = False
    other_keys_than: bool = False
    search: SearchMethod | None = None
    matches: Literal["few", "some", "most"] = "some"

    @property
    def filters(self) -> "_Shape":
        """The same without the search."""
        return self._replace(search=None, matches="some")


_EVERYTHING = Filters()
_NO_FILTERS = _Shape()


def list_connections(
    database: Connection, filters: Filters = _EVERYTHING, *, sort: Sort = "name", page: int = 1, size: int = 50
) -> tuple[list[StoredConnection], int]:
    """One page of the connections that pass the filters, and how many pass in all.

    Args:
        page: from 1, of any magnitude; past the end there are no rows.
        size: rows to a page, at least 1.
    """
    dialect = database.dialect.name
    method = search.method(dialect, filters.search) if filters.search else None
    shape, values = _shape(filters, method), _values(filters, method)
    plan: _Plan = "plain"
    if dialect == "sqlite":
        if not _has_index(shape, sort):
            return _list_on_sqlite(database, shape, values, sort, page=page, size=size)
        plan = "in_order"
    return _list_at_once(database, shape, values, sort, plan, page=page, size=size)


def _list_at_once(
    database: Connection, shape: _Shape, values: Mapping[str, Any], sort: Sort, plan: _Plan, *, page: int, size: int
) -> tuple[list[StoredConnection], int]:
    statement = _page_at_once(shape, sort, plan)
    rows, total = load_page_at_once(database, _count(shape), statement, values, page=page, size=size)
    return [StoredConnection._make(row[:-1]) for row in rows], total


def _list_on_sqlite(
    database: Connection, shape: _Shape, values: Mapping[str, Any], sort: Sort, *, page: int, size: int
) -> tuple[list[StoredConnection], int]:
    """A page by the plan that is fastest for how many rows pass."""

    def count(statement: Select[Any]) -> int:
        number: int = database.execute(statement, values).scalar_one()
        return number

    matching = count(search.count(shape.search)) if shape.search else 0
    if shape.search == "index" and matching <= _MANY_MATCHES:
        shape = shape._replace(matches="few")
        return _list_at_once(database, shape, values, sort, "plain", page=page, size=size)
    everything = count(_count(_NO_FILTERS))
    if matching * 2 > everything:
        shape = shape._replace(matches="most")
    total = matching if shape.filters == _NO_FILTERS else count(_count(shape))
    skipped = (page - 1) * size
    if skipped >= total:
        return [], total

    def rows(plan: _Plan) -> list[StoredConnection]:
        found = database.execute(_page(shape, sort, plan), {**values, "size": size, "skipped": skipped, "read": _READ})
        return [StoredConnection._make(row) for row in found]

    if total <= _MANY_MATCHES:
        return rows("each"), total
    # Twice the rows that are to be expected, if those that pass are spread evenly. They may be not.
    if (skipped + size) * 2 * everything <= total * _READ:
        found = rows("first")
        if len(found) == min(size, total - skipped):
            return found, total
    return rows("walk" if total * 2 <= everything else "walk_past"), total


def _shape(filters: Filters, method: SearchMethod | None) -> _Shape:
    return _Shape(
        connection_types=bool(filters.connection_types),
        system_types=bool(filters.system_types),
        disabled=filters.disabled,
        test_status=filters.test_status,
        failure_codes=bool(filters.failure_codes),
        other_types_than=filters.other_types_than is not None,
        other_keys_than=filters.other_keys_than is not None,
        search=method,
    )


def _has_index(shape: _Shape, sort: Sort) -> bool:
    """Whether one index has the order and all that is filtered by."""
    if sort in ("name", "-name"):
        return not (shape.failure_codes or shape.other_keys_than or shape.search)
    return shape == _NO_FILTERS


_LISTS = ("connection_types", "system_types", "failure_codes", "other_types_than", "other_keys_than")


def _values(filters: Filters, method: SearchMethod | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _LISTS:
        given = getattr(filters, name)
        if given or (given is not None and name.startswith("other")):
            values[name] = [word for word in given if storable(word)]
    if method and filters.search:
        values |= search.parameters(method, filters.search)
    return values


@cache
def _count(shape: _Shape) -> Select[Any]:
    return select(func.count()).select_from(connections).where(*_conditions(shape))


@cache
def _page_at_once(shape: _Shape, sort: Sort, plan: _Plan) -> Select[Any]:
    return _page(shape, sort, plan).add_columns(_count(shape).scalar_subquery())


@cache
def _page(shape: _Shape, sort: Sort, plan: _Plan) -> Select[Any]:
    rows = select(*COLUMNS)
    number = connections.c.number
    match plan:
        case "plain":
            rows = rows.where(*_conditions(shape))
        case "in_order":
            rows = rows.where(*_filters(shape, kind=_TYPE_BY_ITSELF))
        case "first":
            first = select(number).order_by(*_order(sort)).limit(bindparam("read"))
            rows = rows.where(search.WALKED.in_(first), *_filters(shape, kind=_TYPE_BY_ITSELF))
            rows = rows.where(search.holds(shape.search)) if shape.search else rows
        case "each":
            rows = rows.where(number.in_(select(number).where(*_conditions(shape))))
        case "walk" if shape.filters == _NO_FILTERS:
            rows = rows.where(*_conditions(shape))
        case "walk":
            rows = rows.where(search.WALKED.in_(select(number).where(*_conditions(shape))))
        case "walk_past":
            if shape.filters != _NO_FILTERS:
                others = select(number).where(and_(*_filters(shape)).is_not(true()))
                rows = rows.where(search.WALKED.not_in(others))
            rows = rows.where(search.condition(shape.search, "most")) if shape.search else rows
    return paged(rows.order_by(*_order(sort)))


def _order(sort: Sort) -> list[ColumnElement[Any]]:
    columns = dict.fromkeys([connections.c[sort.removeprefix("-")], connections.c.key])
    directed = [column.desc() if sort.startswith("-") else column.asc() for column in columns]
    # Said only where there can be nulls: PostgreSQL would not walk an index backwards for it.
    return [order.nulls_last() if column.nullable else order for column, order in zip(columns, directed, strict=True)]


def _conditions(shape: _Shape) -> list[ColumnElement[bool]]:
    filters = _filters(shape)
    return [*filters, search.condition(shape.search, shape.matches)] if shape.search else filters


def _filters(shape: _Shape, *, kind: ColumnElement[str] = connections.c.connection_type) -> list[ColumnElement[bool]]:
    columns = connections.c
    conditions: list[ColumnElement[bool]] = []
    if shape.connection_types:
        conditions.append(kind.in_(bindparam("connection_types", expanding=True)))
    if shape.system_types:
        conditions.append(columns.system_type.in_(bindparam("system_types", expanding=True)))
    if shape.disabled is not None:
        conditions.append(columns.disabled.is_(shape.disabled))
    match shape.test_status:
        case "untested":
            conditions.append(columns.last_test_succeeded.is_(None))
        case "passed" | "failed":
            conditions.append(columns.last_test_succeeded.is_(shape.test_status == "passed"))
    if shape.failure_codes:
        conditions.append(columns.last_test_succeeded.is_(False))  # see `StoredConnection.last_failure_code`
        conditions.append(columns.last_failure_code.in_(bindparam("failure_codes", expanding=True)))
    if shape.other_types_than:
        conditions.append(columns.connection_type.not_in(bindparam("other_types_than", expanding=True)))
    if shape.other_keys_than:
        conditions.append(columns.secrets_kid.is_not(None))
        conditions.append(columns.secrets_kid.not_in(bindparam("other_keys_than", expanding=True)))
    return conditions
