"""Datasets as they were sent: checked by the rules of the Fides language, and made into what is stored.

Stricter than the language's own models, which drop a member that they do not know, take any word for a category, and sort
what they hold.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from connectory.api.errors import name_if_plain, rebuild
from connectory.documents.validation import FieldProblem

LONGEST_KEY = 200
"""Characters of a fides_key, as many as a connection's key may have."""

_MOST_PROBLEMS = 50

# Fideslang's own messages repeat the value, so the rules of its validators are said again, by the member they guard.
_RULES = {
    "collections": "Every collection needs a name of its own.",
    "fields": "Every field needs a name of its own.",
    "data_type": "Must be string, integer, float, boolean, object_id or object, with [] after it for arrays.",
    "fides_meta": "Does not fit the field: see the Fides language on data_type, length and return_all_elements.",
}
_KEY_RULE = "Must be a key of letters, digits, '.', '_', '<', '>' or '-'."
_KEYS = frozenset(
    {"fides_key", "organization_fides_key", "data_categories", "data_uses", "data_purposes", "data_subjects", "dataset"}
)
_OTHER_RULE = "Does not follow the rules of the Fides language for this member."

# Members of the language up to fideslang 2.2.2, gone in 3.0.0; `fidesctl_meta` is of the first releases.
_OF_OTHER_VERSIONS = {
    "Dataset": frozenset(
        {"data_qualifier", "retention", "joint_controller", "third_country_transfers", "fidesctl_meta"}
    ),
    "DatasetCollection": frozenset({"data_qualifier", "retention"}),
    "DatasetField": frozenset({"data_qualifier", "retention"}),
}
_OLD_NAMES = {"fidesops_meta": "fides_meta"}
"""Names that the language still takes for a member, at all three levels."""
_OF_ANSWERS = frozenset({"ignored"})
"""What an answer adds to a dataset, so that it can be sent back."""


@dataclass(frozen=True)
class CheckedDataset:
    """A valid dataset.

    Attributes:
        document: all its members, in the order of the language; collections and fields in the order in which they were sent.
        ignored: places of members that other versions of the language know and this one does not store.
    """

    fides_key: str
    document: dict[str, Any]
    ignored: list[str]


class DatasetInvalid(Exception):
    """A dataset does not follow the rules.

    Attributes:
        problems: with their place in the dataset. None holds what was sent, but for a name that looks like one.
    """

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__("a dataset is not valid")
        self.problems = problems[:_MOST_PROBLEMS]


def check_dataset(sent: Any, further_categories: Collection[str]) -> CheckedDataset:
    """The dataset that `sent`, a JSON value, means.

    Args:
        further_categories: data categories that are allowed beside those of the language's taxonomy.

    Raises:
        DatasetInvalid: with every problem found.
    """
    # Imported here: it takes over a second, and most requests have nothing to do with datasets.
    from fideslang import models

    found = _Findings(frozenset(further_categories))
    found.walk(sent, models.Dataset, ())
    if isinstance(sent, dict) and not isinstance(sent.get("fides_key", ""), str):
        # The language would take a number for a key, and the caller would not find it again.
        found.add(("fides_key",), "Must be a string.", "string_type")
    dataset = None
    try:
        dataset = models.Dataset.model_validate(sent)
    except ValidationError as error:
        told = {tuple(problem["loc"]) for problem in found.problems}
        found.problems += [problem for problem in _problems(error) if tuple(problem["loc"]) not in told]
    if dataset is not None and len(dataset.fides_key) > LONGEST_KEY:
        found.add(("fides_key",), f"Must have at most {LONGEST_KEY} characters.", "string_too_long")
    if dataset is None or found.problems:
        raise DatasetInvalid(found.problems)
    document = dataset.model_dump(mode="json")
    _put_in_order(document, sent, "collections")
    return CheckedDataset(dataset.fides_key, document, found.ignored)


