"""Foreign keys that the dataset does not have as references."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from connectory.contract.data import CollectionInfo, CollectionRef, Path
from connectory.drift.codes import Code, Finding, shown_path
from connectory.drift.stored import Json, collections_of, fields_of, meta_of, names_of, namespace_of


def unannotated(dataset: Json, live: Iterable[CollectionInfo]) -> Iterator[Finding]:
    """A finding for each field of a foreign key between whose ends there is no reference, at either end.

    Fields that the dataset does not have are not told.
    """
    own = dataset["fides_key"]
    known = {name: fields_of(collection) for name, collection in collections_of(dataset).items()}
    references = {
        ((name, *path), reference["dataset"], names_of(reference["field"]))
        for name, fields in known.items()
        for path, described in fields.items()
        for reference in meta_of(described).get("references") or ()
    }
    # What another dataset is called is not known here, so any of them is right.
    elsewhere = {(here, there) for here, key, there in references if key != own}
    for info in live:
        for path, target, there in _pairs(info):
            here, far = (info.ref.name, *path), (target.name, *there)
            if namespace_of(target) == namespace_of(info.ref):
                told = not {(here, own, far), (far, own, here)}.isdisjoint(references)
            else:
                told = (here, far) in elsewhere
            if path in known.get(info.ref.name, ()) and not told:
                yield _finding(info, path, far)


def _pairs(info: CollectionInfo) -> Iterator[tuple[Path, CollectionRef, Path]]:
    """The fields of the foreign keys, each with the field that its values are found in; no pair twice."""
    seen = set()
    for key in info.foreign_keys:
        for path, there in zip(key.fields, key.target_fields, strict=True):
            pair = (path, key.target.name, namespace_of(key.target), there)
            if pair not in seen:
                seen.add(pair)
                yield path, key.target, there


def _finding(info: CollectionInfo, path: Path, far: Path) -> Finding:
    there = shown_path(far)
    named = f"'{there}'" if isinstance(there, str) else json.dumps(there, ensure_ascii=False)
    return Finding(
        Code.FK_UNANNOTATED,
        "warning",
        info.ref.name,
        f"A foreign key to {named} that the dataset does not have: requests do not follow it.",
        f"Add a reference to {named} to the field in the dataset.",
        path,
    )
