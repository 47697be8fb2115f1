"""Whether a dataset still fits what a connection holds: findings, and how much of what is there the dataset knows.

>>> from connectory.data import CollectionInfo, CollectionRef, FieldInfo, Kind
>>> from connectory.drift.findings import compare
>>> dataset = {"fides_key": "shop", "collections": [{"name": "customer", "fields": [{"name": "id"}, {"name": "nickname"}]}]}
>>> live = [CollectionInfo(CollectionRef("customer"), (FieldInfo(("id",), Kind.INTEGER, "bigint"),))]
>>> drift = compare(dataset, live)
>>> drift.coverage, [(finding.code.value, finding.field) for finding in drift.findings]
(100, [('field_missing', ('nickname',))])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectory.contract.data import CollectionInfo, FieldInfo, Kind, Path
from connectory.drift.codes import Code, Finding, Severity
from connectory.drift.references import unannotated
from connectory.drift.stored import Json, collections_of, fields_of, in_namespace_of, meta_of

# What a word of the Fides language may be here. It has none for dates and UUIDs, which are texts to it.
_KINDS: Mapping[str, frozenset[Kind]] = {
    "string": frozenset({Kind.STRING, Kind.DATE, Kind.TIMESTAMP, Kind.UUID}),
    "integer": frozenset({Kind.INTEGER}),
    "float": frozenset({Kind.FLOAT, Kind.DECIMAL}),
    "boolean": frozenset({Kind.BOOLEAN}),
    "object_id": frozenset({Kind.OBJECT_ID}),
    "object": frozenset({Kind.OBJECT}),
}


MOST_FINDINGS = 1000
"""Findings that an answer tells one by one."""


@dataclass(frozen=True)
class Drift:
    """How a dataset compares with what is there.

    Attributes:
        coverage: of the fields that are there, how many the dataset has, in percent; 100 only where it has all of them.
        findings: what does not fit, in the dataset's order; what the dataset does not have comes last.
    """

    coverage: int
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values. `ok` says that nothing was found, and `counts` how often each code was.

        `findings` has the first `MOST_FINDINGS` of them, errors before warnings where not all have room.
        """
        counts = Counter(finding.code for finding in self.findings)
        return {
            "coverage": self.coverage,
            "ok": not self.findings,
            "counts": {code.value: counts[code] for code in Code if code in counts},
            "findings": [finding.as_json() for finding in self._first()],
            "findings_left_out": max(0, len(self.findings) - MOST_FINDINGS),
        }

    def _first(self) -> Iterable[Finding]:
        if len(self.findings) <= MOST_FINDINGS:
            return self.findings
        return sorted(self.findings, key=lambda finding: finding.severity == "warning")[:MOST_FINDINGS]


def compare(dataset: Json, live: Iterable[CollectionInfo], last: Iterable[CollectionInfo] = ()) -> Drift:
    """Compare a dataset with the collections of its connection.

    Args:
        dataset: in the Fides language, as JSON values.
        live: what is there now. Collections of other namespaces than the dataset's are not compared.
        last: what was there when it was looked at last. Default: it was not.
    """
    there = {info.ref.name: info for info in in_namespace_of(dataset, live)}
    before = {info.ref.name: info for info in in_namespace_of(dataset, last)}
    known = collections_of(dataset)
    findings: list[Finding] = []
    for name, collection in known.items():
        info = there.get(name)
        if info is None:
            findings.append(_collection_missing(name))
        else:
            findings += _collection(info, fields_of(collection), before.get(name))
    findings += unannotated(dataset, there.values())
    in_use = [info for info in there.values() if info.left_out is None and info.fields]
    findings += [_collection_unknown(info.ref.name) for info in in_use if info.ref.name not in known]
    return Drift(_coverage(in_use, known), tuple(findings))


def _coverage(in_use: Iterable[CollectionInfo], known: Mapping[str, Json]) -> int:
    there = covered = 0
    for info in in_use:
        fields = fields_of(known[info.ref.name]) if info.ref.name in known else {}
        there += len(info.fields)
        covered += sum(_is_known(field.path, fields) for field in info.fields)
    return 100 * covered // there if there else 100


def _is_known(path: Path, fields: Mapping[Path, Json]) -> bool:
    """Whether the dataset has a field, or has an object around it with categories for all that is in it."""
    return path in fields or any(_as_a_whole(fields.get(path[:depth])) for depth in range(1, len(path)))


def _as_a_whole(described: Json | None) -> bool:
    return bool(described and described.get("data_categories") and not described.get("fields"))


