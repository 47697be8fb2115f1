"""Collections as datasets of the Fides language: one dataset for each namespace, with a key that is the same each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectory.contract.data import CollectionInfo, CollectionRef, FieldInfo, Kind, Path
from connectory.discovery.suggestions import suggestion_for
from connectory.drift.codes import shown_path

_NO_KEY = re.compile(r"[^A-Za-z0-9_.-]+")
_KEY_LENGTH = 150
"""Characters of a namespace's name in a key. With the digits behind it a key stays below the 200 that one may have."""
_DIGITS = 10

# What the Fides language has words for. Dates and UUIDs are texts to it; of the rest it says nothing.
_TYPES: Mapping[Kind, str] = {
    Kind.STRING: "string",
    Kind.DATE: "string",
    Kind.TIMESTAMP: "string",
    Kind.UUID: "string",
    Kind.INTEGER: "integer",
    Kind.DECIMAL: "float",
    Kind.FLOAT: "float",
    Kind.BOOLEAN: "boolean",
    Kind.OBJECT_ID: "object_id",
    Kind.OBJECT: "object",
}


@dataclass
class Finding:
    """What a discovery has found so far, as JSON values.

    Attributes:
        datasets: by the keys of their namespaces, in the order in which they were found. Their collections are as the maker's
            `keep` gives them.
        suggestions: fields that look like personal data.
        left_out: what is there and not in a dataset, with the reason.
        refs: the collections that are in a dataset.
        others: those that are not.
        nullable: the fields of each of them that may be empty, as `keep` gives them.
        presence: of each of them that samples were looked at of, in which share of these each field is, as `keep` gives them.
        inferred: whether fields were found by looking at samples.
    """

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    suggestions: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    refs: list[CollectionRef] = field(default_factory=list)
    others: list[CollectionRef] = field(default_factory=list)
    nullable: list[Any] = field(default_factory=list)
    presence: list[Any] = field(default_factory=list)
    inferred: bool = False


class DatasetMaker:
    """Makes datasets of collections, as they are found.

    Args:
        place: texts that tell this system from others, such as its host and its database.
        name: of the dataset where a collection is in no namespace.
        keep: makes of what there is one of for each collection, and of thousands then, what is kept of it. Default: it is kept
            as it is.
    """

    def __init__(
        self, place: Iterable[str], name: str, keep: Callable[[dict[str, Any]], Any] = lambda made: made
    ) -> None:
        self._place = tuple(place)
        self._name = name
        self._keep = keep
        self.finding = Finding()

    def add(self, info: CollectionInfo) -> None:
        """Take in one collection."""
        key = self.fides_key(info.ref)
        finding = self.finding
        reason = info.left_out or (None if info.fields else "it has no fields")
        if reason is not None:
            finding.left_out.append({"dataset": key, "collection": info.ref.name, "reason": reason})
            finding.others.append(info.ref)
            return
        dataset = finding.datasets.get(key)
        if dataset is None:
            dataset = finding.datasets[key] = self._dataset(key, info.ref)
        dataset["collections"].append(self._keep({"name": info.ref.name, "fields": self._fields(info, key)}))
        for path, why in info.fields_left_out:
            finding.left_out.append({**_where(key, info, path), "reason": why})
        finding.refs.append(info.ref)
        collection = {"collection": info.ref.name, "namespace": dict(info.ref.namespace)}
        nullable = [shown_path(field.path) for field in info.fields if field.nullable]
        finding.nullable.append(self._keep(collection | {"fields": nullable}))
        presence = [
            {"field": shown_path(field.path), "presence": field.presence}
            for field in info.fields
            if field.presence is not None
        ]
        if presence:
            finding.presence.append(self._keep(collection | {"fields": presence}))
        finding.inferred |= info.inferred

    def fides_key(self, ref: CollectionRef) -> str:
        """The key of the dataset that a collection is in: the namespace's name, and ten digits that tell the system."""
        name = self._name_of(ref)
        digest = hashlib.sha1("-".join((*self._place, *ref.namespace.values())).encode(), usedforsecurity=False)
        return f"{_NO_KEY.sub('_', name)[:_KEY_LENGTH]}_{digest.hexdigest()[:_DIGITS]}"

    def _name_of(self, ref: CollectionRef) -> str:
        return [self._name, *ref.namespace.values()][-1]

    def _dataset(self, key: str, ref: CollectionRef) -> dict[str, Any]:
        dataset: dict[str, Any] = {"fides_key": key, "name": self._name_of(ref)}
        if ref.namespace:
            dataset["fides_meta"] = {"namespace": dict(ref.namespace)}
        return dataset | {"collections": []}

    def _fields(self, info: CollectionInfo, dataset: str) -> list[dict[str, Any]]:
        references = self._references(info)
        made: dict[Path, dict[str, Any]] = {}
        outermost: list[dict[str, Any]] = []
        for found in info.fields:
            member = made[found.path] = _field(found, references.get(found.path, ()), info.primary_key)
            parent = made.get(found.path[:-1])
            if parent is None:
                outermost.append(member)
            else:
                _nest(parent, member)
            self._suggest(info, found, dataset)
        return outermost

    def _references(self, info: CollectionInfo) -> dict[Path, list[dict[str, Any]]]:
        """Where each field's values are found. It is not said which end belongs to which: a foreign key does not know."""
        references: dict[Path, list[dict[str, Any]]] = {}
        for key in info.foreign_keys:
            for path, target in zip(key.fields, key.target_fields, strict=True):
                there = {"dataset": self.fides_key(key.target), "field": shown_path((key.target.name, *target))}
                if there not in references.setdefault(path, []):
                    references[path].append(there)
        return references

    def _suggest(self, info: CollectionInfo, found: FieldInfo, dataset: str) -> None:
        suggestion = suggestion_for(found, info.ref.name)
        if suggestion is not None:
            where = _where(dataset, info, found.path)
            self.finding.suggestions.append({**where, **suggestion._asdict(), "because": "name"})


def _where(dataset: str, info: CollectionInfo, path: Path) -> dict[str, Any]:
    return {"dataset": dataset, "collection": info.ref.name, "field": shown_path(path)}


def _field(found: FieldInfo, references: Sequence[Mapping[str, Any]], primary_key: Sequence[Path]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if found.path in primary_key:
        meta["primary_key"] = True
    data_type = _TYPES.get(found.kind)
    if data_type is not None:
        meta["data_type"] = f"{data_type}[]" if found.array else data_type
    if data_type == "string" and found.max_length:
        meta["length"] = found.max_length
    if references:
        meta["references"] = list(references)
    member: dict[str, Any] = {"name": found.path[-1]}
    if not ({"primary_key", "references"} & meta.keys() or found.kind is Kind.OBJECT):
        member["data_categories"] = []
    return member | ({"fides_meta": meta} if meta else {})


def _nest(parent: dict[str, Any], member: dict[str, Any]) -> None:
    """Put a member into its object. An object has no categories of its own, and no other type."""
    if "fields" not in parent:
        parent["fields"] = []
        parent.pop("data_categories", None)
        data_type = parent.get("fides_meta", {}).get("data_type", "object")
        if not data_type.startswith("object"):
            parent["fides_meta"]["data_type"] = "object[]" if data_type.endswith("[]") else "object"
    parent["fields"].append(member)
