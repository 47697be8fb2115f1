"""Pages: the query parameters, and the shape `{items, total, page, size, pages}`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

PageNumber = Annotated[int, Query(ge=1, le=1_000_000_000, description="Which page, from 1. One past the end is empty.")]
PageSize = Annotated[int, Query(ge=1, le=100, description="Items to a page.")]


def page_of(items: Sequence[Any], total: int, page: int, size: int) -> dict[str, Any]:
    """One page that holds `items`."""
    return {"items": items, "total": total, "page": page, "size": size, "pages": -(-total // size)}
