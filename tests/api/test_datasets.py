"""`/connection/{key}/dataset`."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from connectory.api.app import create_app, open_service
from connectory.store.datasets import upsert_many
from connectory.store.tables import connections
from documentation.pages import ROOT
from testkit.in_process import LocalClient

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


def test_collections_and_fields_keep_their_order(api):
    """In answers, in what is stored, and at every depth."""
    api.create("books")
    nested = [{"name": "zip"}, {"name": "city"}, {"name": "area", "fields": [{"name": "y"}, {"name": "x"}]}]
    fields = [{"name": "id"}, {"name": "email"}, {"name": "address", "fields": nested}]
    dataset = {
        "fides_key": "d",
        "collections": [{"name": "orders", "fields": fields}, {"name": "customers", "fields": []}],
    }

    def names(found):
        return [(item["name"], names(item.get("fields") or [])) for item in found]

    [saved] = api.patch("/connection/books/dataset", json=[dataset]).json()["succeeded"]
    assert names(saved["collections"]) == names(dataset["collections"])
    stored = api.get("/connection/books/dataset/d").json()
    assert names(stored["collections"]) == names(dataset["collections"])


def test_a_dataset_has_all_members_that_fideslang_gives_it(api):
    """In its order, with its defaults: what is validated by our models reads as by fideslang's own."""
    from fideslang import models

    api.create("books")
    field = {
        "name": "a",
        "data_purposes": ["analytics"],
        "fides_meta": {"references": [{"dataset": "d", "field": "c.a", "direction": "from"}], "length": 3},
    }
    masked = {"strategy": "string_rewrite", "configuration": {"rewrite_value": "☃", "x": [1.5, None]}}
    collections = [
        {"name": "c", "fields": [field], "fides_meta": {"after": ["x.y"], "partitioning": [{"field": "a"}]}},
        {"name": "d", "fields": [{"name": "b", "fidesops_meta": {"masking_strategy_override": masked}}]},
    ]
    dataset = {"fides_key": "d", "name": 7, "meta": {"host": {"a": [1]}}, "tags": ["t"], "collections": collections}
    [saved] = api.patch("/connection/books/dataset", json=[dataset]).json()["succeeded"]
    assert saved.pop("ignored") == []
    expected = models.Dataset.model_validate(dataset).model_dump(mode="json")
    assert saved == expected
    assert list(saved) == list(expected)
    assert api.get("/connection/books/dataset/d").json() == expected


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


def test_the_first_of_two_items_with_one_key_counts(api):
    """The second is not saved, and `failed` says why. That a key is taken elsewhere is told of both."""
    api.create("books")
    first = {"fides_key": "s", "collections": [{"name": "keepme", "fields": []}]}
    second, other = {"fides_key": "s", "collections": []}, {"fides_key": "o", "collections": []}
    answer = api.patch("/connection/books/dataset", json=[first, second, other]).json()
    assert [dataset["fides_key"] for dataset in answer["succeeded"]] == ["s", "o"]
    [failed] = answer["failed"]
    assert failed["message"] == (
        "Dataset with key 's' stands in an earlier item of this request, which counts; send each dataset once."
    )
    assert failed["data"]["connection_key"] == "books"
    assert failed["data"]["dataset"]["collections"] == []
    stored = api.get("/connection/books/dataset/s").json()
    assert [collection["name"] for collection in stored["collections"]] == ["keepme"]
    api.create("films")
    answer = api.patch("/connection/films/dataset", json=[first, second]).json()
    assert answer["succeeded"] == []
    assert [failed["message"].split(" ")[4] for failed in answer["failed"]] == ["already", "stands"]


def at_every_level(**members):
    """A dataset with these members, once at each place that is named: dataset, collection, field, nested, meta, reference."""
    reference = {"dataset": "o", "field": "c.f"} | members.get("reference", {})
    nested = {"name": "n", "fides_meta": {"references": [reference]} | members.get("meta", {})}
    field = {"name": "f", "fields": [nested | members.get("nested", {})]} | members.get("field", {})
    collection = {"name": "c", "fields": [{"name": "e"}, field]} | members.get("collection", {})
    return {"fides_key": "d", "collections": [collection]} | members.get("dataset", {})


