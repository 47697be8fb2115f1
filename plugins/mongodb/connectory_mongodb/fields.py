"""The fields of a collection, as far as documents show them. MongoDB states none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectory.data import FieldInfo, Kind, Path
from connectory_mongodb.values import members_of, type_of

MOST_MEMBERS = 500
"""Different members of an object in a document. One that has more is a table by keys, and these may be personal data."""
_MOST_FIELDS = 5_000
"""Fields that are kept in mind; a collection may tell 4,096."""
_LONGEST_NAME = 1_024
"""Characters that a field's name may have here. MongoDB sets no limit, and takes an empty name too."""
_TABLE = f"it has more than {MOST_MEMBERS} different members"
_UNNAMED = f"a name must have 1 to {_LONGEST_NAME} characters"
_ID = "_id"


@dataclass
class _Seen:
    """What was seen of one field, or of a whole document.

    Attributes:
        types: kinds and BSON's names of them, without that of the empty value; of arrays those of the elements.
        shapes: whether it was an array.
        empty: whether it was empty.
        documents: how many have it.
        last: the number of the last one that has it.
        members: of it as an object.
        left_out: why its members are not kept in mind.
    """

    types: set[tuple[Kind, str]] = field(default_factory=set)
    shapes: set[bool] = field(default_factory=set)
    empty: bool = False
    documents: int = 0
    last: int = 0
    members: dict[str, _Seen] = field(default_factory=dict)
    left_out: str | None = None

    @property
    def size(self) -> int:
        return len(self.members) + sum(member.size for member in self.members.values())


class Sample:
    """Looks at documents, one after another, and keeps what their fields are, and no value."""

    def __init__(self) -> None:
        self._all = _Seen()
        self._size = 0
        self._unnamed: dict[Path, str] = {}

    @property
    def documents(self) -> int:
        """How many it has looked at."""
        return self._all.documents

    def add(self, document: Mapping[str, Any]) -> None:
        """Look at one document."""
        self._all.documents += 1
        self._look_inside(self._all, document, ())

    def fields(self, indexes: list[Mapping[str, Any]] | None, *, keyed: bool = True) -> tuple[FieldInfo, ...]:
        """The fields: `_id`, then the others by name, an object before its members.

        Args:
            indexes: what the server says of the collection's indexes; `None` where it does not say.
            keyed: whether `_id` is a key, as it is but in time series.
        """
        return tuple(self._info(path, seen, indexes, keyed) for path, seen in _walk(self._all, ()))

    @property
    def left_out(self) -> tuple[tuple[Path, str], ...]:
        """Fields that are not told, or whose members are not, with the reasons."""
        closed = {path: seen.left_out for path, seen in _walk(self._all, ()) if seen.left_out is not None}
        return tuple(sorted((closed | self._unnamed).items()))

    def _look_inside(self, seen: _Seen, members: Mapping[str, Any], path: Path) -> None:
        for name, value in members.items():
            if not 0 < len(name) <= _LONGEST_NAME:
                self._unnamed[(*path, name[:_LONGEST_NAME] or '""')] = _UNNAMED
                continue
            member = self._member(seen, name, is_document=not path)
            if member is not None:
                self._look_at(member, value, (*path, name))

    def _member(self, seen: _Seen, name: str, *, is_document: bool) -> _Seen | None:
        known = seen.members.get(name)
        if known is not None or seen.left_out is not None or self._size >= _MOST_FIELDS:
            return known
        if len(seen.members) >= MOST_MEMBERS and not is_document:
            self._size -= seen.size
            seen.members, seen.left_out = {}, _TABLE
            return None
        self._size += 1
        return seen.members.setdefault(name, _Seen())

    def _look_at(self, seen: _Seen, value: Any, path: Path) -> None:
        if seen.last != self._all.documents:
            seen.last = self._all.documents
            seen.documents += 1
        if value is None:
            seen.empty = True
            return
        seen.shapes.add(isinstance(value, list))
        for element in value if isinstance(value, list) else (value,):
            if element is None:
                continue
            seen.types.add((Kind.ANY, "array") if isinstance(element, list) else type_of(element))
            members = members_of(element)
            if members is not None:
                self._look_inside(seen, members, path)

    def _info(self, path: Path, seen: _Seen, indexes: list[Mapping[str, Any]] | None, keyed: bool) -> FieldInfo:
        kinds = {kind for kind, _ in seen.types}
        named = " | ".join(sorted({name for _, name in seen.types})) or "null"
        is_key = keyed and path == (_ID,)
        lacking = seen.empty or seen.documents < self.documents
        return FieldInfo(
            path,
            kinds.pop() if len(kinds) == 1 and len(seen.shapes) == 1 else Kind.ANY,
            f"array of {named}" if True in seen.shapes else named,
            array=seen.shapes == {True},
            nullable=False if is_key and not lacking else True if lacking else None,
            unique=is_key or _is_unique(path, indexes or ()),
            indexed=True if is_key else None if indexes is None else _is_indexed(path, indexes),
            presence=round(seen.documents / self.documents, 4),
        )


def _walk(seen: _Seen, above: Path) -> Iterator[tuple[Path, _Seen]]:
    for name, member in sorted(seen.members.items(), key=lambda item: (bool(above) or item[0] != _ID, item[0])):
        path = (*above, name)
        yield path, member
        yield from _walk(member, path)


def _is_unique(path: Path, indexes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an index over all documents lets no two have the same value."""
    return any(
        list(index["key"]) == [_dotted(path)] and index.get("unique") and "partialFilterExpression" not in index
        for index in indexes
    )


def _is_indexed(path: Path, indexes: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the server finds a value without looking at all documents: by an index that begins with the field."""
    return any(
        next(iter(index["key"].items())) in {(_dotted(path), way) for way in (1, -1, "hashed")}
        and not index.keys() & {"partialFilterExpression", "collation", "hidden"}
        for index in indexes
    )


def _dotted(path: Path) -> str | None:
    """How indexes spell a place; `None` where they cannot."""
    return None if any("." in name for name in path) else ".".join(path)
