"""`/connection/{key}/dataset`: the datasets, in the Fides language, that describe what is behind a connection."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field, RootModel

from connectory.api.answers import Answer, json_response
from connectory.api.bearer import actor, needs
from connectory.api.bodies import JsonBody, parse_json
from connectory.api.dataset_documents import CheckedDataset, DatasetInvalid, check_dataset
from connectory.api.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.lookup import ConnectionKey, find_connection
from connectory.api.paging import Page, PageNumber, PageSize, page_of
from connectory.api.service import Service, service_of
from connectory.documents.validation import FieldProblem
from connectory.store import audit
from connectory.store.audit import AuditEntry
from connectory.store.connections import StoredConnection
from connectory.store.datasets import delete, get, list_datasets, upsert_many
from connectory.store.errors import ConnectionGone, KeyTaken
from connectory.store.timestamps import utc_now

router = APIRouter(prefix="/api/v1", tags=["Datasets"], responses=PROTECTED)

MOST_DATASETS = 50
"""Datasets to a request, as in the Integrations API of Fides."""

FidesKey = Annotated[str, Path(description="The dataset's fides_key.", examples=["example_test_dataset"])]

_MISSING_CONNECTION = "No connection config with key '{key}'."

# The shapes below describe datasets in the OpenAPI document. The Fides language validates them, with all of its members; its own
# models are not used to describe, because importing them takes over a second and their validators stand in no schema.


class DatasetField(BaseModel):
    """A field of a collection; it may have all members of the Fides language."""

    name: Annotated[str, Field(examples=["email"])]
    description: str | None = None
    data_categories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.<>-]+$")]] | None,
        Field(examples=[["user.contact.email"]]),
    ] = None


class DatasetCollection(BaseModel):
    """A collection, such as a table; it may have all members of the Fides language."""

    name: Annotated[str, Field(examples=["customer"])]
    description: str | None = None
    fields: list[DatasetField]


class DatasetToSave(BaseModel):
    """A dataset of the Fides language; a member that is not shown here may be given too."""

    fides_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.<>-]{1,200}$")]
    # The Fides language takes a number for a text, and stores it as text.
    name: str | float | None = None
    description: str | float | None = None
    collections: list[DatasetCollection]


class DatasetsToSave(RootModel[Annotated[list[DatasetToSave], Field(max_length=MOST_DATASETS)]]):
    """Datasets to attach to a connection."""


class Dataset(BaseModel):
    """A dataset of the Fides language, with all of its members: https://ethyca.github.io/fideslang/"""

    fides_key: Annotated[str, Field(examples=["example_test_dataset"])]
    name: Annotated[str | None, Field(examples=["Example Test Dataset"])]
    description: Annotated[str | None, Field(examples=["Customers, products, addresses, etc."])]
    collections: list[DatasetCollection]


class SavedDataset(Dataset):
    """A dataset as it was saved."""

    ignored: Annotated[
        list[str],
        Field(
            description="Places of members of other versions of the Fides language, which are not stored.",
            examples=[[]],
        ),
    ]


class DatasetPage(Page[Dataset]):
    """Datasets of a connection, newest first."""


class FailedDataset(Answer):
    """A dataset that was not saved."""

    connection_key: str
    fides_key: str
    dataset: Dataset


class DatasetFailure(Answer):
    """Why a dataset was not saved."""

    message: str
    data: FailedDataset


class DatasetsSaved(Answer):
    """What became of each dataset of a request."""

    succeeded: list[SavedDataset]
    failed: Annotated[list[DatasetFailure], Field(examples=[[]])]


_EXAMPLE = {
    "fides_key": "example_test_dataset",
    "name": "Example Test Dataset",
    "description": "Example of a dataset containing a variety of related tables like customers, products, addresses, etc.",
    "collections": [
        {"name": "customer", "fields": [{"name": "email", "data_categories": ["user.contact.email"]}, {"name": "id"}]}
    ],
}


@router.patch(
    "/connection/{connection_key}/dataset",
    operation_id="saveDatasets",
    summary="Attach datasets to a connection, or replace them, up to 50 at once",
    dependencies=[needs("dataset:create_or_update")],
    response_model=DatasetsSaved,
    responses=errors(404, 413, 415),
)
async def save_datasets(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, Depends(JsonBody(DatasetsToSave, {"Dataset": [_EXAMPLE]}))],
) -> Response:
    """A stored dataset is replaced as a whole: what the new one leaves out is gone.

    A malformed dataset fails the whole request. One whose key another connection uses, or that stands in an earlier item, is
    listed in `failed`. Collections and fields keep their order.
    """
    service = service_of(request)
    return await service.threads.write(_save, service, connection_key, body, actor(request))


