"""Collections as datasets: names, types, keys and references, in the words of the Fides language."""

import pytest

from connectory.api.datasets.fides_language import known_categories, parse
from connectory.contract.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind
from connectory.discovery.datasets import DatasetMaker

PUBLIC = {"schema": "public"}


def field(name, kind=Kind.STRING, **more):
    return FieldInfo((name,), kind, "native", **more)


def made(*infos, place=("db.example", "shop"), name="ledger"):
    maker = DatasetMaker(place, name)
    for info in infos:
        maker.add(info)
    for dataset in maker.finding.datasets.values():
        parse(dataset, known_categories(()))  # it can be stored as it is
    return maker.finding


def only(finding):
    [dataset] = finding.datasets.values()
    return dataset


CUSTOMER = CollectionInfo(
    CollectionRef("customer", PUBLIC),
    (
        field("id", Kind.INTEGER, nullable=False, unique=True),
        field("email", max_length=100),
        field("address_id", Kind.INTEGER),
        field("manager", Kind.INTEGER),
        field("photo", Kind.BYTES, max_length=100),
    ),
    primary_key=(("id",),),
    foreign_keys=(
        ForeignKey((("address_id",),), CollectionRef("address", PUBLIC), (("id",),)),
        ForeignKey((("manager",),), CollectionRef("customer", PUBLIC), (("id",),)),
    ),
)
ADDRESS = CollectionInfo(CollectionRef("address", PUBLIC), (field("id", Kind.INTEGER),), primary_key=(("id",),))


def test_a_table_is_a_collection_with_its_types_keys_and_references():
    finding = made(CUSTOMER, ADDRESS)
    dataset = only(finding)
    key = dataset["fides_key"]
    assert key == "public_fab387a9ca"  # whatever changes it takes every stored dataset from its database
    assert dataset["name"] == "public"
    assert dataset["fides_meta"] == {"namespace": PUBLIC}
    customer, address = dataset["collections"]
    assert customer == {
        "name": "customer",
        "fields": [
            {"name": "id", "fides_meta": {"primary_key": True, "data_type": "integer"}},
            {"name": "email", "data_categories": [], "fides_meta": {"data_type": "string", "length": 100}},
            {
                "name": "address_id",
                "fides_meta": {"data_type": "integer", "references": [{"dataset": key, "field": "address.id"}]},
            },
            {
                "name": "manager",
                "fides_meta": {"data_type": "integer", "references": [{"dataset": key, "field": "customer.id"}]},
            },
            {"name": "photo", "data_categories": []},
        ],
    }
    assert address["name"] == "address"
    assert finding.suggestions == [
        {
            "dataset": key,
            "collection": "customer",
            "field": "email",
            "data_category": "user.contact.email",
            "identity": "email",
            "because": "name",
        }
    ]
    assert finding.refs == [CUSTOMER.ref, ADDRESS.ref]


def test_a_key_is_the_same_for_the_same_database_and_another_for_another():
    keys = {
        only(made(CUSTOMER, place=place))["fides_key"]
        for place in (("db.example", "shop"), ("db.example", "shop"), ("db.example", "crm"), ("other.example", "shop"))
    }
    assert len(keys) == 3
    other = CollectionInfo(CollectionRef("t", {"schema": "sales"}), (field("a"),))
    assert [key.partition("_")[0] for key in made(CUSTOMER, other).datasets] == ["public", "sales"]


@pytest.mark.parametrize("name", ["My Schema", "schöma", "a'b\"c", "x" * 500, "."])
def test_whatever_a_schema_is_called_its_dataset_can_be_stored(name):
    dataset = only(made(CollectionInfo(CollectionRef("t", {"schema": name}), (field("a"),))))
    assert dataset["name"] == name
    assert dataset["fides_meta"]["namespace"] == {"schema": name}


def test_what_is_in_no_namespace_is_in_a_dataset_of_the_connectors_name():
    dataset = only(made(CollectionInfo(CollectionRef("2026"), (field("a"),))))
    assert dataset["fides_key"].startswith("ledger_")
    assert "fides_meta" not in dataset


def test_a_composite_foreign_key_refers_from_each_of_its_fields():
    line = CollectionInfo(
        CollectionRef("line", PUBLIC),
        (field("shop", Kind.INTEGER), field("number")),
        foreign_keys=(
            ForeignKey((("shop",), ("number",)), CollectionRef("order", {"schema": "sales"}), (("shop",), ("number",))),
        ),
    )
    references = [one["fides_meta"]["references"] for one in only(made(line))["collections"][0]["fields"]]
    assert [[there["field"] for there in one] for one in references] == [["order.shop"], ["order.number"]]
    assert references[0][0]["dataset"].startswith("sales_")


