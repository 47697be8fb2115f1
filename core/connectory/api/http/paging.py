"""Pages: the query parameters, and the shape `{items, total, page, size, pages}`."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import Field

from connectory.api.http.answers import Answer
from connectory.api.http.errors import Refused, refuse_field

PageNumber = Annotated[int, Query(ge=1, le=1_000_000_000, description="Which page, from 1. One past the end is empty.")]
PageSize = Annotated[int, Query(ge=1, le=100, description="Items to a page.")]

ANSWER_LIMIT = 8 * 2**20
"""Bytes that the items of an answer may take together: what a page holds is in memory more than once while it is answered."""

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


def page_too_large(fits: int) -> Refused:
    """The answer where the items of a page take more than `ANSWER_LIMIT`, of which `fits` would not."""
    message = f"The items of this page take more than {ANSWER_LIMIT // 2**20} MiB; ask for at most {fits}."
    return refuse_field(["query", "size"], message, "page_too_large")