def _save(service: Service, key: str, body: bytes, who: tuple[str, str]) -> Response:
    with service.store.look() as database:
        connection = find_connection(database, key, _MISSING_CONNECTION)
    checked = _checked(parse_json(body), service.settings.data_categories)
    # Of two datasets with one key the first counts.
    firsts = {dataset.fides_key: dataset for dataset in reversed(checked)}
    texts = {fides_key: orjson.dumps(firsts[fides_key].document).decode() for fides_key in reversed(firsts)}
    now = utc_now()
    try:
        with service.store.write() as database:
            outcomes = upsert_many(database, connection.id, texts, now=now)
            saved = [fides_key for fides_key, outcome in outcomes.items() if not isinstance(outcome, KeyTaken)]
            if saved:
                entry = AuditEntry(
                    now, who[0], "datasets_saved", connection.id, connection.key, saved, request_id=who[1]
                )
                audit.append(database, entry)
    except ConnectionGone:
        raise Refused(404, _MISSING_CONNECTION.format(key=key)) from None
    succeeded, failed = [], []
    for dataset in checked:
        if dataset is not firsts[dataset.fides_key]:
            failed.append(_failed(connection, dataset, "stands in an earlier item of this request"))
        elif isinstance(outcomes[dataset.fides_key], KeyTaken):
            failed.append(_failed(connection, dataset, "already exists"))
        else:
            succeeded.append(dataset.document | {"ignored": dataset.ignored})
    return json_response({"succeeded": succeeded, "failed": failed})


def _failed(connection: StoredConnection, dataset: CheckedDataset, why: str) -> dict[str, Any]:
    data = {"connection_key": connection.key, "fides_key": dataset.fides_key, "dataset": dataset.document}
    return {"message": f"Dataset with key '{dataset.fides_key}' {why}.", "data": data}


def _checked(payload: Any, further_categories: Collection[str]) -> list[CheckedDataset]:
    """The datasets of a request.

    Raises:
        Refused: 422 with every problem.
    """
    if not isinstance(payload, list):
        raise refuse_field(["body"], "Must be a JSON array.", "list_type")
    if len(payload) > MOST_DATASETS:
        raise refuse_field(["body"], f"Must have at most {MOST_DATASETS} items.", "too_long")
    problems: list[FieldProblem] = []
    checked = []
    for index, item in enumerate(payload):
        try:
            checked.append(check_dataset(item, further_categories))
        except DatasetInvalid as invalid:
            problems += [{**problem, "loc": ["body", index, *problem["loc"]]} for problem in invalid.problems]
    if problems:
        raise Refused(422, problems)
    return checked


@router.get(
    "/connection/{connection_key}/dataset",
    operation_id="listDatasets",
    summary="List the datasets of a connection",
    dependencies=[needs("dataset:read")],
    response_model=DatasetPage,
    responses=errors(404),
)
async def list_all(
    request: Request, connection_key: ConnectionKey, page: PageNumber = 1, size: PageSize = 50
) -> Response:
    """Newest first."""
    service = service_of(request)
    return await service.threads.read(_list, service, connection_key, page, size)


def _list(service: Service, key: str, page: int, size: int) -> Response:
    with service.store.read() as database:
        connection = find_connection(database, key, _MISSING_CONNECTION)
        found, total = list_datasets(database, connection.id, page=page, size=size)
    return json_response(page_of([orjson.Fragment(row.dataset) for row in found], total, page, size))


@router.get(
    "/connection/{connection_key}/dataset/{fides_key}",
    operation_id="getDataset",
    summary="Read one dataset of a connection",
    dependencies=[needs("dataset:read")],
    response_model=Dataset,
    responses=errors(404),
)
async def get_one(request: Request, connection_key: ConnectionKey, fides_key: FidesKey) -> Response:
    """The dataset as it is stored."""
    service = service_of(request)
    return await service.threads.read(_get, service, connection_key, fides_key)


def _get(service: Service, key: str, fides_key: str) -> Response:
    with service.store.read() as database:
        connection = find_connection(database, key, _MISSING_CONNECTION)
        found = get(database, connection.id, fides_key)
    if found is None:
        raise _no_dataset(connection, fides_key, "connection key")
    return Response(found.dataset, media_type="application/json")


@router.delete(
    "/connection/{connection_key}/dataset/{fides_key}",
    operation_id="deleteDataset",
    summary="Delete one dataset of a connection",
    dependencies=[needs("dataset:delete")],
    status_code=204,
    responses=errors(404),
)
async def delete_one(request: Request, connection_key: ConnectionKey, fides_key: FidesKey) -> Response:
    """The connection stays."""
    service = service_of(request)
    await service.threads.write(_delete, service, connection_key, fides_key, actor(request))
    return Response(status_code=204)


def _delete(service: Service, key: str, fides_key: str, who: tuple[str, str]) -> None:
    with service.store.write() as database:
        connection = find_connection(database, key, _MISSING_CONNECTION)
        if not delete(database, connection.id, fides_key):
            raise _no_dataset(connection, fides_key, "connection_key")
        entry = AuditEntry(
            utc_now(), who[0], "dataset_deleted", connection.id, connection.key, [fides_key], request_id=who[1]
        )
        audit.append(database, entry)


def _no_dataset(connection: StoredConnection, fides_key: str, label: str) -> Refused:
    # The path may hold anything, so only what could be a key is repeated.
    shown = fides_key if fides_key.replace(".", "").replace("-", "").replace("_", "").isalnum() else "?"
    return Refused(404, f"No dataset with fides_key '{shown[:200]}' and {label} '{connection.key}'")
