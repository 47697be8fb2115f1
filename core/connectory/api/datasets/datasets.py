"""`/connection/{key}/dataset`: the datasets, in the Fides language, that describe what is behind a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import Path, Query, Request, Response

from connectory.api.access.bearer import actor, needs
from connectory.api.access.routes import Router
from connectory.api.datasets.dataset_shapes import (
    MOST_DATASETS,
    Dataset,
    DatasetFile,
    DatasetPage,
    DatasetsSaved,
    DatasetsToSave,
)
from connectory.api.http.answers import json_response
from connectory.api.http.bodies import JsonOrYamlBody, is_yaml, parse_json
from connectory.api.http.errors import PROTECTED, Refused, errors, refuse_field
from connectory.api.http.paging import ANSWER_LIMIT, PageNumber, PageSize, page_of, page_too_large
from connectory.api.node.service import Service, service_of
from connectory.api.stored.lookup import ConnectionKey, find_connection
from connectory.store import audit
from connectory.store.audit import Actor
from connectory.store.connections import StoredConnection
from connectory.store.datasets import delete, get, keys_of_others, list_datasets, upsert_many
from connectory.store.errors import ConnectionGone, KeyTaken, PageTooLarge
from connectory.store.timestamps import utc_now

if TYPE_CHECKING:
    from connectory.api.datasets.dataset_items import DatasetItem

router = Router(prefix="/api/v1", tags=["Datasets"], responses=PROTECTED)

FidesKey = Annotated[str, Path(description="The dataset's fides_key.", examples=["example_test_dataset"])]

MISSING_CONNECTION = "No connection config with key '{key}'."
_TAKEN = "Dataset with key '{fides_key}' already exists."
_TWICE = (
    "Dataset with key '{fides_key}' stands in an earlier item of this request, which counts; send each dataset once."
)

_DEPTH = 10 + 2 * 60
"""Levels of nesting that a body of datasets may have: those of 60 fields within each other, as many as a discovery tells."""

_TOO_LARGE = (
    f"With all members of the Fides language these datasets take more than {ANSWER_LIMIT // 2**20} MiB; send fewer, or smaller "
    "ones."
)

_EXAMPLE = {
    "fides_key": "example_test_dataset",
    "name": "Example Test Dataset",
    "description": "Example of a dataset containing a variety of related tables like customers, products, addresses, etc.",
    "collections": [
        {"name": "customer", "fields": [{"name": "email", "data_categories": ["user.contact.email"]}, {"name": "id"}]}
    ],
}


_BODY = JsonOrYamlBody(
    DatasetsToSave, {"Dataset": [_EXAMPLE]}, DatasetFile, {"File of the Fides language": {"dataset": [_EXAMPLE]}}
)


@router.patch(
    "/connection/{connection_key}/dataset",
    operation_id="saveDatasets",
    summary="Attach datasets to a connection, or replace them, up to 50 at once",
    response_model=DatasetsSaved,
    responses=errors(404, 413, 415),
)
async def save_datasets(
    request: Request,
    connection_key: ConnectionKey,
    body: Annotated[bytes, needs("dataset:create_or_update", _BODY)],
    dry_run: Annotated[bool, Query(description="Answer what would become of each dataset, and store nothing.")] = False,
) -> Response:
    """A dataset whose `fides_key` the connection already has is replaced as a whole, with everything in it.

    A malformed dataset fails the whole request, and nothing is stored: an unknown member and an unknown data category too.
    With all members of the Fides language, as they are stored, the datasets of a request take up to 8 MiB together.
    A dataset whose key another connection uses is listed in `failed`, and so is one whose key an earlier item has.
    With `dry_run` the answer is the same, and nothing is stored, nor in the audit trail.
    In YAML the body is a list of datasets, or a file of the Fides language with `dataset` and nothing else; problems then begin
    with line and column. Aliases, tags and a key that stands twice in a mapping are refused.
    """
    service = service_of(request)
    items_of = _items_of_yaml if is_yaml(request) else _items_of_json
    return await service.threads.write(_save, service, connection_key, body, items_of, actor(request), dry_run)


def _save(
    service: Service,
    key: str,
    body: bytes,
    items_of: Callable[[bytes, tuple[str, ...]], list[DatasetItem]],
    who: Actor,
    dry_run: bool,
) -> Response:
    with service.store.look() as database:
        connection = find_connection(database, key, MISSING_CONNECTION)
    items = items_of(body, service.settings.data_categories)
    if sum(map(_rendered_size, items)) > ANSWER_LIMIT:
        raise Refused(413, _TOO_LARGE)
    firsts: dict[str, DatasetItem] = {}
    for item in items:
        firsts.setdefault(item.fides_key, item)
    if dry_run:
        with service.store.look() as database:
            taken = keys_of_others(database, connection.id, firsts)
    else:
        taken = _store(service, connection, firsts, who)
    succeeded, failed = [], []
    for item in items:
        if item is not firsts[item.fides_key]:
            failed.append(_failure(key, item, _TWICE))
        elif item.fides_key in taken:
            failed.append(_failure(key, item, _TAKEN))
        else:
            succeeded.append(_with_ignored(item))
    return json_response({"succeeded": succeeded, "failed": failed})


def _store(
    service: Service, connection: StoredConnection, items: Mapping[str, DatasetItem], who: Actor
) -> frozenset[str]:
    """Store datasets, by fides_key; gives the keys that other connections have."""
    now = utc_now()
    try:
        with service.store.write() as database:
            documents = {fides_key: item.document for fides_key, item in items.items()}
            outcomes = upsert_many(database, connection.id, documents, now=now)
            taken = frozenset(fides_key for fides_key, outcome in outcomes.items() if isinstance(outcome, KeyTaken))
            if saved := [fides_key for fides_key in outcomes if fides_key not in taken]:
                audit.append(database, who.did("datasets_saved", connection, saved, result_code="200", at=now))
    except ConnectionGone:
        raise Refused(404, MISSING_CONNECTION.format(key=connection.key)) from None
    return taken


def _items_of_json(body: bytes, further_categories: tuple[str, ...]) -> list[DatasetItem]:
    return _items(parse_json(body, _DEPTH), further_categories)


def _items_of_yaml(body: bytes, further_categories: tuple[str, ...]) -> list[DatasetItem]:
    # Imported here: few requests are in YAML.
    from connectory.api.http.yaml_bodies import parse_yaml, with_lines

    within: tuple[str, ...] = ()
    payload = parse_yaml(body, _DEPTH)
    if isinstance(payload, dict) and payload.keys() == {"dataset"}:
        payload, within = payload["dataset"], ("dataset",)
    try:
        if not isinstance(payload, list):
            message = "Must be a list of datasets, or `dataset` with one and nothing else."
            raise refuse_field(["body"], message, "list_type")
        return _items(payload, further_categories)
    except Refused as refused:
        raise with_lines(refused, body, within, _DEPTH) from None


def _items(payload: Any, further_categories: tuple[str, ...]) -> list[DatasetItem]:
    if not isinstance(payload, list):
        raise refuse_field(["body"], "Must be a JSON array.", "list_type")
    if len(payload) > MOST_DATASETS:
        raise refuse_field(["body"], f"Must have at most {MOST_DATASETS} items.", "too_long")
    # Imported here: it takes about a second, and most requests have nothing to do with datasets.
    from connectory.api.datasets.dataset_items import check_datasets

    return check_datasets(payload, further_categories)


def _failure(connection_key: str, item: DatasetItem, message: str) -> dict[str, Any]:
    return {
        "message": message.format(fides_key=item.fides_key),
        "data": {
            "connection_key": connection_key,
            "fides_key": item.fides_key,
            "dataset": orjson.Fragment(item.document),
        },
    }


def _rendered_size(item: DatasetItem) -> int:
    return len(item.document.encode()) + sum(len(place) + 3 for place in item.ignored)


def _with_ignored(item: DatasetItem) -> orjson.Fragment:
    # The document is rendered already, for the store, and is not parsed only to get one more member.
    return orjson.Fragment(f'{item.document[:-1]},"ignored":{orjson.dumps(item.ignored).decode()}}}')


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
    """Newest first. The datasets of a page take up to 8 MiB together; where they take more, 422 says how many to ask for."""
    service = service_of(request)
    return await service.threads.read(_list, service, connection_key, page, size)


def _list(service: Service, key: str, page: int, size: int) -> Response:
    with service.store.read() as database:
        connection = find_connection(database, key, MISSING_CONNECTION)
        try:
            found, total = list_datasets(database, connection.id, page=page, size=size, limit=ANSWER_LIMIT)
        except PageTooLarge as problem:
            raise page_too_large(problem.fits) from None
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
        connection = find_connection(database, key, MISSING_CONNECTION)
        found = get(database, connection.id, fides_key)
    if found is None:
        raise no_dataset(connection, fides_key, "connection key")
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


def _delete(service: Service, key: str, fides_key: str, who: Actor) -> None:
    with service.store.write() as database:
        connection = find_connection(database, key, MISSING_CONNECTION)
        if not delete(database, connection.id, fides_key):
            raise no_dataset(connection, fides_key, "connection_key")
        audit.append(database, who.did("dataset_deleted", connection, [fides_key], result_code="204"))


def no_dataset(connection: StoredConnection, fides_key: str, label: str) -> Refused:
    """The connection has no such dataset: 404."""
    # The path may hold anything, so only what could be a key is repeated.
    shown = fides_key if fides_key.replace(".", "").replace("-", "").replace("_", "").isalnum() else "?"
    return Refused(404, f"No dataset with fides_key '{shown[:200]}' and {label} '{connection.key}'")
