"""`/data_category`: what the fields of a dataset may be said to hold."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.errors import PROTECTED
from connectory.api.http.paging import Page, PageNumber, PageSize, page_of
from connectory.api.node.service import service_of

router = Router(prefix="/api/v1", tags=["Datasets"], responses=PROTECTED)


class DataCategory(Answer):
    """One data category. Of those that the operator named, only the key is known."""

    fides_key: Annotated[str, Field(examples=["user.contact.email"])]
    name: Annotated[str | None, Field(examples=["Email"])]
    description: Annotated[str | None, Field(examples=["User's contact email address."])]


class DataCategoryPage(Page[DataCategory]):
    """Data categories, ordered by key."""


@router.get(
    "/data_category",
    operation_id="listDataCategories",
    summary="List the data categories that datasets may use",
    dependencies=[needs("dataset:read")],
    response_model=DataCategoryPage,
)
async def list_all(
    request: Request,
    search: Annotated[
        str, Query(max_length=200, description="Part of the key, the name or the description, in any case.")
    ] = "",
    page: PageNumber = 1,
    size: PageSize = 50,
) -> Response:
    """Those of the Fides language's default taxonomy, and those that `CONNECTORY_DATA_CATEGORIES` names."""
    service = service_of(request)
    further = service.settings.data_categories
    found = await service.threads.read(_found, further, search.strip().lower())
    return json_response(page_of(found[(page - 1) * size : page * size], len(found), page, size))


def _found(further: tuple[str, ...], word: str) -> list[dict[str, Any]]:
    from connectory.api.datasets.fides_language import described_categories  # it takes a second to import

    return [
        category
        for category in described_categories(further)
        if any(word in text.lower() for text in category.values() if text)
    ]
