"""What every account of a service holds: the collections of a definition, and what the service is told of them.

They are facts of the vendor's, not of one account: what an account adds, such as custom fields, is not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from connectory.data import CollectionInfo, CollectionRef, FieldInfo, ForeignKey, Kind, Path
from connectory_saas.strict import Line, Mistake, Strict

_ARRAY = "[]"
_KINDS: Mapping[str, Kind] = {
    "string": Kind.STRING,
    "integer": Kind.INTEGER,
    "float": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "object": Kind.OBJECT,
    "any": Kind.ANY,
}


class FieldShape(Strict):
    """One field. Its type alone may stand in its place.

    Attributes:
        type: what its values are: `string`, `integer`, `float`, `boolean`, `object` or `any`; with `[]` a list of them.
        fields: the members of an `object`, where they are the same for everybody.
        refers_to: where the values are found, as the names of a collection and of a field in it with a dot between them.
    """

    type: Annotated[str, Field(pattern=rf"^({'|'.join(_KINDS)})(\[\])?$")]
    fields: dict[Line, FieldShape] = {}
    refers_to: Line | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_its_type(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class CollectionShape(Strict):
    """One collection.

    Attributes:
        key: the fields that tell one of its objects from another. Default: none.
        fields: its fields, in the order of the file.
    """

    key: tuple[Line, ...] = ()
    fields: dict[Line, FieldShape] = Field(min_length=1)


def collections_of(shapes: Mapping[str, CollectionShape]) -> tuple[CollectionInfo, ...]:
    """The collections, as the service is told of them."""
    return tuple(_collection(name, shape) for name, shape in shapes.items())


def _collection(name: str, shape: CollectionShape) -> CollectionInfo:
    found = dict(_walk(shape.fields, ()))
    return CollectionInfo(
        CollectionRef(name),
        tuple(_field(path, field) for path, field in found.items()),
        primary_key=tuple((part,) for part in shape.key),
        foreign_keys=tuple(_reference(path, field.refers_to) for path, field in found.items() if field.refers_to),
        kind="collection",
    )


def _walk(fields: Mapping[str, FieldShape], above: Path) -> Iterator[tuple[Path, FieldShape]]:
    for name, field in fields.items():
        path = (*above, name)
        yield path, field
        yield from _walk(field.fields, path)


def _field(path: Path, field: FieldShape) -> FieldInfo:
    kind = _KINDS[field.type.removesuffix(_ARRAY)]
    return FieldInfo(path, kind, field.type, array=field.type.endswith(_ARRAY))


def _reference(path: Path, there: str) -> ForeignKey:
    collection, _, field = there.partition(".")
    return ForeignKey((path,), CollectionRef(collection), ((field,),))


def mistakes_in(shapes: Mapping[str, CollectionShape]) -> Iterator[Mistake]:
    """What does not fit together: keys and references that name no field, and members of what is no object."""
    known = {f"{name}.{field}" for name, shape in shapes.items() for field in shape.fields}
    for name, shape in shapes.items():
        place = ("collections", name)
        if not set(shape.key) <= shape.fields.keys():
            yield (*place, "key"), "Names a field that the collection does not have."
        for path, field in _walk(shape.fields, ()):
            where = (*place, *(part for step in path for part in ("fields", step)))
            if field.fields and not field.type.startswith("object"):
                yield (*where, "fields"), "Only an object has members."
            if field.refers_to is not None and field.refers_to not in known:
                yield (*where, "refers_to"), "Names no collection and field of this definition, such as customer.id."
