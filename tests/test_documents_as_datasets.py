"""What MongoDB's documents show of their collection's fields, and that whatever they hold makes a dataset that can be stored."""

from collections.abc import Iterable, Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from connectory.api.datasets.fides_language import known_categories, parse
from connectory.checks.sessions.facts import collection_of, facts_of
from connectory.checks.sessions.values import decoded_column, encoded_column
from connectory.data import CollectionInfo, CollectionRef, FieldInfo, Kind
from connectory.discovery.datasets import DatasetMaker
from connectory.drift.findings import compare
from connectory_mongodb.fields import MOST_MEMBERS, Sample
from connectory_mongodb.values import OPTIONS, value_at

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6) | st.sampled_from(
    ["_id", "email", "a.b", "$x", "a", "b", "", "__proto__", "$ref", "n" * 1025]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
    | st.binary(max_size=5)
    | st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0))
    | st.uuids().map(Binary.from_uuid)
    | st.sampled_from(
        [
            ObjectId("64b000000000000000000001"),
            Decimal128("1.5"),
            Decimal128("NaN"),
            Int64(2**40),
            Regex("^a"),
            Code("x"),
            Timestamp(1, 2),
            MinKey(),
            MaxKey(),
            DBRef("a", 1, "b"),
            Binary(b"x", 3),
            bson.DatetimeMS(2**60),
        ]
    )
)
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
    ),
    max_size=5,
)


def stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it comes from a server."""
    found: dict[str, Any] = bson.decode(bson.encode(document), codec_options=OPTIONS)
    return found


def sampled(documents: Iterable[Mapping[str, Any]]) -> CollectionInfo:
    """A collection of these documents, as the service is told of it."""
    sample = Sample()
    for document in documents:
        sample.add(stored(document))
    fields = sample.fields([])
    key = tuple(field.path for field in fields if field.path == ("_id",))
    info = CollectionInfo(CollectionRef("c"), fields, primary_key=key, inferred=True, fields_left_out=sample.left_out)
    return collection_of(facts_of(info))


def of(documents: Iterable[Mapping[str, Any]], *path: str) -> FieldInfo:
    [field] = [field for field in sampled(documents).fields if field.path == path]
    return field


@given(st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_whatever_documents_hold_makes_a_dataset_that_fits_and_can_be_stored(documents: list[dict[str, Any]]) -> None:
    info = sampled(documents)
    maker = DatasetMaker((), "mongodb")
    maker.add(info)
    for dataset in maker.finding.datasets.values():
        assert parse(dataset, known_categories(())).collections[0].name == "c"
        drift = compare(dataset, [info])
        assert (drift.coverage, drift.findings) == (100, ())
    assert sampled(reversed(documents)) == info


@given(DOCUMENTS)
def test_whatever_a_document_holds_can_be_read(document: dict[str, Any]) -> None:
    found = stored(document)
    for field in sampled([document]).fields:
        value = value_at(found, field.path)
        for kind in {Kind.ANY, field.kind if "Binary" not in field.native else Kind.ANY}:
            [told] = decoded_column(kind, encoded_column(kind, [value], field.path))
            assert told == value or told != told or "nan" in str(told).lower()


def test_what_is_of_several_kinds_is_any() -> None:
    assert of([{"a": 1}, {"a": "x"}], "a").kind is Kind.ANY
    assert of([{"a": 1}, {"a": 1.5}], "a").kind is Kind.ANY
    assert of([{"a": 1}, {"a": Int64(2)}, {"a": None}], "a").kind is Kind.INTEGER
    assert of([{"a": [1]}, {"a": 1}], "a").array is False
    assert of([{"a": [1]}, {"a": 1}], "a").kind is Kind.ANY
    assert of([{"a": [1, None]}, {"a": []}], "a").kind is Kind.INTEGER
    assert of([{"a": []}], "a") == FieldInfo(("a",), Kind.ANY, "array of null", array=True, indexed=False, presence=1.0)


def test_members_of_objects_in_arrays_are_fields_of_the_array() -> None:
    documents = [{"a": [{"b": 1}, {"b": 2, "c": "x"}]}, {}]
    assert [(field.path, field.kind, field.presence) for field in sampled(documents).fields] == [
        (("a",), Kind.OBJECT, 0.5),
        (("a", "b"), Kind.INTEGER, 0.5),
        (("a", "c"), Kind.STRING, 0.5),
    ]


@pytest.mark.parametrize("levels", [60, 61, 90])
def test_nesting_is_cut_at_60_levels_and_said_so(levels: int) -> None:
    document: Any = 1
    for _ in range(levels):
        document = {"n": document}
    info = sampled([document])
    assert len(info.fields) == 60
    deepest = ("n",) * 60
    assert info.fields[-1].kind is (Kind.INTEGER if levels == 60 else Kind.OBJECT)
    told = () if levels == 60 else ((deepest, "its members nest over 60 levels deep"),)
    assert info.fields_left_out == told
    maker = DatasetMaker((), "mongodb")
    maker.add(info)
    [(key, dataset)] = maker.finding.datasets.items()
    parse(dataset, known_categories(()))
    assert maker.finding.left_out == [
        {"dataset": key, "collection": "c", "field": ".".join(path), "reason": reason} for path, reason in told
    ]


def test_an_object_with_keys_for_members_is_told_without_them() -> None:
    """They are no fields, and may be personal data."""
    documents = [{"by_email": {f"{number}@shop.example": {"n": 1}}, "plain": 1} for number in range(MOST_MEMBERS + 1)]
    info = sampled(documents)
    assert [field.path for field in info.fields] == [("by_email",), ("plain",)]
    assert info.fields_left_out == ((("by_email",), "it has more than 500 different members"),)


def test_a_collection_with_keys_for_fields_is_left_out() -> None:
    info = sampled([{f"{number}@shop.example": 1 for number in range(5001)}])
    assert (info.fields, info.left_out) == ((), "more than 4096 fields")


def test_a_member_without_a_name_is_left_out_and_said_so() -> None:
    info = sampled([{"a": {"": 1, "b": 1}, "": 2, "n" * 2000: 1}])
    assert [field.path for field in info.fields] == [("a",), ("a", "b")]
    reason = "a name must have 1 to 1024 characters"
    assert dict(info.fields_left_out) == {("a", '""'): reason, ('""',): reason, ("n" * 1024,): reason}


def test_no_value_is_kept() -> None:
    info = sampled([{"email": "marker-55@shop.example", "n": Decimal128(Decimal("4711.5"))}])
    assert "marker-55" not in repr(info)
    assert "4711" not in repr(info)