class _Findings:
    """What a walk through a dataset finds that the language's models let pass."""

    def __init__(self, further_categories: frozenset[str]) -> None:
        self._further = further_categories
        self.problems: list[FieldProblem] = []
        self.ignored: list[str] = []

    def add(self, loc: tuple[str | int, ...], message: str, kind: str) -> None:
        """Note a problem."""
        self.problems.append(FieldProblem(loc=list(loc), msg=message, type=kind))

    def walk(self, value: Any, model: type[BaseModel], place: tuple[str | int, ...]) -> None:
        """Look at `value`, where it is an object, and at the objects in it; what else it may be is for the model to say."""
        if not isinstance(value, dict) or len(self.problems) >= _MOST_PROBLEMS:
            return
        members = _members(model)
        for name, member in value.items():
            if name not in members:
                self._unknown(name, model, place)
                continue
            inner = members[name]
            if name == "data_categories":
                self._categories(member, (*place, name))
            elif inner is not None and isinstance(member, list):
                for index, item in enumerate(member):
                    self.walk(item, inner, (*place, name, index))
            elif inner is not None:
                self.walk(member, inner, (*place, name))

    def _categories(self, words: Any, place: tuple[str | int, ...]) -> None:
        if not isinstance(words, list):
            return
        for index, word in enumerate(words):
            if isinstance(word, str) and word not in _taxonomy() and word not in self._further:
                known = [*_taxonomy(), *self._further]
                close = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.0)
                message = (
                    f"This data category is not in the taxonomy of the Fides language; the nearest is '{close[0]}'. "
                    "The deployer can add categories with CONNECTORY_DATA_CATEGORIES."
                )
                self.add((*place, index), message, "unknown_data_category")

    def _unknown(self, name: str, model: type[BaseModel], place: tuple[str | int, ...]) -> None:
        if name in _OF_OTHER_VERSIONS.get(model.__name__, ()):
            self.ignored.append(".".join(map(str, (*place, name))))
            return
        if name in _OF_ANSWERS and not place:
            return
        known = [member for member in _members(model) if member not in _OLD_NAMES]
        plain = name_if_plain(name)
        close = difflib.get_close_matches(plain or "", known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else f" Known here: {', '.join(known)}."
        said = f"The member '{plain}' is not known" if plain else "There is a member that is not known"
        message = f"{said} to the Fides language.{hint}"
        self.add((*place, plain) if plain else place, message, "extra_forbidden")


@cache
def _taxonomy() -> frozenset[str]:
    from fideslang.default_taxonomy import DEFAULT_TAXONOMY

    return frozenset(str(category.fides_key) for category in DEFAULT_TAXONOMY.data_category)


@cache
def _members(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The members of an object of the language, each with the model of the objects in it; None where it holds none."""
    members = {name: next(_models_in(info.annotation), None) for name, info in model.model_fields.items()}
    return members | {old: members[name] for old, name in _OLD_NAMES.items() if name in members}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _put_in_order(shown: dict[str, Any], sent: dict[str, Any], member: str) -> None:
    """Give the named things in `member`, which the language sorts, the order in which they were sent; so at every depth."""
    items = shown.get(member)
    if not items:
        return
    order = {item["name"]: (index, item) for index, item in enumerate(sent[member])}
    items.sort(key=lambda item: order[item["name"]][0])
    for item in items:
        if item.get("fields"):
            _put_in_order(item, order[item["name"]][1], "fields")


def _problems(error: ValidationError) -> Iterator[FieldProblem]:
    known = _member_names()
    for found in error.errors(include_url=False, include_input=False):
        loc = [part for part in found["loc"] if isinstance(part, int) or part in known]
        if found["type"] in {"value_error", "assertion_error"}:
            last = next((part for part in reversed(loc) if isinstance(part, str)), "")
            message = _KEY_RULE if last in _KEYS else _RULES.get(last, _OTHER_RULE)
            yield FieldProblem(loc=loc, msg=message, type=found["type"])
        else:
            yield from rebuild([{**found, "loc": loc}], [])


@cache
def _member_names() -> frozenset[str]:
    """Every member of the language's models: the names that a `loc` may hold."""
    from fideslang import models

    found = [model for model in vars(models).values() if isinstance(model, type) and issubclass(model, BaseModel)]
    return frozenset(name for model in found for name in model.model_fields)
