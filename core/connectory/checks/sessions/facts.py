"""Facts about collections as JSON and back, with the limits within which a far end is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectory.checks.wire import ProtocolViolation, is_count, is_printable, require
from connectory.contract.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind, Path, Privileges

COLLECTIONS_LIMIT = 10_000
"""Collections of one connection; the largest that discovery is measured with has 5,000."""
FIELDS_LIMIT = 4_096
"""Fields of one collection: MariaDB and MySQL allow a table 4,096 columns, more than the others."""
NAME_LIMIT = 1_024
"""Characters of a name; BigQuery's are the longest, with 1,024 bytes of a table's."""
PATH_LIMIT = 60
"""Levels that fields may nest."""
NATIVE_LIMIT = 500
"""Characters of a type's own words. Longer ones, such as an enumeration of everything, are cut."""
SENTENCE_LIMIT = 4_000
"""Characters of a reason or a remedy: a statement that names a few things with long names."""
_TOO_DEEP = f"its members nest over {PATH_LIMIT} levels deep"
_OMISSIONS_LIMIT = 100
"""Fields of a collection of which it is said that they are left out: enough for a person to see what is going on."""
_KEYS_LIMIT = 1_000
_NAMES_LIMIT = 2**17
"""Characters of all the names of a collection's fields, which JSON may say with six bytes each: a frame holds them."""
_NAMESPACE_LIMIT = 8
_ON_DELETE = ("restrict", "cascade", "set_null", "set_default")


def ref_members(ref: CollectionRef) -> list[Any]:
    """A collection's name as JSON."""
    return [ref.name, dict(ref.namespace)]


def ref_of(value: Any) -> CollectionRef:
    """The name that `ref_members` made this of.

    Raises:
        ProtocolViolation, TypeError, ValueError: it did not.
    """
    name, namespace = value
    require(is_name(name) and isinstance(namespace, dict), "a collection has a name and what it is in")
    require(len(namespace) <= _NAMESPACE_LIMIT, "a collection is in few things")
    require(all(is_name(part) for item in namespace.items() for part in item), "what it is in has names")
    return CollectionRef(name, namespace)


def is_name(value: object) -> bool:
    """Whether `value` can be a name: some text within `NAME_LIMIT` that can be written as UTF-8."""
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LIMIT:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of_names(names: Any) -> Path:
    """The path of a list of names.

    Raises:
        ProtocolViolation: there is none.
    """
    fits = isinstance(names, list | tuple) and 0 < len(names) <= PATH_LIMIT and all(map(is_name, names))
    require(fits, f"a path has up to {PATH_LIMIT} names")
    return tuple(names)


def facts_of(info: CollectionInfo) -> dict[str, Any]:
    """What is known of a collection, as JSON. What is beyond the limits is left out, with the reason.

    Raises:
        ProtocolViolation: the connector gave what no collection can be.
        Exception: it gave something else altogether.
    """
    reason = info.left_out if info.left_out is None or _is_sentence(info.left_out) else "it is not for use"
    info = _shallow(info)
    reason = reason or _reason_against(info)
    if reason is not None:
        info = CollectionInfo(info.ref, (), kind=info.kind, left_out=reason)
    members = _members(info)
    collection_of(members)
    return members


def _shallow(info: CollectionInfo) -> CollectionInfo:
    """Without what nests too deeply, which is said of the fields that it is in."""
    deep = dict.fromkeys(found.path[:PATH_LIMIT] for found in info.fields if len(found.path) > PATH_LIMIT)
    if not deep:
        return info
    return replace(
        info,
        fields=tuple(found for found in info.fields if len(found.path) <= PATH_LIMIT),
        fields_left_out=(*info.fields_left_out, *((path, _TOO_DEEP) for path in deep)),
    )


def _members(info: CollectionInfo) -> dict[str, Any]:
    return {
        **vars(info),
        "ref": ref_members(info.ref),
        "fields": [[*vars(found).values()] for found in _cut(info.fields)],
        "foreign_keys": [[*(vars(key) | {"target": ref_members(key.target)}).values()] for key in info.foreign_keys],
        "primary_key": list(info.primary_key),
        "selectable": None if info.selectable is None else sorted(info.selectable),
        "fields_left_out": [[path[:PATH_LIMIT], reason] for path, reason in info.fields_left_out[:_OMISSIONS_LIMIT]],
    }


def _reason_against(info: CollectionInfo) -> str | None:
    if len(info.fields) > FIELDS_LIMIT:
        return f"more than {FIELDS_LIMIT} fields"
    paths = [found.path for found in info.fields]
    if not all(is_name(name) for path in paths for name in path):
        return f"a field without a name of 1 to {NAME_LIMIT} characters"
    if sum(len(name) for path in paths for name in path) > _NAMES_LIMIT:
        return f"names of more than {_NAMES_LIMIT} characters in all"
    return None


