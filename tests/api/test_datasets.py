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
    assert saved.pop("ignored") == []
    assert [field["name"] for field in saved["collections"][0]["fields"]] == ["id", "email"]
    # An old spelling is taken and answered in the new one.
    assert saved["collections"][0]["fields"][1]["fides_meta"]["identity"] == "email"
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


def test_of_two_datasets_with_one_key_the_first_is_saved_and_the_second_fails(api):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[DATASET, DATASET | {"name": "Second"}]).json()
    assert [saved["name"] for saved in answer["succeeded"]] == ["Example Test Dataset"]
    [failed] = answer["failed"]
    assert failed["message"] == "Dataset with key 'example_test_dataset' stands in an earlier item of this request."
    assert failed["data"]["dataset"]["name"] == "Second"
    assert api.get("/connection/books/dataset/example_test_dataset").json()["name"] == "Example Test Dataset"


def test_collections_and_fields_keep_their_order_at_every_depth(api):
    def named(*names, **members):
        return [{"name": name, **members} for name in names]

    nested = {"name": "home", "fields": named("zip", "city", "area")}
    dataset = {
        "fides_key": "ordered",
        "collections": [{"name": "z", "fields": [nested, *named("b", "a")]}, *named("y", "x", fields=named("q", "p"))],
    }
    api.create("books")
    api.patch("/connection/books/dataset", json=[dataset])
    z, y, x = api.get("/connection/books/dataset/ordered").json()["collections"]
    assert [z["name"], y["name"], x["name"]] == ["z", "y", "x"]
    assert [field["name"] for field in z["fields"]] == ["home", "b", "a"]
    assert [field["name"] for field in z["fields"][0]["fields"]] == ["zip", "city", "area"]
    assert [field["name"] for field in x["fields"]] == ["q", "p"]


@pytest.mark.parametrize(
    ("change", "loc", "nearest"),
    [
        ({"data_categories": ["user", "user.nonsense"]}, ["data_categories", 1], "user.sensor"),
        (
            {"collections": [{"name": "c", "data_categories": ["usr.contact.email"], "fields": []}]},
            ["collections", 0, "data_categories", 0],
            "user.contact.email",
        ),
        (
            {
                "collections": [
                    {
                        "name": "c",
                        "fields": [
                            {"name": "f", "fields": [{"name": "g", "data_categories": ["SECRET-marker-user.name"]}]}
                        ],
                    }
                ]
            },
            ["collections", 0, "fields", 0, "fields", 0, "data_categories", 0],
            "user.name",
        ),
    ],
)
def test_a_category_outside_the_taxonomy_is_refused_with_the_nearest(api, change, loc, nearest):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[DATASET | change])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", 0, *loc]
    assert problem["type"] == "unknown_data_category"
    assert f"the nearest is '{nearest}'" in problem["msg"]
    assert "marker" not in answer.text
    assert api.get("/connection/books/dataset").json()["total"] == 0


def test_the_deployers_own_categories_are_known(api, service):
    api.create("books")
    dataset = DATASET | {"data_categories": ["user.loyalty_card"]}
    assert api.patch("/connection/books/dataset", json=[dataset]).status_code == 422
    before = service.settings
    object.__setattr__(service, "settings", before.model_copy(update={"data_categories": ("user.loyalty_card",)}))
    try:
        assert api.patch("/connection/books/dataset", json=[dataset]).json()["failed"] == []
    finally:
        object.__setattr__(service, "settings", before)


@pytest.mark.parametrize(
    ("change", "loc", "hint"),
    [
        ({"datacategories": ["user"]}, ["datacategories"], "Did you mean 'data_categories'?"),
        ({"xyzzy": 1}, ["xyzzy"], "Known here: fides_key"),
        ({"sk_live_SECRET-marker!": 1}, [], "There is a member that is not known"),
        ({"fides_meta": {"aftr": []}}, ["fides_meta", "aftr"], "Did you mean 'after'?"),
        (
            {"collections": [{"name": "c", "fields": [{"name": "f", "descripton": "d"}]}]},
            ["collections", 0, "fields", 0, "descripton"],
            "Did you mean 'description'?",
        ),
        (
            {
                "collections": [
                    {
                        "name": "c",
                        "fields": [
                            {"name": "f", "fides_meta": {"references": [{"dataset": "d", "field": "a.b", "way": "to"}]}}
                        ],
                    }
                ]
            },
            ["collections", 0, "fields", 0, "fides_meta", "references", 0, "way"],
            "Known here: dataset, field, direction",
        ),
    ],
)
def test_a_member_that_is_not_known_is_refused_at_its_place(api, change, loc, hint):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[DATASET | change])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", 0, *loc]
    assert hint in problem["msg"]
    assert "marker" not in answer.text


def test_members_of_other_versions_of_the_language_are_taken_and_listed_as_ignored(api):
    api.create("books")
    old = {
        "retention": "No retention or erasure policy",
        "data_qualifier": "aggregated.anonymized",
        "joint_controller": {"name": "A"},
        "third_country_transfers": ["USA"],
        "fidesctl_meta": {"resource_id": "r"},
        "collections": [{"name": "c", "retention": "x", "fields": [{"name": "f", "data_qualifier": "aggregated"}]}],
    }
    [saved] = api.patch("/connection/books/dataset", json=[DATASET | old]).json()["succeeded"]
    assert saved["ignored"] == [
        "collections.0.retention",
        "collections.0.fields.0.data_qualifier",
        "retention",
        "data_qualifier",
        "joint_controller",
        "third_country_transfers",
        "fidesctl_meta",
    ]
    assert "retention" not in api.get("/connection/books/dataset/example_test_dataset").json()
    # What was answered can be sent back.
    assert api.patch("/connection/books/dataset", json=[saved]).json()["succeeded"][0]["ignored"] == []


def test_all_problems_of_all_datasets_are_told_at_once(api):
    api.create("books")
    first = DATASET | {"data_categories": ["nonsense"], "fides_key": "a b"}
    answer = api.patch("/connection/books/dataset", json=[first, DATASET | {"collections": 1, "nme": "x"}])
    places = {tuple(problem["loc"]) for problem in answer.json()["detail"]}
    assert places == {
        ("body", 0, "data_categories", 0),
        ("body", 0, "fides_key"),
        ("body", 1, "collections"),
        ("body", 1, "nme"),
    }


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
