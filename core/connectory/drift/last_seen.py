"""What was there when a connection was looked at last, as far as a later comparison needs it.

>>> from connectory.drift.last_seen import last_seen
>>> answer = {"nullable": [{"collection": "customer", "namespace": {"schema": "public"}, "fields": ["email"]}]}
>>> [info] = last_seen({"fides_key": "shop", "fides_meta": {"namespace": {"schema": "public"}}}, [answer])
>>> info.ref.name, [field.path for field in info.fields if field.nullable]
('customer', [('email',)])
"""

from __future__ import annotations

from collections.abc import Iterable

from connectory.contract.data import CollectionInfo, CollectionRef, FieldInfo, Kind
from connectory.drift.stored import Json, in_namespace_of, names_of


def last_seen(dataset: Json, answers: Iterable[Json]) -> list[CollectionInfo]:
    """The collections of the dataset's namespace, each with the fields that could be empty and no others.

    Args:
        answers: of discoveries, the newest first. Those that failed, or did not look into the namespace, say nothing of it.
    """
    for answer in answers:
        found = in_namespace_of(dataset, map(_collection, answer.get("nullable", ())))
        if found:
            return found
    return []


def _collection(entry: Json) -> CollectionInfo:
    fields = tuple(FieldInfo(names_of(shown), Kind.ANY, "", nullable=True) for shown in entry["fields"])
    return CollectionInfo(CollectionRef(entry["collection"], entry["namespace"]), fields)