FIELD = ["collections", 0, "fields", 1]
PLACES = {
    "dataset": [],
    "collection": ["collections", 0],
    "field": FIELD,
    "nested": [*FIELD, "fields", 0],
    "meta": [*FIELD, "fields", 0, "fides_meta"],
    "reference": [*FIELD, "fields", 0, "fides_meta", "references", 0],
}


@pytest.mark.parametrize(
    ("place", "member", "shown", "near"),
    [
        ("dataset", "colections", True, "collections"),
        ("collection", "datacategories", True, "data_categories"),
        ("field", "datacategories", True, "data_categories"),
        ("nested", "descripton", True, "description"),
        ("meta", "primarykey", True, "primary_key"),
        ("reference", "direktion", True, "direction"),
        # What does not look like a member's name is not repeated.
        ("field", "dataCategories", False, "data_categories"),
        ("field", "S3cret-and-long", False, None),
        ("field", "f" * 5000, False, None),
        # Members of other places are not members here.
        ("meta", "retention", True, None),
        ("field", "third_country_transfers", True, None),
        ("reference", "fidesops_meta", True, None),
    ],
)
def test_an_unknown_member_is_refused_with_its_place(api, place, member, shown, near):
    """And with the nearest member where one is near; what was sent in it is not repeated."""
    api.create("books")
    dataset = at_every_level(**{place: {member: "S3cret"}})
    answer = api.patch("/connection/books/dataset", json=[DATASET, dataset])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["type"] == "extra_forbidden"
    assert problem["loc"] == ["body", 1, *PLACES[place], *([member] if shown else [])]
    if near is not None:
        assert f"Did you mean '{near}'?" in problem["msg"]
    assert "It has: " in problem["msg"]
    assert "S3cret" not in answer.text
    assert "ffff" not in answer.text
    assert api.get("/connection/books/dataset").json()["total"] == 0


@pytest.mark.parametrize(
    ("place", "meta"),
    [
        (["fides_meta", "nonsense"], {"dataset": {"fides_meta": {"nonsense": 1}}}),
        (["collections", 0, "fides_meta", "nonsense"], {"collection": {"fidesops_meta": {"nonsense": 1}}}),
        (
            [*FIELD, "fides_meta", "masking_strategy_override", "nonsense"],
            {"field": {"fides_meta": {"masking_strategy_override": {"strategy": "preserve", "nonsense": 1}}}},
        ),
    ],
)
def test_an_unknown_member_of_a_meta_is_refused_too(api, place, meta):
    api.create("books")
    answer = api.patch("/connection/books/dataset", json=[at_every_level(**meta)])
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", 0, *place]]


def test_every_object_of_the_fides_language_refuses_unknown_members():
    """Also one that a new version of fideslang brings."""
    from fideslang import models
    from pydantic import BaseModel

    from connectory.api.datasets.fides_language import kinds

    assert all(kind.model_config["extra"] == "forbid" for kind in kinds())
    derived = {base for kind in kinds() for base in kind.__mro__}
    fideslangs = {models.Dataset}
    while (
        new := {
            kind
            for model in fideslangs
            for field in model.model_fields.values()
            for kind in vars(models).values()
            if isinstance(kind, type)
            and issubclass(kind, BaseModel)
            and kind.__name__ in str(field.annotation).split(".")
        }
        - fideslangs
    ):
        fideslangs |= new
    assert fideslangs <= derived


def test_members_of_other_versions_are_accepted_and_listed_as_ignored(api):
    """So that who moves over is not stopped. What replaces a member under its old name is not ignored."""
    api.create("books")
    qualified = {"data_qualifier": "aggregated.anonymized", "retention": "one year"}
    dataset = at_every_level(
        dataset={
            "joint_controller": {"name": "Ada", "email": "S3cret"},
            "third_country_transfers": ["GBR"],
            "fidesctl_meta": {"resource_id": "x"},
            "fidesops_meta": {"after": ["o"]},
        }
        | qualified,
        collection=qualified,
        field=qualified,
        nested=qualified | {"fides_meta": {"identity": "email"}, "fidesops_meta": {"identity": "S3cret"}},
    )
    answer = api.patch("/connection/books/dataset", json=[dataset, {"fides_key": "e", "collections": []}])
    assert answer.status_code == 200, answer.text
    saved, other = answer.json()["succeeded"]
    assert sorted(saved.pop("ignored")) == sorted(
        [
            *("joint_controller", "third_country_transfers", "fidesctl_meta", "data_qualifier", "retention"),
            *("collections[0].data_qualifier", "collections[0].retention"),
            *("collections[0].fields[1].data_qualifier", "collections[0].fields[1].retention"),
            "collections[0].fields[1].fields[0].data_qualifier",
            "collections[0].fields[1].fields[0].retention",
            "collections[0].fields[1].fields[0].fidesops_meta",
        ]
    )
    assert other["ignored"] == []
    assert saved["fides_meta"]["after"] == ["o"]
    assert saved["collections"][0]["fields"][1]["fields"][0]["fides_meta"]["identity"] == "email"
    assert "S3cret" not in answer.text
    assert api.get("/connection/books/dataset/d").json() == saved


