"""The Fides language as this service takes it: fideslang's models and rules, and stricter.

What differs: an unknown member is an error (fideslang drops it), a data category must be known (fideslang takes any key),
collections and fields stay in the order in which they are sent (fideslang sorts them by name), and a reference may name its field
by a list. Old members are taken by
`dataset_items` before validation and not, as by fideslang, in a constructor of every field, which took most of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, get_args

from fideslang import models
from fideslang.default_taxonomy.data_categories import DEFAULT_DATA_CATEGORIES
from fideslang.validation import FIDES_KEY_PATTERN
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

LONGEST_KEY = 200
"""Characters of a fides_key, as many as a connection's key may have."""

META, OLD_META = "fides_meta", "fidesops_meta"
"""The member that fideslang 1.3.2 named, and how Fides 2.0 spelt it."""

IGNORED = "ignored"
"""The member of our own answers that lists what was ignored. An answer may be sent back."""

UNKNOWN_CATEGORY = "unknown_data_category"
"""The type of the error where a data category is not known."""


@cache
def known_categories(further: tuple[str, ...]) -> frozenset[str]:
    """The data categories of the default taxonomy, and the deployer's."""
    return frozenset(str(category.fides_key) for category in DEFAULT_DATA_CATEGORIES).union(further)


@cache
def described_categories(further: tuple[str, ...]) -> tuple[dict[str, str | None], ...]:
    """The same, ordered by `fides_key`, with `name` and `description`, which are `None` where the deployer named them."""
    own = {key: {"fides_key": key, "name": None, "description": None} for key in further}
    known = {
        str(one.fides_key): {"fides_key": str(one.fides_key), "name": one.name, "description": one.description}
        for one in DEFAULT_DATA_CATEGORIES
    }
    return tuple((own | known)[key] for key in sorted(own | known))


def parse(item: Any, categories: Collection[str]) -> Dataset:
    """Validate a dataset (plain JSON values).

    Args:
        categories: the data categories that are known.

    Raises:
        pydantic.ValidationError: with every problem. Its messages may repeat values.
    """
    return Dataset.model_validate(item, context=categories)


class _Strict(BaseModel):
    """Takes no unknown member.

    Attributes:
        other_versions: members that this kind of object has in other versions of the Fides language: fideslang 0.9 to
            3.1, and `fidesops_meta` of Fides 2.0.
    """

    other_versions: ClassVar[frozenset[str]] = frozenset()
    __init__ = BaseModel.__init__


def _known(category: str, info: ValidationInfo) -> str:
    if info.context is None or category not in info.context:
        raise PydanticCustomError(UNKNOWN_CATEGORY, "Not a known data category.")
    return category


def _as_sent(items: list[Any]) -> list[Any]:
    return items


# A number is not taken for a text: nobody could say which category is near it.
_Categories = list[Annotated[str, Field(strict=True), AfterValidator(_known)]] | None


class _Reference(_Strict, models.FidesDatasetReference, extra="forbid"):
    # The collection's name and the field's, with dots between them; as a list where one of them holds a dot itself.
    field: str | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2)]  # type: ignore[assignment]


class _FieldMasking(_Strict, models.FieldMaskingStrategyOverride, extra="forbid"):
    pass


class _FieldMeta(_Strict, models.FidesMeta, extra="forbid"):
    references: list[_Reference] | None = None  # type: ignore[assignment]
    masking_strategy_override: _FieldMasking | None = None


class _DatasetField(_Strict, models.DatasetField, extra="forbid"):
    other_versions = frozenset({OLD_META, "data_qualifier", "retention"})
    data_categories: _Categories = None
    fides_meta: _FieldMeta | None = None
    fields: list[_DatasetField] | None = None  # type: ignore[assignment]


class _CollectionMasking(_Strict, models.MaskingStrategyOverride, extra="forbid"):
    pass


class _CollectionMeta(_Strict, models.CollectionMeta, extra="forbid"):
    masking_strategy_override: _CollectionMasking | None = None


class _Collection(_Strict, models.DatasetCollection, extra="forbid"):
    other_versions = frozenset({OLD_META, "data_qualifier", "retention"})
    data_categories: _Categories = None
    fides_meta: _CollectionMeta | None = None
    fields: list[_DatasetField]  # type: ignore[assignment]
    _sort_fields = field_validator("fields")(_as_sent)  # in the place of fideslang's


class _DatasetMeta(_Strict, models.DatasetMetadata, extra="forbid"):
    pass


class Dataset(_Strict, models.Dataset, extra="forbid"):
    """A dataset of the Fides language."""

    other_versions = frozenset(
        {
            OLD_META,
            "data_qualifier",
            "fidesctl_meta",
            "joint_controller",
            "retention",
            "third_country_transfers",
            IGNORED,
        }
    )
    # A number is not taken for a key: the caller would not find it again.
    fides_key: Annotated[str, Field(strict=True, max_length=LONGEST_KEY, pattern=FIDES_KEY_PATTERN)]
    data_categories: _Categories = None
    fides_meta: _DatasetMeta | None = None
    collections: list[_Collection]  # type: ignore[assignment]
    _sort_collections = field_validator("collections")(_as_sent)


def model_at(place: Sequence[str | int]) -> type[_Strict]:
    """The kind of object that stands at `place` in a dataset, like `["collections", 0, "fides_meta"]`."""
    found: type[_Strict] = Dataset
    for member in place:
        if isinstance(member, str):
            found = next(_models_in(found.model_fields[member].annotation))
    return found


@cache
def kinds() -> frozenset[type[BaseModel]]:
    """Every kind of object within a dataset."""
    found: set[type[BaseModel]] = {Dataset}
    remaining = [*found]
    while remaining:
        inside = {kind for field in remaining.pop().model_fields.values() for kind in _models_in(field.annotation)}
        remaining += inside - found
        found |= inside
    return frozenset(found)


@cache
def member_names() -> frozenset[str]:
    """Every member that an object within a dataset may have."""
    return frozenset(name for kind in kinds() for name in kind.model_fields)


def _models_in(annotation: Any) -> Iterator[type[_Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, _Strict):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
