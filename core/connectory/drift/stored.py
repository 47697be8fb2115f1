"""A dataset of the Fides language, given as JSON values, as places and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from connectory.contract.data import CollectionInfo, CollectionRef, Path

Json: TypeAlias = Mapping[str, Any]


def collections_of(dataset: Json) -> dict[str, Json]:
    """The collections of a dataset by name, in its order."""
    return {collection["name"]: collection for collection in dataset.get("collections") or ()}


def fields_of(collection: Json) -> dict[Path, Json]:
    """The fields of a collection by their places, in its order; an object before what is in it."""
    return dict(_walk(collection.get("fields") or (), ()))


def _walk(fields: Iterable[Json], above: Path) -> Iterator[tuple[Path, Json]]:
    for field in fields:
        path = (*above, field["name"])
        yield path, field
        yield from _walk(field.get("fields") or (), path)


def meta_of(described: Json) -> Json:
    """What stands in `fides_meta`; empty where nothing does."""
    meta: Json = described.get("fides_meta") or {}
    return meta


def names_of(place: str | list[str]) -> Path:
    """The names of the place in a reference: `customer.address.zip`, or a list of them where one holds a dot."""
    return tuple(place.split(".") if isinstance(place, str) else place)


def in_namespace_of(dataset: Json, live: Iterable[CollectionInfo]) -> list[CollectionInfo]:
    """Those of the live collections that the dataset is about: all of one namespace.

    The dataset's own namespace decides. Where it names none, or only words that the system does not use, it is the namespace that
    holds most of the dataset's collections, and of several such the first.
    """
    named: Json = meta_of(dataset).get("namespace") or {}
    known = collections_of(dataset).keys()
    groups: dict[tuple[tuple[str, str], ...], list[CollectionInfo]] = {}
    for info in live:
        if all(named.get(word, name) == name for word, name in info.ref.namespace.items()):
            groups.setdefault(namespace_of(info.ref), []).append(info)
    return max(groups.values(), key=lambda group: sum(info.ref.name in known for info in group), default=[])


def namespace_of(ref: CollectionRef) -> tuple[tuple[str, str], ...]:
    """A collection's namespace as a key."""
    return tuple(sorted(ref.namespace.items()))