def test_the_page_lists_what_is_ignored():
    from connectory.api.datasets import fides_language

    page = (ROOT / "docs/rest.md").read_text()
    listed: dict[str, set[str]] = {"dataset": set(), "collection": set(), "field": set()}
    for where, members, _ in re.findall(
        r"^\| ([a-z, ]+) \| ([^|]+) \| ([^|]+) \|$", page.split("| ignored |")[1], re.MULTILINE
    ):
        for place in where.split(", "):
            listed[place] |= set(re.findall(r"`(\w+)`", members.partition(", where")[0]))
    assert listed == {
        place: set(fides_language.model_at(loc).other_versions)
        for place, loc in (("dataset", []), ("collection", ["collections"]), ("field", ["collections", "fields"]))
    }


def test_an_answer_can_be_sent_back(api):
    api.create("books")
    [saved] = api.patch("/connection/books/dataset", json=[DATASET]).json()["succeeded"]
    [again] = api.patch("/connection/books/dataset", json=[saved]).json()["succeeded"]
    assert again == saved | {"ignored": ["ignored"]}


@pytest.mark.parametrize("place", ["dataset", "collection", "field", "nested"])
@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("user.contact.emial", "user.contact.email"),
        ("user.nonsense", "user.sensor"),
        ("user.provided.identifiable.contact.email", "user.contact.email"),
        ("USER.CONTACT.EMAIL", "user.contact.email"),
        ("S3cret Pw", None),
        ("s" * 5000, None),
    ],
)
def test_an_unknown_data_category_is_refused_with_its_place_and_the_nearest(api, place, word, near):
    api.create("books")
    dataset = at_every_level(**{place: {"data_categories": ["user", word]}})
    answer = api.patch("/connection/books/dataset", json=[DATASET, dataset])
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", 1, *PLACES[place], "data_categories", 1]
    assert problem["type"] == "unknown_data_category"
    assert (f"Did you mean '{near}'?" in problem["msg"]) if near else ("Did you mean" not in problem["msg"])
    assert "CONNECTORY_DATA_CATEGORIES" in problem["msg"]
    assert word not in answer.text
    assert api.get("/connection/books/dataset").json()["total"] == 0


def test_a_category_that_the_deployer_names_is_known(api, settings, catalog, token):
    further = settings.model_copy(update={"data_categories": ("acme.loyalty", "user.provided")})
    with LocalClient(create_app(open_service(further, catalog))) as client:
        api = type(api)(client, token)
        api.create("acme")
        dataset = at_every_level(field={"data_categories": ["acme.loyalty", "user.contact", "user.provided"]})
        answer = api.patch("/connection/acme/dataset", json=[dataset | {"fides_key": "acme"}])
        assert answer.status_code == 200, answer.text
        dataset = at_every_level(field={"data_categories": ["acme.loyalti"]})
        [problem] = api.patch("/connection/acme/dataset", json=[dataset]).json()["detail"]
        assert "Did you mean 'acme.loyalty'?" in problem["msg"]


def test_an_answer_does_not_grow_with_the_number_of_problems(api):
    api.create("books")
    fields = [{"name": f"f{number}", "data_categories": [f"user.nonsense{number}"]} for number in range(2000)]
    dataset = at_every_level(collection={"fields": fields})
    answer = api.patch("/connection/books/dataset", json=[dataset, dataset])
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 50


