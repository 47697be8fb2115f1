"""`/connection/{key}/dataset`."""

import pytest

DATASET = {
    "fides_key": "example_test_dataset",
    "name": "Example Test Dataset",
    "description": "Example of a dataset containing a variety of related tables like customers, products, addresses, etc.",
    "collections": [
        {
            "name": "customer",
            "fields": [
                {"name": "id", "fides_meta": {"primary_key": True}},
                {
                    "name": "email",
                    "data_categories": ["user.contact.email"],
                    "fidesops_meta": {"identity": "email", "data_type": "string"},
                },
            ],
        }
    ],
}


def test_a_dataset_is_attached_read_listed_and_deleted(api):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[DATASET])
    assert answer.status_code == 200
    assert answer.json()["failed"] == []
    [saved] = answer.json()["succeeded"]
    assert [field["name"] for field in saved["collections"][0]["fields"]] == ["email", "id"]
    # An old spelling is taken and answered in the new one.
    assert saved["collections"][0]["fields"][0]["fides_meta"]["identity"] == "email"
    assert api.get("/connection/books/dataset/example_test_dataset").json() == saved
    assert api.get("/connection/books/dataset").json() == {
        "items": [saved],
        "total": 1,
        "page": 1,
        "size": 50,
        "pages": 1,
    }
    assert api.delete("/connection/books/dataset/example_test_dataset").status_code == 204
    again = api.delete("/connection/books/dataset/example_test_dataset")
    assert again.status_code == 404
    assert again.json()["detail"].startswith(
        "No dataset with fides_key 'example_test_dataset' and connection_key 'books'"
    )


def test_saving_again_replaces(api):
    api.create("books")
    api.patch("/connection/books/dataset", json=[DATASET])
    api.patch("/connection/books/dataset", json=[DATASET | {"name": "New", "collections": []}])
    assert api.get("/connection/books/dataset").json()["total"] == 1
    assert api.get("/connection/books/dataset/example_test_dataset").json()["name"] == "New"


def test_a_key_of_another_connection_fails_that_dataset_only(api):
    api.create("books")
    api.create("films")
    api.patch("/connection/books/dataset", json=[DATASET])
    answer = api.patch("/connection/films/dataset", json=[DATASET, DATASET | {"fides_key": "other"}]).json()
    assert [dataset["fides_key"] for dataset in answer["succeeded"]] == ["other"]
    [failed] = answer["failed"]
    assert failed["message"] == "Dataset with key 'example_test_dataset' already exists."
    assert failed["data"]["fides_key"] == "example_test_dataset"


@pytest.mark.parametrize(
    ("dataset", "loc"),
    [
        ({"collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": "a b", "collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": 7, "collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": "a" * 201, "collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": "x"}, ["body", 1, "collections"]),
        ({"fides_key": "x", "collections": [{"name": "c"}]}, ["body", 1, "collections", 0, "fields"]),
        (
            {
                "fides_key": "x",
                "collections": [{"name": "c", "fields": [{"name": "f", "data_categories": ["S3 cret"]}]}],
            },
            ["body", 1, "collections", 0, "fields", 0, "data_categories", 0],
        ),
        (
            {
                "fides_key": "x",
                "collections": [{"name": "c", "fields": [{"name": "f", "fides_meta": {"data_type": "S3cret"}}]}],
            },
            ["body", 1, "collections", 0, "fields", 0, "fides_meta", "data_type"],
        ),
        (
            {"fides_key": "x", "collections": [{"name": "S3cret", "fields": []}, {"name": "S3cret", "fields": []}]},
            ["body", 1, "collections"],
        ),
        ("S3cret", ["body", 1]),
    ],
)
def test_a_malformed_dataset_fails_the_whole_request_and_names_the_place(api, dataset, loc):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[DATASET, dataset])
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [loc]
    assert "S3" not in answer.text
    assert api.get("/connection/books/dataset").json()["total"] == 0


def test_fifty_one_datasets_are_a_422(api):
    api.create("books")
    many = [{"fides_key": f"d{number}", "collections": []} for number in range(51)]
    assert api.patch("/connection/books/dataset", json=many).status_code == 422
    assert len(api.patch("/connection/books/dataset", json=many[:50]).json()["succeeded"]) == 50


def test_a_missing_connection_or_dataset_is_a_404(api):
    api.create("books")
    for answer in (
        api.get("/connection/boks/dataset"),
        api.get("/connection/boks/dataset/d"),
        api.delete("/connection/boks/dataset/d"),
        api.raw("PATCH", "/connection/boks/dataset", b"nonsense"),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("No connection config with key 'boks'")
    assert "No dataset with fides_key 'd'" in api.get("/connection/books/dataset/d").json()["detail"]


def test_nesting_without_end_is_a_422(api):
    api.create("books")
    field = {"name": "f"}
    for _ in range(200):
        field = {"name": "f", "fields": [field]}
    answer = api.patch(
        "/connection/books/dataset", json=[DATASET | {"collections": [{"name": "c", "fields": [field]}]}]
    )
    assert answer.status_code == 422
