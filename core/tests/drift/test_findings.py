"""What is found where a dataset and its connection differ. Each finding has a change that makes it, and one that does not."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind
from connectory.drift.codes import Code
from connectory.drift.findings import MOST_FINDINGS, Drift, compare

SHOP = {"schema": "public"}
ADDRESS = CollectionRef("address", SHOP)
CUSTOMER = CollectionRef("customer", SHOP)
ID = FieldInfo(("id",), Kind.INTEGER, "bigint", nullable=False)
EMAIL = FieldInfo(("email",), Kind.STRING, "character varying(100)", nullable=True, max_length=100)
BORN = FieldInfo(("born",), Kind.DATE, "date", nullable=True)
TAGS = FieldInfo(("tags",), Kind.STRING, "text[]", array=True)
HOME = FieldInfo(("home_id",), Kind.INTEGER, "bigint", nullable=True)

Live = dict[str, CollectionInfo]


def shop() -> Live:
    """What is there, and what the dataset says of it."""
    to_address = ForeignKey((("home_id",),), ADDRESS, (("id",),))
    return {
        "address": CollectionInfo(ADDRESS, (ID,), primary_key=(("id",),)),
        "customer": CollectionInfo(
            CUSTOMER, (ID, EMAIL, BORN, TAGS, HOME), primary_key=(("id",),), foreign_keys=(to_address,)
        ),
    }


def dataset() -> dict[str, Any]:
    key = {"name": "id", "fides_meta": {"primary_key": True, "data_type": "integer"}}
    reference = {"dataset": "shop", "field": "address.id", "direction": None}
    return {
        "fides_key": "shop",
        "fides_meta": {"namespace": {"schema": "public"}},
        "collections": [
            {"name": "address", "fields": [deepcopy(key)]},
            {
                "name": "customer",
                "fields": [
                    deepcopy(key),
                    {"name": "email", "fides_meta": {"data_type": "string", "length": 100}, "fields": None},
                    {"name": "born", "fides_meta": {"data_type": "string"}},
                    {"name": "tags", "fides_meta": {"data_type": "string[]"}},
                    {"name": "home_id", "fides_meta": {"data_type": "integer", "references": [reference]}},
                ],
            },
        ],
    }


def found(drift: Drift) -> list[tuple[str, str, Any]]:
    return [(finding.code.value, finding.collection, finding.field) for finding in drift.findings]


def set_field(live: Live, old: FieldInfo, new: FieldInfo) -> None:
    customer = live["customer"]
    fields = tuple(new if field is old else field for field in customer.fields)
    live["customer"] = replace(customer, fields=fields)


def add(live: Live, *fields: FieldInfo) -> None:
    live["customer"] = replace(live["customer"], fields=(*live["customer"].fields, *fields))


def field_in(described: dict[str, Any], name: str) -> dict[str, Any]:
    return next(field for field in described["collections"][1]["fields"] if field["name"] == name)


def test_what_fits_has_no_finding_and_full_coverage() -> None:
    live = shop().values()

    drift = compare(dataset(), live, last=live)
    assert (drift.coverage, drift.findings, drift.as_json()["ok"]) == (100, (), True)


Change = Callable[[Live, dict[str, Any]], object]
WITHOUT = {"left_out": "view", "fields": ()}
BOUGHT = CollectionInfo(CollectionRef("bought", SHOP), (ID,))


def _drop(live: Live, _: dict[str, Any]) -> None:
    del live["address"]
    live["customer"] = replace(live["customer"], foreign_keys=())


MADE: list[tuple[Change, str, str, Any]] = [
    (_drop, "collection_missing", "address", None),
    (lambda live, _: live.update(bought=BOUGHT), "collection_unknown", "bought", None),
    (
        lambda _, stored: stored["collections"][0]["fields"].append({"name": "zip"}),
        "field_missing",
        "address",
        ("zip",),
    ),
    (lambda live, _: add(live, FieldInfo(("phone",), Kind.STRING, "text")), "field_unknown", "customer", ("phone",)),
    (lambda live, _: set_field(live, BORN, replace(BORN, kind=Kind.INTEGER)), "type_changed", "customer", ("born",)),
    (lambda live, _: set_field(live, TAGS, replace(TAGS, array=False)), "type_changed", "customer", ("tags",)),
    (
        lambda live, _: live.update(customer=replace(live["customer"], primary_key=(("id",), ("email",)))),
        "key_changed",
        "customer",
        None,
    ),
    (lambda live, _: live.update(address=replace(live["address"], primary_key=())), "key_changed", "address", None),
    (lambda _, stored: stored["collections"][0]["fields"][0].pop("fides_meta"), "key_changed", "address", None),
    (lambda live, _: set_field(live, EMAIL, replace(EMAIL, nullable=False)), "not_nullable", "customer", ("email",)),
    (lambda live, _: set_field(live, EMAIL, replace(EMAIL, max_length=99)), "length_shorter", "customer", ("email",)),
    (lambda _, stored: field_in(stored, "home_id").pop("fides_meta"), "fk_unannotated", "customer", ("home_id",)),
]


@pytest.mark.parametrize(("change", "code", "collection", "field"), MADE)
def test_a_change_makes_one_finding(change: Change, code: str, collection: str, field: Any) -> None:
    live, stored = shop(), dataset()
    change(live, stored)

    drift = compare(stored, live.values(), last=shop().values())

    assert found(drift) == [(code, collection, field)]
    assert drift.findings[0].message
    assert drift.findings[0].remedy


def _another_key(live: Live, _: dict[str, Any]) -> None:
    set_field(live, ID, replace(ID, unique=True))
    live["customer"] = replace(live["customer"], primary_key=(("email",),))


def _other_end(_: Live, stored: dict[str, Any]) -> None:
    del field_in(stored, "home_id")["fides_meta"]["references"]
    reference = {"dataset": "shop", "field": "customer.home_id"}
    stored["collections"][0]["fields"][0]["fides_meta"]["references"] = [reference]


def _not_there_any_more(live: Live, stored: dict[str, Any]) -> None:
    live["customer"] = replace(
        live["customer"], fields=tuple(one for one in live["customer"].fields if one is not TAGS)
    )
    stored["collections"][1]["fields"].remove(field_in(stored, "tags"))


def _never_empty(live: Live, stored: dict[str, Any]) -> None:
    add(live, FieldInfo(("phone",), Kind.STRING, "text", nullable=False))
    stored["collections"][1]["fields"].append({"name": "phone"})


NOT_MADE: list[tuple[Change, str, str]] = [
    (lambda live, _: live.update(address=replace(live["address"], **WITHOUT)), "collection_missing", "left out"),
    (lambda live, _: live.update(bought=replace(BOUGHT, left_out="view")), "collection_unknown", "left out"),
    (
        lambda live, _: live.update(bought=replace(BOUGHT, ref=CollectionRef("bought", {"schema": "sales"}))),
        "collection_unknown",
        "in another namespace",
    ),
    (_not_there_any_more, "field_missing", "neither in the dataset"),
    (
        lambda live, _: live.update(bought=replace(BOUGHT, fields=(EMAIL,), left_out="view")),
        "field_unknown",
        "of what is left out",
    ),
    (lambda live, _: set_field(live, BORN, replace(BORN, kind=Kind.TIMESTAMP)), "type_changed", "a text all the same"),
    (lambda live, _: set_field(live, BORN, replace(BORN, kind=Kind.ANY)), "type_changed", "of several types"),
    (lambda _, stored: field_in(stored, "tags").pop("fides_meta"), "type_changed", "the dataset names no type"),
    (_another_key, "key_changed", "the key is unique as before"),
    (lambda live, _: set_field(live, HOME, replace(HOME, nullable=None)), "not_nullable", "nobody knows"),
    (_never_empty, "not_nullable", "not there before"),
    (lambda live, _: set_field(live, EMAIL, replace(EMAIL, max_length=101)), "length_shorter", "longer"),
    (lambda live, _: set_field(live, EMAIL, replace(EMAIL, max_length=None)), "length_shorter", "without a limit"),
    (_other_end, "fk_unannotated", "the reference is at the other end"),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=f"{code}: {why}") for change, code, why in NOT_MADE])
def test_a_change_that_makes_no_finding(change: Change) -> None:
    live, stored = shop(), dataset()
    change(live, stored)

    drift = compare(stored, live.values(), last=shop().values())

    assert (drift.coverage, found(drift)) == (100, [])


def test_every_finding_has_a_change_that_makes_it_and_one_that_does_not() -> None:
    assert {code for _, code, _, _ in MADE} == {code for _, code, _ in NOT_MADE} == {code.value for code in Code}


def test_nullability_is_not_told_where_nothing_was_looked_at_before() -> None:
    live = shop()
    set_field(live, EMAIL, replace(EMAIL, nullable=False))

    assert found(compare(dataset(), live.values())) == []


def test_coverage_is_the_share_of_known_fields_and_100_only_for_all_of_them() -> None:
    live = shop()
    add(live, *(FieldInfo((f"new_{number}",), Kind.STRING, "text") for number in range(3)))
    assert compare(dataset(), live.values()).coverage == 66

    many = tuple(FieldInfo((f"f{number}",), Kind.STRING, "text") for number in range(999))
    stored = {"fides_key": "d", "collections": [{"name": "many", "fields": [{"name": f"f{n}"} for n in range(999)]}]}
    assert compare(stored, [CollectionInfo(CollectionRef("many"), many)]).coverage == 100
    more = (*many, FieldInfo(("one",), Kind.STRING, "text"))
    assert compare(stored, [CollectionInfo(CollectionRef("many"), more)]).coverage == 99


HELD = tuple(
    FieldInfo(path, kind, kind.value)
    for path, kind in [
        (("_id",), Kind.OBJECT_ID),
        (("address",), Kind.OBJECT),
        (("address", "zip"), Kind.STRING),
        (("address", "geo"), Kind.OBJECT),
        (("address", "geo", "lat"), Kind.FLOAT),
        (("address.zip",), Kind.STRING),
    ]
)


def documents(**members: Any) -> CollectionInfo:
    return replace(CollectionInfo(CollectionRef("people"), HELD, kind="collection", inferred=True), **members)


def people(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"fides_key": "crm", "collections": [{"name": "people", "fields": [{"name": "_id"}, *fields]}]}


def test_nested_fields_are_told_with_dots_and_names_with_dots_as_lists() -> None:
    drift = compare(people({"name": "address", "fields": [{"name": "zip"}, {"name": "street"}]}), [documents()])

    findings = drift.as_json()["findings"]
    assert [(finding["code"], finding["severity"], finding["field"]) for finding in findings] == [
        ("field_missing", "warning", "address.street"),
        ("field_unknown", "warning", "address.geo"),
        ("field_unknown", "warning", ["address.zip"]),
    ]
    assert drift.coverage == 50


def test_an_object_with_categories_and_without_fields_is_known_as_a_whole() -> None:
    whole = {"name": "address", "data_categories": ["user.contact.address"]}

    drift = compare(people(whole, {"name": "address.zip"}), [documents()])
    assert (drift.coverage, found(drift)) == (100, [])

    drift = compare(people(whole | {"data_categories": []}, {"name": "address.zip"}), [documents()])
    assert found(drift) == [
        ("field_unknown", "people", ("address", "zip")),
        ("field_unknown", "people", ("address", "geo")),
    ]


def test_of_an_object_that_is_missing_only_the_object_is_told() -> None:
    drift = compare(people({"name": "job", "fields": [{"name": "title"}]}), [documents(fields=HELD[:1])])

    assert found(drift) == [("field_missing", "people", ("job",))]


def test_nothing_is_told_of_what_is_in_an_empty_collection() -> None:
    assert found(compare(people({"name": "email"}), [documents(fields=())])) == []


def test_a_dataset_without_a_namespace_is_compared_with_the_one_that_holds_most_of_it() -> None:
    stored = dataset() | {"fides_meta": None}
    elsewhere = [CollectionInfo(CollectionRef(name, {"schema": "a"}), (ID,)) for name in ("customer", "logs")]

    assert found(compare(stored, [*elsewhere, *shop().values()])) == []


def test_a_namespace_that_is_not_there_has_none_of_the_collections() -> None:
    stored = dataset() | {"fides_meta": {"namespace": {"schema": "gone"}}}

    assert found(compare(stored, shop().values())) == [
        ("collection_missing", "address", None),
        ("collection_missing", "customer", None),
    ]


def test_a_foreign_key_into_another_namespace_may_refer_to_any_other_dataset() -> None:
    live, stored = shop(), dataset()
    region = ForeignKey((("home_id",),), CollectionRef("region", {"schema": "geo"}), (("id",),))
    live["customer"] = replace(live["customer"], foreign_keys=(*live["customer"].foreign_keys, region, region))
    assert found(compare(stored, live.values())) == [("fk_unannotated", "customer", ("home_id",))]

    field_in(stored, "home_id")["fides_meta"]["references"].append({"dataset": "geo_1", "field": "region.id"})
    assert found(compare(stored, live.values())) == []


def test_a_composite_foreign_key_needs_a_reference_for_each_of_its_fields() -> None:
    two = ForeignKey((("home_id",), ("email",)), ADDRESS, (("id",), ("id",)))
    live = shop()
    live["customer"] = replace(live["customer"], foreign_keys=(two,))

    assert found(compare(dataset(), live.values())) == [("fk_unannotated", "customer", ("email",))]


@pytest.mark.parametrize(
    ("written", "told"),
    [([["a.b", "id"]], False), ([["a", "b", "id"]], True), (["a.b.id"], True), ([], True)],
)
def test_a_reference_to_a_name_with_a_dot_is_a_list(written: list[Any], told: bool) -> None:
    live = shop()
    dot = ForeignKey((("email",),), CollectionRef("a.b", SHOP), (("id",),))
    live["customer"] = replace(live["customer"], foreign_keys=(dot,))
    stored = dataset()
    [customer] = [one for one in stored["collections"] if one["name"] == "customer"]
    [email] = [one for one in customer["fields"] if one["name"] == "email"]
    references = [{"dataset": stored["fides_key"], "field": field} for field in written]
    email["fides_meta"] = {**email.get("fides_meta", {}), "references": references}

    findings = [one for one in compare(stored, live.values()).findings if one.code is Code.FK_UNANNOTATED]
    assert [one.field for one in findings] == ([("email",)] if told else [])
    assert all('["a.b", "id"]' in one.remedy for one in findings)


def test_a_finding_as_json() -> None:
    live = shop()
    set_field(live, EMAIL, replace(EMAIL, max_length=40))

    assert compare(dataset(), live.values()).as_json() == {
        "coverage": 100,
        "ok": False,
        "counts": {"length_shorter": 1},
        "findings": [
            {
                "code": "length_shorter",
                "severity": "error",
                "collection": "customer",
                "field": "email",
                "message": "The dataset says 100 characters, and the field takes 40.",
                "remedy": "Set length to 40 in the dataset, or make the field longer again.",
            }
        ],
        "findings_left_out": 0,
    }


def test_a_thousand_findings_are_told_with_errors_first_and_all_are_counted() -> None:
    fields = tuple(FieldInfo((f"f{number}",), Kind.STRING, "text") for number in range(MOST_FINDINGS))
    stored = {"fides_key": "d", "collections": [{"name": "many", "fields": []}, {"name": "gone", "fields": []}]}

    told = compare(stored, [CollectionInfo(CollectionRef("many"), fields)]).as_json()

    assert (told["coverage"], told["ok"], told["findings_left_out"]) == (0, False, 1)
    assert told["counts"] == {"collection_missing": 1, "field_unknown": MOST_FINDINGS}
    assert [finding["code"] for finding in told["findings"]] == [
        "collection_missing",
        *["field_unknown"] * (MOST_FINDINGS - 1),
    ]