@pytest.mark.parametrize(
    ("dataset", "loc"),
    [
        ({"collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": "a b", "collections": []}, ["body", 1, "fides_key"]),
        ({"fides_key": "a\n", "collections": []}, ["body", 1, "fides_key"]),
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
        ({"fides_key": "x", "data_categories": [53], "collections": []}, ["body", 1, "data_categories", 0]),
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


@pytest.fixture
def large(api, service):
    """A connection with 36 MB of datasets, stored as a request each would; `large-09` has few bytes."""
    api.create("books")
    with service.store.write() as database:
        [identity] = database.execute(select(connections.c.id)).scalars()
        for number in range(40):
            text = json.dumps(
                {"fides_key": f"large-{number:02}", "name": "é" * 450_000 * (number != 9)}, ensure_ascii=False
            )
            now = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(minutes=number)
            upsert_many(database, identity, {f"large-{number:02}": text}, now=now)


def test_a_page_that_would_be_too_large_is_refused_before_it_is_loaded(api, large):
    """The answer says how many fit, and memory stays as it is."""
    with ThreadPoolExecutor(4) as pool:
        before = peak_memory(reset=True)
        answers = list(pool.map(lambda _: api.get("/connection/books/dataset"), range(4)))
        grown = peak_memory() - before
    message = "The items of this page take more than 8 MiB; ask for at most 9."
    problem = {"loc": ["query", "size"], "msg": message, "type": "page_too_large"}
    assert [(answer.status_code, answer.json()) for answer in answers] == [(422, {"detail": [problem]})] * 4
    assert grown < 32 * 2**20  # each of the four pages has 36 MB, and would be in memory more than once
    first = api.get("/connection/books/dataset?size=9")
    assert len(first.content) > 8_000_000
    assert first.json()["total"] == 40
    assert [item["fides_key"] for item in api.get("/connection/books/dataset?size=9&page=5").json()["items"]] == [
        f"large-{number}" for number in range(36, 40)
    ]
    assert api.get("/connection/books/dataset?size=10").status_code == 200  # the tenth is small
    assert api.get("/connection/books/dataset?size=10&page=2").status_code == 422


def peak_memory(*, reset=False):
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_datasets_that_would_grow_beyond_an_answer_are_refused(api):
    """A member that is not given is stored all the same: a body of less than 1 MiB would become ten times as much."""
    api.create("books")
    fields = ",".join(f'{{"name":"{number}","fides_meta":{{}}}}' for number in range(30_000))
    body = f'[{{"fides_key":"large","collections":[{{"name":"c","fields":[{fields}]}}]}}]'
    answer = api.raw("PATCH", "/connection/books/dataset", body.encode())
    assert (len(body) < 2**20, answer.status_code) == (True, 413)
    assert answer.json()["detail"].startswith(
        "With all members of the Fides language these datasets take more than 8 MiB"
    )
    assert api.get("/connection/books/dataset").json()["total"] == 0


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


@pytest.mark.parametrize(
    "sent",
    [
        [DATASET],
        [DATASET, DATASET | {"fides_key": "taken"}, DATASET | {"fides_key": "new"}, DATASET],
        [DATASET | {"fides_key": "k", "retention": "x"}],
        [],
        [DATASET | {"unknown": 1}],
        {"fides_key": "d"},
        "not a list",
    ],
)
def test_a_dry_run_answers_the_same_and_stores_nothing(api, service, sent):
    api.create("books")
    api.create("films")
    before = {"fides_key": DATASET["fides_key"], "collections": [{"name": "before", "fields": [{"name": "id"}]}]}
    api.patch("/connection/books/dataset", json=[before])
    api.patch("/connection/films/dataset", json=[DATASET | {"fides_key": "taken"}])

    def stored():
        trail = api.get("/audit?action=datasets_saved&size=1").json()["total"]
        return trail, [api.get(f"/connection/{key}/dataset").json() for key in ("books", "films")]

    at_first = stored()
    tried = api.patch("/connection/books/dataset?dry_run=true", json=sent)
    assert stored() == at_first
    done = api.patch("/connection/books/dataset?dry_run=false", json=sent)
    assert (tried.status_code, tried.json()) == (done.status_code, done.json())
    assert api.patch("/connection/none/dataset?dry_run=true", json=sent).status_code == 404
