"""The items of `PATCH /connection/{key}/dataset`: validated, with every problem told, and rendered once.

Imported when the first dataset is saved: it takes about a second, and most requests have nothing to do with datasets.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from connectory.api.datasets.fides_language import (
    META,
    OLD_META,
    UNKNOWN_CATEGORY,
    known_categories,
    member_names,
    model_at,
    parse,
)
from connectory.api.http.errors import Refused, name_if_plain, rebuild
from connectory.documents.validation import MAX_PROBLEMS, FieldProblem

# Fideslang's own messages repeat the value, so the rules of its validators are said again, by the member they guard.
_RULES = {
    "collections": "Every collection needs a name of its own.",
    "fields": "Every field needs a name of its own.",
    "data_type": "Must be string, integer, float, boolean, object_id or object, with [] after it for arrays.",
    "fides_meta": "Does not fit the field: see the Fides language on data_type, length and return_all_elements.",
}
_KEY_RULE = "Must be a key of letters, digits, '.', '_', '<', '>' or '-'."
_KEYS = frozenset({"fides_key", "organization_fides_key", "data_uses", "data_purposes", "data_subjects", "dataset"})
_OTHER_RULE = "Does not follow the rules of the Fides language for this member."
_LONGEST_COMPARED = 100
"""Characters of what is compared with what is known. Comparing is slow, and nothing that is known is longer than 60."""


class DatasetItem(NamedTuple):
    """A dataset that can be stored.

    Attributes:
        document: JSON text, with all members of the Fides language.
        ignored: where it had members that other versions of the Fides language know, like `collections[0].retention`.
    """

    fides_key: str
    document: str
    ignored: list[str]


def check_datasets(payload: list[Any], further_categories: tuple[str, ...]) -> list[DatasetItem]:
    """Validate the items of a request.

    Args:
        payload: plain JSON values. Members that are ignored are taken out of it.
        further_categories: data categories that are known besides those of the default taxonomy.

    Raises:
        Refused: 422 with every problem.
    """
    categories = known_categories(further_categories)
    items: list[DatasetItem] = []
    problems: list[FieldProblem] = []
    for index, item in enumerate(payload):
        try:
            items.append(_checked(item, categories))
        except ValidationError as error:
            problems += islice(_problems(error, index, item, categories), MAX_PROBLEMS - len(problems))
    if problems:
        raise Refused(422, problems)
    return items


def _checked(item: Any, categories: Collection[str]) -> DatasetItem:
    ignored: list[str] = []
    try:
        dataset = parse(item, categories)
    except ValidationError as error:
        # Few datasets have such members, so they are looked for where a validation failed, and not in every one.
        ignored, taken = _take_out(item, error)
        if not taken:
            raise
        dataset = parse(item, categories)
    return DatasetItem(dataset.fides_key, dataset.model_dump_json(), ignored)


def _take_out(item: Any, error: ValidationError) -> tuple[list[str], bool]:
    """Take the members that other versions of the Fides language know out of `item`.

    Returns:
        Where those were that are ignored, and whether anything was taken out. `fidesops_meta` becomes `fides_meta`, as in
        fideslang, and is ignored only where there is that one too.
    """
    ignored, taken = [], False
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        *place, name = found["loc"] or ("",)
        if found["type"] != "extra_forbidden" or name not in model_at(place).other_versions:
            continue
        owner = item
        for part in place:
            owner = owner[part]
        value, taken = owner.pop(name), True
        if name == OLD_META and not owner.get(META):
            owner[META] = value
        else:
            ignored.append(_path([*place, name]))
    return ignored, taken


def _path(place: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _problems(error: ValidationError, index: int, item: Any, categories: Collection[str]) -> Iterator[FieldProblem]:
    for found in error.errors(include_url=False, include_input=False):
        kind = found["type"]
        loc = [part for part in found["loc"] if isinstance(part, int) or part in member_names()]
        if kind == "extra_forbidden":
            yield _unknown_member(found["loc"], index)
        elif kind == UNKNOWN_CATEGORY:
            yield FieldProblem(loc=["body", index, *loc], msg=_unknown_category(item, loc, categories), type=kind)
        elif kind in {"value_error", "assertion_error", "string_pattern_mismatch"}:
            last = next((part for part in reversed(loc) if isinstance(part, str)), "")
            message = _KEY_RULE if last in _KEYS else _RULES.get(last, _OTHER_RULE)
            yield FieldProblem(loc=["body", index, *loc], msg=message, type=kind)
        else:
            yield from rebuild([{**found, "loc": loc}], ["body", index])


def _unknown_member(loc: Sequence[str | int], index: int) -> FieldProblem:
    *place, name = loc
    known = list(model_at(place).model_fields)
    shown = name_if_plain(str(name))
    hint = _hint(str(name), known)
    message = f"The Fides language does not have this member here.{hint} It has: {', '.join(known)}."
    where = ["body", index, *place] if shown is None else ["body", index, *place, shown]
    return FieldProblem(loc=where, msg=message, type="extra_forbidden")


def _unknown_category(item: Any, loc: Sequence[str | int], categories: Collection[str]) -> str:
    for part in loc:
        item = item[part]
    return (
        f"This is not a data category of the taxonomy.{_hint(item, sorted(categories), cutoff=0.4)} "
        "Categories of your own have to be named in CONNECTORY_DATA_CATEGORIES."
    )


def _hint(word: str, known: Sequence[str], *, cutoff: float = 0.6) -> str:
    """A question that names the nearest word that is known, with a space before it; empty where none is near."""
    near = len(word) <= _LONGEST_COMPARED
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=cutoff) if near else []
    return f" Did you mean '{close[0]}'?" if close else ""
