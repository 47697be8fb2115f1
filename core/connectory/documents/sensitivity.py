"""What the type of a field says: whether it is sensitive, decides where the secrets go, or is an object of its own."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from connectory.contract.fields import Endpoint, Public, Role, Text
from connectory.contract.secrets import URL_FIELD, SecretGroup, Secrets

MASK = "**********"
"""What a stored sensitive value reads back as, and stands in the place of a name that is not repeated. Sent back as a value, it
means "unchanged"."""


def accepted_names(model: type[Secrets]) -> list[str]:
    """The names that may be submitted: the fields, and `url` where the class takes one."""
    return [*([URL_FIELD] if model.connectory_url is not None else []), *model.model_fields]


@cache
def field_names(model: type[Secrets]) -> tuple[str, ...]:
    """The names of the fields; `model_fields` itself is a property that takes microseconds, on every bulk request."""
    return tuple(model.model_fields)


@cache
def holds_secrets(model: type[Secrets], name: str) -> bool:
    """Whether anything in the field is sensitive."""
    if name == URL_FIELD and model.connectory_url is not None:
        return model.connectory_url.password is not None
    return name in model.model_fields and any(map(_is_secret, types_in(model.model_fields[name].annotation)))


@cache
def is_endpoint(model: type[Secrets], name: str) -> bool:
    """Whether anything in the field decides where the secrets go."""
    if name == URL_FIELD and model.connectory_url is not None:
        return True
    field = model.model_fields[name]
    places = [Annotated[field.annotation, *field.metadata, None]]
    places += [inner for found in types_in(field.annotation) for inner in _annotations(found)]
    return any(isinstance(mark, Endpoint) for place in places for mark in _marks(place))


@cache
def why_public(model: type[Secrets], name: str) -> str | None:
    """The reason for which a field is declared public, whatever its name; `None` where it is not."""
    field = model.model_fields[name]
    marks = _marks(Annotated[field.annotation, *field.metadata, None])
    return next((mark.reason for mark in marks if isinstance(mark, Public)), None)


@cache
def role_mark(model: type[Secrets], name: str) -> Role | None:
    """What a field is declared to be for; `None` where nothing says so."""
    field = model.model_fields[name]
    marks = _marks(Annotated[field.annotation, *field.metadata, None])
    return next((mark for mark in marks if isinstance(mark, Role)), None)


# A private key and a certificate are told by their frames: nothing else of theirs has several lines.
_SEVERAL_LINES = (
    "several\nlines",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
)


@cache
def takes_lines(model: type[Secrets], name: str) -> bool:
    """Whether the field is a text that may have several lines: its `Text` names line breaks, and accepts them."""
    field = model.model_fields[name]
    marks = _marks(Annotated[field.annotation, *field.metadata, None])
    patterns = [mark.whole_pattern for mark in marks if isinstance(mark, Text)]
    # Compiling the patterns of all connectors would take a tenth of the time that loading them does.
    named = any(line_break in pattern for pattern in patterns for line_break in (r"\n", r"\s"))
    return named and any(all(re.fullmatch(pattern, text) for pattern in patterns) for text in _SEVERAL_LINES)


def _marks(annotation: Any) -> Iterator[Any]:
    """What annotates a type, the outermost first: who uses a type has the last word."""
    if get_origin(annotation) is Annotated:
        yield from reversed(annotation.__metadata__)
    for argument in get_args(annotation):
        yield from _marks(argument)


@cache
def is_sensitive(model: type[Secrets], name: str) -> bool:
    """Whether the field as a whole is sensitive, by its type. An unknown name counts as sensitive."""
    if name not in model.model_fields:
        return True
    annotation = model.model_fields[name].annotation
    return _nested_object(annotation) is None and any(map(_is_secret, types_in(annotation)))


@cache
def nested_model(model: type[Secrets], name: str) -> type[Secrets] | None:
    """The model of a field that is one nested object."""
    return _nested_object(model.model_fields[name].annotation)


def _is_secret(found: type) -> bool:
    return issubclass(found, SecretStr | SecretBytes | Secret | SecretGroup)


def types_in(annotation: Any, seen: set[type] | None = None) -> Iterator[type]:
    """Every class that `annotation` names, at any depth: in generics, in unions, and as a field of another class."""
    seen = set() if seen is None else seen
    if hasattr(annotation, "__value__"):  # PEP 695: `type Token = SecretStr`
        yield from types_in(annotation.__value__, seen)
    for candidate in (get_origin(annotation), annotation):
        if isinstance(candidate, type) and candidate not in seen:
            seen.add(candidate)
            yield candidate
            for inner in _annotations(candidate):
                yield from types_in(inner, seen)
    for argument in get_args(annotation):
        yield from types_in(argument, seen)


def _annotations(found: type) -> Iterator[Any]:
    """The types of the fields of a class that has some: a model, a dataclass, a typed dictionary, a named tuple."""
    if issubclass(found, BaseModel):
        for field in found.model_fields.values():
            yield Annotated[field.annotation, *field.metadata, None]  # None: there must be at least one mark
    elif dataclasses.is_dataclass(found) or is_typeddict(found) or hasattr(found, "_fields"):
        yield from get_type_hints(found, include_extras=True).values()


def _nested_object(annotation: Any) -> type[Secrets] | None:
    """The model of a field that is one nested object, sensitive or not in its parts."""
    if get_origin(annotation) is Annotated:
        return _nested_object(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _nested_object(members[0]) if len(members) == 1 else None
    is_object = isinstance(annotation, type) and issubclass(annotation, Secrets)
    return annotation if is_object and not issubclass(annotation, SecretGroup) else None
