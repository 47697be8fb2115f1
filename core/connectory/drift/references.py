"""Foreign keys that the dataset does not have as references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connectory.contract.data import CollectionInfo, CollectionRef, Path
from connectory.drift.codes import Code, Finding
from connectory.drift.stored import Json, collections_of, dotted, fields_of, meta_of, namespace_of


def unannotated(dataset: Json, live: Iterable[CollectionInfo]) -> Iterator[Finding]:
    """A finding for each field of a foreign key between whose ends there is no reference, at either end.

    Fields that the dataset does not have are not told, and neither are names with dots, to which no reference can be written.
    """
    own = dataset["fides_key"]
    known = {name: fields_of(collection) for name, collection in collections_of(dataset).items()}
    references = {
        (dotted(name, *path), reference["dataset"], reference["field"])
        for name, fields in known.items()
        for path, described in fields.items()
        for reference in meta_of(described).get("references") or ()
    }
    # What another dataset is called is not known here, so any of them is right.
    elsewhere = {(here, there) for here, key, there in references if key != own}
    for info in live:
        for path, target, there in _pairs(info):
            here, far = dotted(info.ref.name, *path), dotted(target.name, *there)
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
            dots = any("." in name for name in (info.ref.name, *path, key.target.name, *there))
            if pair not in seen and not dots:
                seen.add(pair)
                yield path, key.target, there


def _finding(info: CollectionInfo, path: Path, far: str) -> Finding:
    return Finding(
        Code.FK_UNANNOTATED,
        "warning",
        info.ref.name,
        f"A foreign key to '{far}' that the dataset does not have: requests do not follow it.",
        f"Add a reference to '{far}' to the field in the dataset.",
        path,
    )
