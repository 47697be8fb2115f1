"""Pages: the query parameters, and the shape `{items, total, page, size, pages}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import Field

from connectory.api.answers import Answer

PageNumber = Annotated[int, Query(ge=1, le=1_000_000_000, description="Which page, from 1. One past the end is empty.")]
PageSize = Annotated[int, Query(ge=1, le=100, description="Items to a page.")]

Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """One page, and how many there are."""

    items: list[Item]
    total: Annotated[int, Field(ge=0, examples=[1])]
    page: Annotated[int, Field(ge=1, examples=[1])]
    size: Annotated[int, Field(ge=1, examples=[50])]
    pages: Annotated[int, Field(ge=0, examples=[1])]


def page_of(items: Sequence[Any], total: int, page: int, size: int) -> dict[str, Any]:
    """One page that holds `items`, as `Page` describes it."""
    return {"items": items, "total": total, "page": page, "size": size, "pages": -(-total // size)}
