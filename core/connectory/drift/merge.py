"""A stored dataset with what is new in a generated one.

>>> from connectory.drift.merge import merge
>>> stored = {"fides_key": "shop", "collections": [{"name": "customer", "fields": [{"name": "email", "description": "work"}]}]}
>>> found = {"fides_key": "public_3f", "collections": [{"name": "customer", "fields": [{"name": "email"}, {"name": "id"}]}]}
>>> merge(stored, found)["collections"]
[{'name': 'customer', 'fields': [{'name': 'email', 'description': 'work'}, {'name': 'id'}]}]
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from connectory.drift.stored import Json, meta_of


def merge(stored: Json, generated: Json) -> dict[str, Any]:
    """Add the collections and fields of `generated` that `stored` lacks, each behind what is there.

    All that is stored stays as it is, also what the generated dataset lacks. What is added refers to the stored dataset where it
    referred to the generated one. Nothing is added to an object that has categories for all that is in it, or another type.

    Args:
        stored: a dataset of the Fides language, as JSON values.
        generated: the dataset that a discovery made of the same namespace.
    """
    merged = deepcopy(dict(stored))
    merged["collections"] = _added(
        merged.get("collections") or [],
        [
            collection | {"fields": _referring(collection["fields"], generated["fides_key"], stored["fides_key"])}
            for collection in generated["collections"]
        ],
    )
    return merged


def _added(known: list[dict[str, Any]], found: Iterable[Json]) -> list[dict[str, Any]]:
    """Collections or fields, with those that were found and are not known."""
    by_name = {one["name"]: one for one in known}
    new = []
    for one in found:
        old = by_name.get(one["name"])
        if old is None:
            new.append(dict(one))
        elif one.get("fields") and _takes_fields(old):
            old["fields"] = _added(old.get("fields") or [], one["fields"])
    return known + new


def _takes_fields(described: Json) -> bool:
    if described.get("fields"):
        return True
    return not described.get("data_categories") and meta_of(described).get("data_type") in {None, "object", "object[]"}


def _referring(fields: Iterable[Json], old: str, new: str) -> list[dict[str, Any]]:
    """Fields that refer to the dataset `new` where they refer to `old`."""
    return [_field_referring(field, old, new) for field in fields]


def _field_referring(field: Json, old: str, new: str) -> dict[str, Any]:
    changed = dict(field)
    meta = meta_of(field)
    if meta.get("references"):
        references = [one | {"dataset": new} if one["dataset"] == old else one for one in meta["references"]]
        changed["fides_meta"] = {**meta, "references": references}
    if field.get("fields"):
        changed["fields"] = _referring(field["fields"], old, new)
    return changed
