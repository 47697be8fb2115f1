"""Each shape is said once: what is answered fits the models that the OpenAPI document is made of."""

import base64
import inspect
import sys
from types import ModuleType, SimpleNamespace

import pytest

from connectory.api.connections import connection_shapes
from connectory.api.connections.connection_shapes import (
    GIVEN,
    READ_ONLY,
    Connection,
    ConnectionDetail,
    ConnectionPage,
    ConnectionsSaved,
)
from connectory.api.connections.connection_types import ConnectionTypePage, SecretSchema
from connectory.api.datasets.datasets import Dataset, DatasetPage, DatasetsSaved
from connectory.api.openapi import example
from connectory.store import connections
from connectory.store.connections import EDITABLE

DATASETS = [{"fides_key": "films", "collections": [{"name": "film", "fields": [{"name": "title"}]}]}]


@pytest.fixture(scope="module")
def schemas(anonymous):
    return anonymous.get("/openapi.json").json()["components"]["schemas"]


def test_the_members_of_a_connection_are_those_of_its_model(api, schemas):
    """In answers, in requests and in the document."""
    members = list(Connection.model_fields)
    assert list(api.create("books")) == members
    assert list(api.get("/connection").json()["items"][0]) == members
    assert list(api.get("/connection/books").json()) == list(ConnectionDetail.model_fields)
    assert list(schemas["Connection"]["properties"]) == members
    assert set(schemas["ConnectionItem"]["properties"]) == set(ConnectionDetail.model_fields)
    assert sorted([*GIVEN, *READ_ONLY]) == sorted(ConnectionDetail.model_fields)
    assert set(members) <= set(connections.StoredConnection._fields)
    assert READ_ONLY == (
        "created_at",
        "updated_at",
        "last_test_timestamp",
        "last_test_succeeded",
        "secrets_state",
        "authorized",
        "last_test",
        "connector_problem",
    )


def test_a_further_member_of_a_connection_is_one_line_in_the_api(monkeypatch):
    """With `owner` in the store's record, one line in the model makes requests take it, and answers and the schema show it."""
    monkeypatch.setattr(connections, "EDITABLE", EDITABLE | {"owner"})
    source = inspect.getsource(connection_shapes)
    line = "    description: Text | None\n"
    assert source.count(line) == 1
    shapes = ModuleType("shapes_with_an_owner")
    monkeypatch.setitem(sys.modules, shapes.__name__, shapes)
    exec(compile(source.replace(line, line + "    owner: Name | None\n"), "<shapes>", "exec"), shapes.__dict__)
    [item] = shapes.ConnectionItems.model_validate([{"key": "books", "owner": "Ada"}]).root
    assert (item.owner, item.model_fields_set) == ("Ada", {"key", "owner"})
    assert "owner" in shapes.GIVEN
    row = SimpleNamespace(**dict.fromkeys(Connection.model_fields), owner="Ada")
    assert shapes.connection_item(row)["owner"] == "Ada"
    schema = shapes.ConnectionPage.model_json_schema(mode="serialization")
    assert "owner" in schema["$defs"]["Connection"]["required"]
    assert "owner" in shapes.ConnectionItems.model_json_schema()["$defs"]["ConnectionItem"]["properties"]
    assert example(shapes.ConnectionDetail)["owner"] is None


def test_an_item_requires_nothing_that_the_server_does_not_and_assumes_nothing(api, schemas):
    item = schemas["ConnectionItem"]
    assert "required" not in item
    assert "anyOf" not in item
    assert not any("default" in member for member in item["properties"].values())
    assert "Either `key` or `name` must be given" in item["description"]
    api.create("books", disabled=True)
    [changed] = api.patch("/connection", json=[{"key": "books", "name": "Better"}]).json()["succeeded"]
    assert changed["disabled"] is True


def test_answers_about_connections_fit_their_models(api):
    api.create("books", secrets={"token": "tiger-lily"})
    api.get("/connection/books/test")
    ConnectionPage.model_validate_json(api.get("/connection").content)
    ConnectionDetail.model_validate_json(api.get("/connection/books").content)
    items = [{"name": "!!!", "connection_type": "manual", "access": "read"}, {"key": "books", "access": "write"}]
    saved = ConnectionsSaved.model_validate_json(api.patch("/connection", json=items).content)
    assert (len(saved.succeeded), len(saved.failed)) == (1, 1)


def test_answers_about_types_fit_their_models(api, catalog):
    page = ConnectionTypePage.model_validate_json(api.get("/connection_type?size=100").content)
    for item in page.items:
        connector = catalog.get(item.identifier)
        icon = base64.b64decode(item.encoded_icon).decode()
        assert (item.human_readable, icon) == (connector.description.human_readable, connector.icon)
        SecretSchema.model_validate_json(api.get(f"/connection_type/{item.identifier}/secret").content)


def test_answers_about_datasets_fit_their_models(api):
    api.create("books")
    api.create("films")
    saved = api.patch("/connection/films/dataset", json=DATASETS)
    assert len(DatasetsSaved.model_validate_json(saved.content).succeeded) == 1
    taken = api.patch("/connection/books/dataset", json=DATASETS)
    assert len(DatasetsSaved.model_validate_json(taken.content).failed) == 1
    assert DatasetPage.model_validate_json(api.get("/connection/films/dataset").content).total == 1
    Dataset.model_validate_json(api.get("/connection/films/dataset/films").content)


def test_an_empty_connection_type_is_no_type(api):
    for item in ({"name": "Empty", "connection_type": "", "access": "read"}, {"key": "books", "connection_type": ""}):
        api.create("books")
        answer = api.patch("/connection", json=[item])
        assert answer.status_code == 422
        [problem] = answer.json()["detail"]
        assert (problem["loc"], problem["type"]) == (["body", 0, "connection_type"], "enum")
