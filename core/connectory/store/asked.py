"""Rows whose column is one of many values, asked for with one parameter.

Fifty parameters would be spelled into the statement anew each time, which takes longer than the query.
"""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement, any_, bindparam, cast, func, select

from connectory.store.search import storable


def is_asked(column: Column[Any], dialect: str) -> ColumnElement[bool]:
    """That `column` is one of the values of the parameter `asked`, which `asked` makes."""
    if dialect == "postgresql":
        values = func.json_array_elements_text(cast(bindparam("asked"), JSON(none_as_null=True)))
        # As one array, of which PostgreSQL expects ten values: of rows it expects a hundred, and may rather read the whole table.
        return column == any_(func.array(select(values.table_valued("value").c.value).scalar_subquery()))
    return column.in_(select(func.json_each(bindparam("asked")).table_valued("value").c.value))


def asked(values: Iterable[str]) -> dict[str, str]:
    """The parameter for `is_asked`; what no row can hold is left out."""
    return {"asked": json.dumps([value for value in values if storable(value)])}