def test_a_reference_names_its_field_by_a_list_where_a_name_holds_a_dot():
    keys = (
        ForeignKey((("a",),), CollectionRef("my.table", PUBLIC), (("id",),)),
        ForeignKey((("b",),), CollectionRef("table", PUBLIC), (("the.id",),)),
    )
    finding = made(CollectionInfo(CollectionRef("line", PUBLIC), (field("a"), field("b")), foreign_keys=keys))
    fields = only(finding)["collections"][0]["fields"]
    references = [one["fides_meta"]["references"][0]["field"] for one in fields]
    assert references == [["my.table", "id"], ["table", "the.id"]]
    assert finding.left_out == []


def test_fields_that_are_left_out_are_told_with_their_reasons():
    left_out = ((("a", "b"), "its members nest over 60 levels deep"), (("a.b",), "it has more members"))
    info = CollectionInfo(CollectionRef("line", PUBLIC), (field("a"),), fields_left_out=left_out)
    finding = made(info)
    assert [(one["collection"], one["field"], one["reason"]) for one in finding.left_out] == [
        ("line", "a.b", "its members nest over 60 levels deep"),
        ("line", ["a.b"], "it has more members"),
    ]
    assert len(only(finding)["collections"]) == 1


def test_documents_nest():
    person = CollectionInfo(
        CollectionRef("person"),
        (
            FieldInfo(("_id",), Kind.OBJECT_ID, "objectId"),
            FieldInfo(("address",), Kind.OBJECT, "object"),
            FieldInfo(("address", "zip"), Kind.STRING, "string"),
            FieldInfo(("orders",), Kind.OBJECT, "array", array=True),
            FieldInfo(("orders", "items"), Kind.ANY, "mixed", array=True),
            FieldInfo(("orders", "items", "n"), Kind.INTEGER, "int"),
            FieldInfo(("tags",), Kind.STRING, "array", array=True),
        ),
        inferred=True,
    )
    finding = made(person)
    assert finding.inferred
    assert only(finding)["collections"][0]["fields"] == [
        {"name": "_id", "data_categories": [], "fides_meta": {"data_type": "object_id"}},
        {
            "name": "address",
            "fides_meta": {"data_type": "object"},
            "fields": [{"name": "zip", "data_categories": [], "fides_meta": {"data_type": "string"}}],
        },
        {
            "name": "orders",
            "fides_meta": {"data_type": "object[]"},
            "fields": [
                {
                    "name": "items",
                    "fields": [{"name": "n", "data_categories": [], "fides_meta": {"data_type": "integer"}}],
                }
            ],
        },
        {"name": "tags", "data_categories": [], "fides_meta": {"data_type": "string[]"}},
    ]
    assert [found["field"] for found in finding.suggestions] == ["address.zip"]


def test_what_is_not_for_use_is_told_and_in_no_dataset():
    finding = made(
        CUSTOMER,
        CollectionInfo(CollectionRef("v", PUBLIC), (field("a"),), kind="view", left_out="it is a view"),
        CollectionInfo(CollectionRef("empty", PUBLIC), ()),
    )
    assert [one["name"] for one in only(finding)["collections"]] == ["customer"]
    assert [(one["collection"], one["reason"]) for one in finding.left_out] == [
        ("v", "it is a view"),
        ("empty", "it has no fields"),
    ]
    assert finding.refs == [CUSTOMER.ref]
    assert [ref.name for ref in finding.others] == ["v", "empty"]


def test_it_is_kept_which_share_of_the_samples_has_a_field():
    sampled = CollectionInfo(CollectionRef("one", PUBLIC), (field("a", presence=0.25), field("b.c", presence=1.0)))
    fields = [{"field": "a", "presence": 0.25}, {"field": ["b.c"], "presence": 1.0}]
    assert made(CUSTOMER, sampled).presence == [{"collection": "one", "namespace": PUBLIC, "fields": fields}]


def test_it_is_kept_which_fields_may_be_empty():
    fields = (field("a", nullable=True), field("b", nullable=False), field("c"), field("d.e", nullable=True))
    finding = made(
        CollectionInfo(CollectionRef("one", PUBLIC), fields), CollectionInfo(CollectionRef("two"), fields[1:3])
    )
    assert finding.nullable == [
        {"collection": "one", "namespace": PUBLIC, "fields": ["a", ["d.e"]]},
        {"collection": "two", "namespace": {}, "fields": []},
    ]