def _collection(info: CollectionInfo, fields: Mapping[Path, Json], before: CollectionInfo | None) -> Iterator[Finding]:
    if not info.fields:  # it is there, and nothing is known of what is in it
        return
    there = {field.path: field for field in info.fields}
    nullable = {field.path for field in before.fields if field.nullable} if before is not None else set()
    objects = {path[:-1] for path in there}
    for path, described in fields.items():
        field = there.get(path)
        if field is not None:
            yield from _field(info, field, described, path in nullable, path in objects)
        elif len(path) == 1 or path[:-1] in there:  # of an object that is missing, only the object is told
            yield _field_missing(info, path)
    yield from _key_changed(info, fields)
    unknown = {path for path in there if not _is_known(path, fields)}
    yield from (_field_unknown(info, path) for path in there if path in unknown and path[:-1] not in unknown)


def _field(
    info: CollectionInfo, field: FieldInfo, described: Json, was_nullable: bool, is_object: bool
) -> Iterator[Finding]:
    meta, name = meta_of(described), info.ref.name
    declared = meta.get("data_type")
    if declared and not _fits(declared, field, is_object):
        yield Finding(
            Code.TYPE_CHANGED,
            "error",
            name,
            f"The dataset says {declared}, and the {info.kind} has {field.native}.",
            "Correct data_type in the dataset, or change the type back.",
            field.path,
        )
    if was_nullable and field.nullable is False:
        yield Finding(
            Code.NOT_NULLABLE,
            "error",
            name,
            "The field cannot be empty any more; when it was looked at last, it could.",
            "Mask it with a strategy that writes a value, or let it be empty again.",
            field.path,
        )
    length = meta.get("length")
    if length and field.max_length is not None and field.max_length < length:
        yield Finding(
            Code.LENGTH_SHORTER,
            "error",
            name,
            f"The dataset says {length} characters, and the field takes {field.max_length}.",
            f"Set length to {field.max_length} in the dataset, or make the field longer again.",
            field.path,
        )


def _fits(declared: str, field: FieldInfo, is_object: bool) -> bool:
    if field.kind is Kind.ANY:
        return True
    kinds = _KINDS.get(declared.removesuffix("[]"), frozenset())
    return declared.endswith("[]") == field.array and (Kind.OBJECT if is_object else field.kind) in kinds


def _key_changed(info: CollectionInfo, fields: Mapping[Path, Json]) -> Iterator[Finding]:
    declared = {path for path, described in fields.items() if meta_of(described).get("primary_key")}
    if info.left_out is not None or declared == set(info.primary_key):
        return
    if any({field.path} == declared for field in info.fields if field.unique):  # another key, which serves as well
        return
    if info.primary_key:
        message = f"The primary key is {_listed(info.primary_key)}, and the dataset says {_listed(sorted(declared))}."
        remedy = f"Set primary_key in the dataset on {_listed(info.primary_key)} and on no other field."
    else:
        message = f"The dataset says that {_listed(sorted(declared))} is the primary key, and the {info.kind} has none."
        remedy = "Make sure that no two rows have the same key, or take primary_key out of the dataset."
    # A dataset may leave the key out, and some systems have none: a request may still do what it should.
    severity: Severity = "error" if declared and info.primary_key else "warning"
    yield Finding(Code.KEY_CHANGED, severity, info.ref.name, message, remedy)


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(f"'{'.'.join(path)}'" for path in paths) or "nothing"


def _collection_missing(name: str) -> Finding:
    return Finding(
        Code.COLLECTION_MISSING,
        "error",
        name,
        f"There is no '{name}', or the account cannot see it.",
        "Remove it from the dataset, restore it, or let the account read it.",
    )


def _collection_unknown(name: str) -> Finding:
    return Finding(
        Code.COLLECTION_UNKNOWN,
        "warning",
        name,
        "Not in the dataset: requests do not see it.",
        "Add it to the dataset.",
    )


def _field_missing(info: CollectionInfo, path: Path) -> Finding:
    severity: Severity
    if info.inferred:
        message, severity = f"No document that was looked at has '{'.'.join(path)}'.", "warning"
    else:
        message, severity = f"The {info.kind} has no field '{'.'.join(path)}'.", "error"
    remedy = "Remove it from the dataset, or restore the field."
    return Finding(Code.FIELD_MISSING, severity, info.ref.name, message, remedy, path)


def _field_unknown(info: CollectionInfo, path: Path) -> Finding:
    message = "Not in the dataset: requests do not see it."
    return Finding(Code.FIELD_UNKNOWN, "warning", info.ref.name, message, "Add it to the dataset.", path)
