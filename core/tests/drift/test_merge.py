"""A stored dataset and what is new: annotations and order stay, and the result can be stored as it is."""

import json
from copy import deepcopy
from typing import Any

from connectory.api.datasets.dataset_items import check_datasets
from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind
from connectory.discovery.datasets import DatasetMaker
from connectory.drift.findings import compare
from connectory.drift.merge import merge, merge_into

EMAIL = {"name": "email", "data_categories": ["user.contact.email"], "fides_meta": {"identity": "email", "length": 50}}
STORED: dict[str, Any] = {
    "name": "Shop",
    "fides_key": "shop",
    "fides_meta": {"after": ["crm"], "namespace": {"schema": "public"}},
    "collections": [
        {"name": "gone", "fields": [{"name": "id"}]},
        {
            "name": "customer",
            "description": "who buys",
            "fides_meta": {"skip_processing": True},
            "fields": [
                EMAIL,
                {"name": "home", "data_categories": ["user.contact.address"]},
                {"name": "note", "fides_meta": {"data_type": "string"}},
                {"name": "job", "fields": [{"name": "title", "description": "of the job"}]},
                {"name": "extra"},
                {"name": "id", "fides_meta": {"primary_key": True}},
            ],
        },
    ],
}


def info(name: str, *paths: str, refers_to: str | None = None) -> CollectionInfo:
    parents = {path.rpartition(".")[0] for path in paths}
    fields = tuple(
        FieldInfo(tuple(path.split(".")), Kind.OBJECT if path in parents else Kind.INTEGER, "x") for path in paths
    )
    schema = {"schema": "public"}
    keys = () if refers_to is None else (ForeignKey((("ref",),), CollectionRef(refers_to, schema), (("id",),)),)
    return CollectionInfo(CollectionRef(name, schema), fields, (("id",),), keys)


LIVE = [
    info("address", "id", "ref", refers_to="customer"),
    info(
        "customer", "id", "ref", "email", "home", "home.zip", "note", "note.x", "job", "job.since", "extra", "extra.y",
        refers_to="address",
    ),
]  # fmt: skip


def generated() -> dict[str, Any]:
    maker = DatasetMaker(("here",), "shop")
    for one in LIVE:
        maker.add(one)
    [dataset] = maker.finding.datasets.values()
    return dataset


def test_what_is_new_is_added_behind_and_what_is_stored_stays_in_its_order() -> None:
    stored, found = deepcopy(STORED), generated()

    merged = merge(stored, found)

    assert stored == STORED
    assert found == generated()
    assert list(merged) == list(STORED)
    gone, customer, address = merged["collections"]
    assert gone == STORED["collections"][0]
    assert {name: value for name, value in customer.items() if name != "fields"} == {
        "name": "customer",
        "description": "who buys",
        "fides_meta": {"skip_processing": True},
    }
    old = STORED["collections"][1]["fields"]
    assert customer["fields"][:3] == old[:3]  # `home` has categories as a whole, and `note` is a text
    since = {"name": "since", "data_categories": [], "fides_meta": {"data_type": "integer"}}
    assert customer["fields"][3] == {"name": "job", "fields": [*old[3]["fields"], since]}
    assert customer["fields"][4] == {"name": "extra", "fields": [since | {"name": "y"}]}
    assert customer["fields"][5] == old[5]
    assert [field["name"] for field in customer["fields"][6:]] == ["ref"]
    assert address["fields"][1]["fides_meta"]["references"] == [{"dataset": "shop", "field": "customer.id"}]


def test_the_result_can_be_stored_as_it_is_and_a_second_merge_adds_nothing() -> None:
    [item] = check_datasets([merge(STORED, generated())], ())
    assert item.ignored == []

    stored = json.loads(item.document)
    again = merge(stored, generated())
    assert json.dumps(again) == json.dumps(stored)  # in the same order, with all members


def test_what_was_new_is_known_after_a_merge() -> None:
    codes = {finding.code.value for finding in compare(merge(STORED, generated()), LIVE).findings}

    assert codes == {"collection_missing", "field_missing", "type_changed", "field_unknown"}


def test_a_dataset_that_was_just_generated_fits() -> None:
    dataset = generated()
    [item] = check_datasets([dataset], ())

    drift = compare(json.loads(item.document), LIVE, last=LIVE)
    assert (drift.coverage, drift.findings) == (100, ())


def test_references_to_other_datasets_and_in_nested_fields() -> None:
    reference = {"dataset": "public_1", "field": "a.id"}
    deep = {"name": "x", "fields": [{"name": "y", "fides_meta": {"references": [reference]}}]}
    elsewhere = {"name": "z", "fides_meta": {"references": [{"dataset": "geo_1", "field": "a.id"}]}}
    found = {"fides_key": "public_1", "collections": [{"name": "c", "fields": [deep, elsewhere]}]}

    [collection] = merge({"fides_key": "shop", "collections": []}, found)["collections"]

    assert collection["fields"][0]["fields"][0]["fides_meta"]["references"] == [{"dataset": "shop", "field": "a.id"}]
    assert collection["fields"][1] == elsewhere


def test_of_several_generated_datasets_the_one_of_its_namespace_counts() -> None:
    other = generated() | {"fides_meta": {"namespace": {"schema": "sales"}}}
    small = other | {"collections": []}

    assert merge_into(STORED, [other, generated()]) == [merge(STORED, generated())]
    assert merge_into(STORED, [other]) == [STORED]
    assert merge_into(STORED | {"fides_meta": None}, [small, other])[0]["collections"][-1]["name"] == "address"