def _cut(found: tuple[FieldInfo, ...]) -> list[FieldInfo]:
    return [
        one if len(one.native) <= NATIVE_LIMIT else FieldInfo(**vars(one) | {"native": one.native[:NATIVE_LIMIT]})
        for one in found
    ]


def as_told(info: CollectionInfo) -> CollectionInfo:
    """A collection as it is once a session has told of it, within the limits of that.

    Raises:
        Exception: as `facts_of`.
    """
    return collection_of(facts_of(info))


def collection_of(members: dict[str, Any]) -> CollectionInfo:
    """The collection that `facts_of` made these of.

    Raises:
        ProtocolViolation, KeyError, TypeError, ValueError: it did not.
    """
    fields, keys, selectable = members["fields"], members["foreign_keys"], members["selectable"]
    require(isinstance(fields, list) and len(fields) <= FIELDS_LIMIT, f"a collection has {FIELDS_LIMIT} fields")
    require(isinstance(keys, list) and len(keys) <= _KEYS_LIMIT, f"a collection has {_KEYS_LIMIT} foreign keys")
    info = CollectionInfo(
        ref=ref_of(members["ref"]),
        fields=tuple(_field(*found) for found in fields),
        primary_key=_paths(members["primary_key"]),
        foreign_keys=tuple(_foreign_key(*key) for key in keys),
        rows=members["rows"],
        has_triggers=members["has_triggers"],
        kind=members["kind"],
        inferred=members["inferred"],
        selectable=None if selectable is None else frozenset(_paths(selectable)),
        left_out=members["left_out"],
        fields_left_out=tuple((path_of_names(path), reason) for path, reason in members["fields_left_out"]),
    )
    known = {found.path for found in info.fields}
    require(len(known) == len(info.fields), "a field has a place of its own")
    require(set(info.primary_key) <= known, "a key consists of fields")
    require(info.rows is None or is_count(info.rows), "rows are counted")
    require(_is_answer(info.has_triggers) and isinstance(info.inferred, bool), "a question has an answer")
    require(is_printable(info.kind, 40), "a collection is of a kind")
    require(info.left_out is None or _is_sentence(info.left_out), "a reason is a sentence")
    require(len(info.fields_left_out) <= _OMISSIONS_LIMIT, "few fields are left out")
    require(all(_is_sentence(reason) for _, reason in info.fields_left_out), "a reason is a sentence")
    return info


def _field(
    path: Any,
    kind: Any,
    native: Any,
    array: Any,
    nullable: Any,
    max_length: Any,
    unique: Any,
    generated: Any,
    indexed: Any,
    presence: Any,
) -> FieldInfo:
    require(isinstance(native, str) and len(native) <= NATIVE_LIMIT, f"a type has {NATIVE_LIMIT} characters")
    require(all(isinstance(answer, bool) for answer in (array, unique, generated)), "a question has an answer")
    require(_is_answer(nullable) and _is_answer(indexed), "a question has an answer")
    require(max_length is None or is_count(max_length), "a length is counted")
    is_share = isinstance(presence, int | float) and not isinstance(presence, bool) and 0 <= presence <= 1
    require(presence is None or is_share, "a share is between 0 and 1")
    names = path_of_names(path)
    return FieldInfo(names, Kind(kind), native, array, nullable, max_length, unique, generated, indexed, presence)


def _foreign_key(fields: Any, target: Any, target_fields: Any, on_delete: Any, deferrable: Any) -> ForeignKey:
    key = ForeignKey(_paths(fields), ref_of(target), _paths(target_fields), on_delete, deferrable)
    require(0 < len(key.fields) == len(key.target_fields), "a foreign key has as many fields as its target")
    require(on_delete in _ON_DELETE and isinstance(deferrable, bool), "a foreign key does something")
    return key


def _paths(value: Any) -> tuple[Path, ...]:
    require(isinstance(value, list | tuple) and len(value) <= FIELDS_LIMIT, "paths are few")
    return tuple(map(path_of_names, value))


def _is_sentence(value: object) -> bool:
    return is_printable(value, SENTENCE_LIMIT)


def _is_answer(value: object) -> bool:
    return value is None or isinstance(value, bool)


def privileges_members(found: Privileges) -> dict[str, Any]:
    """What an account may do, as JSON. A remedy that cannot be shown is left out.

    Raises:
        ProtocolViolation: the connector gave what no privileges can be.
        Exception: it gave something else altogether.
    """
    remedy = found.remedy if _is_sentence(found.remedy) else ""
    members = {**vars(found), "ref": ref_members(found.ref), "remedy": remedy}
    privileges_of(members)
    return members


def privileges_of(members: dict[str, Any]) -> Privileges:
    """The privileges that `privileges_members` made these of.

    Raises:
        ProtocolViolation, KeyError, TypeError, ValueError: it did not.
    """
    found = Privileges(**members | {"ref": ref_of(members["ref"])})
    if not all(map(_is_answer, (found.read, found.update, found.delete))):
        raise ProtocolViolation("a question has an answer")
    require(_is_sentence(found.remedy), "a remedy is a sentence")
    return found
