"""The closed list of what may not fit, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from connectory.contract.data import Path


class Code(StrEnum):
    """What does not fit. The list is closed: these are also the words that a caller chooses from.

    Attributes:
        COLLECTION_MISSING: the dataset has a collection that is not there.
        COLLECTION_UNKNOWN: there is a collection that the dataset does not have.
        FIELD_MISSING: the dataset has a field that is not there.
        FIELD_UNKNOWN: there is a field that the dataset does not have.
        TYPE_CHANGED: a field's values are of another type than the dataset says.
        KEY_CHANGED: the primary key is another one.
        NOT_NULLABLE: a field cannot be emptied any more; when it was looked at last, it could be.
        LENGTH_SHORTER: a field takes fewer characters than the dataset says.
        FK_UNANNOTATED: a foreign key is not a reference in the dataset, so that requests do not follow it.
    """

    COLLECTION_MISSING = "collection_missing"
    COLLECTION_UNKNOWN = "collection_unknown"
    FIELD_MISSING = "field_missing"
    FIELD_UNKNOWN = "field_unknown"
    TYPE_CHANGED = "type_changed"
    KEY_CHANGED = "key_changed"
    NOT_NULLABLE = "not_nullable"
    LENGTH_SHORTER = "length_shorter"
    FK_UNANNOTATED = "fk_unannotated"


Severity = Literal["error", "warning"]
"""`error`: a request on the dataset fails, or does the wrong thing. `warning`: it may miss something."""


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit. It holds names, and never a value.

    Attributes:
        severity: `error` or `warning`.
        collection: the collection's name.
        field: the field's place; `None` where the finding is about the collection.
        message: what is different, for people.
        remedy: what to do about it, for people.
    """

    code: Code
    severity: Severity
    collection: str
    message: str
    remedy: str
    field: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON values; without `field` where the finding is about the collection."""
        place = {} if self.field is None else {"field": shown_path(self.field)}
        return {
            "code": self.code.value,
            "severity": self.severity,
            "collection": self.collection,
            **place,
            "message": self.message,
            "remedy": self.remedy,
        }


def shown_path(path: Path) -> str | list[str]:
    """A field's place as text with dots, and as a list where a name holds a dot, so that no two places look the same.

    >>> from connectory.drift.codes import shown_path
    >>> shown_path(("address", "zip")), shown_path(("address.zip",))
    ('address.zip', ['address.zip'])
    """
    return list(path) if any("." in name for name in path) else ".".join(path)
