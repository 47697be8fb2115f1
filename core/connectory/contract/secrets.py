"""Secrets: the fields a connection needs, and which of them are sensitive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from connectory.contract.fields import decimal
from connectory.contract.urls import UrlGrammar, UrlInvalid
from connectory.contract.wording import in_plain_words, is_pydantics_own

URL_FIELD = "url"

URL_MAX_LENGTH = 2048


class Secrets(BaseModel):
    """Base of every secret schema. Declare the fields with the types of this package, in the order to show them.

    A field is sensitive when its type is: `SecretText`, `SecretStr` at any depth, or a model derived from `SecretGroup`.
    In a single nested `Secrets` object only its own sensitive fields are; a list or any other holder of sensitive values
    is sensitive as a whole.
    Unknown fields are refused. Values are not coerced, with two leniencies: `null` means absent, and a decimal string is
    taken for an integer.

    A class that declares `connectory_url` also accepts one `url` instead of the parts that the grammar names, never both.
    Once validated, an instance always has the parts.

    >>> from connectory import Host, Port, Secrets, SecretText
    >>> class LedgerSecrets(Secrets):
    ...     host: Host
    ...     port: Port = 7000
    ...     token: SecretText
    >>> LedgerSecrets.model_validate({"host": "ledger.example", "token": "abc"}).port
    7000
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    connectory_url: ClassVar[UrlGrammar | None] = None
    """The grammar of the `url` that is accepted instead of the parts. Default: no url."""

    connectory_exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of optional fields, such as `("password", "private_key")`: of each, exactly one must be given, be it in a url
    (there, only its password and its query count). Default: none."""

    connectory_plain_properties: ClassVar[bool] = False
    """Whether the JSON Schema keeps the properties of texts to title, type and default, as older consumers know them, and says
    in a top-level `allOf` what the texts may hold. Default: each property says so itself."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_every_problem(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate, and tell what is wrong with the whole together with what is wrong with each field."""
        if not isinstance(data, Mapping):
            raise PydanticCustomError("dict_type", "The secrets must be a JSON object.")
        given = dict(data)
        if None in given.values():
            given = {name: value for name, value in given.items() if value is not None}
        for name in integer_fields(cls) & given.keys():
            given[name] = decimal(given[name])
        parts, problems, covered = cls._with_parts_of_url(given)
        if not problems or URL_FIELD not in given:  # a url that cannot be read may hold the password
            problems += cls._unless_exactly_one(parts)
        try:
            secrets = validate(parts)
        except ValidationError as error:
            problems += [
                _problem(found["loc"], found["type"], cls._message(found))
                for found in error.errors(include_url=False, include_input=False)
                if not (found["type"] == "missing" and found["loc"][0] in covered)
            ]
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems, hide_input=True)
        return secrets

    @classmethod
    def _message(cls, error: ErrorDetails) -> str:
        if len(error["loc"]) == 1 and error["type"] in _NOT_AN_INTEGER and is_pydantics_own(error):
            name = str(error["loc"][0])
            if name in integer_fields(cls):
                return _integer_rule(cls, name)
        return in_plain_words(error)

    @classmethod
    def _with_parts_of_url(
        cls, given: dict[str, Any]
    ) -> tuple[dict[str, Any], list[InitErrorDetails], frozenset[str] | set[str]]:
        """What was given with the parts of its url in place of it, what is wrong with that, and the fields already told of."""
        grammar = cls.connectory_url
        if grammar is None:
            return given, [], frozenset()
        if URL_FIELD not in given:
            lacking = sorted(_needed_parts(cls) - given.keys())
            if not lacking:
                return given, [], frozenset()
            message = f"Must be supplied a 'url' or all of: [{', '.join(lacking)}]."
            return given, [_problem((name,), "missing_parts", message) for name in lacking], set(lacking)
        required = grammar.needed_in_url(required_fields(cls))
        url, beside = given[URL_FIELD], {name: value for name, value in given.items() if name != URL_FIELD}
        if both := sorted(grammar.fields & beside.keys()):
            message = "Must be supplied a 'url' or the parts, not both: " + ", ".join(both)
            return beside, [_problem((URL_FIELD,), "url_and_parts", message)], required
        try:
            parts = _parsed(grammar, url)
        except UrlInvalid as problem:
            return beside, [_problem((URL_FIELD,), "url_invalid", str(problem))], required
        problems = [
            _problem((name,), "url_and_parts", f"Stands in the url's query too: {name}")
            for name in sorted(parts.keys() & beside.keys())
        ]
        if lacking := sorted(required - parts.keys() - beside.keys()):
            problems.append(_problem((URL_FIELD,), "url_invalid", f"The url lacks a part: {', '.join(lacking)}."))
        return beside | parts, problems, required

    @classmethod
    def _unless_exactly_one(cls, parts: Mapping[str, Any]) -> list[InitErrorDetails]:
        return [
            _problem((group[0],), "exactly_one", "Must be supplied exactly one of: " + ", ".join(group))
            for group in cls.connectory_exactly_one
            if sum(name in parts for name in group) != 1
        ]


class SecretGroup(Secrets):
    """A nested object that is sensitive as a whole, such as the content of a key file."""


@cache
def required_fields(model: type[Secrets]) -> frozenset[str]:
    """The fields without a default."""
    return frozenset(name for name, field in model.model_fields.items() if field.is_required())


@cache
def _needed_parts(model: type[Secrets]) -> frozenset[str]:
    """The fields that must be given where no url is."""
    grammar = model.connectory_url
    return frozenset(grammar.needed_parts(required_fields(model))) if grammar is not None else frozenset()


@cache
def integer_fields(model: type[Secrets]) -> frozenset[str]:
    """The fields that hold one integer."""
    return frozenset(name for name, field in model.model_fields.items() if _is_integer(field.annotation))


def _is_integer(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_integer(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return all(member is NoneType or _is_integer(member) for member in get_args(annotation))
    return annotation is int


_NOT_AN_INTEGER = frozenset(
    {"int_type", "int_parsing", "int_parsing_size", "int_from_float", "greater_than_equal", "less_than_equal"}
)


@cache
def _integer_rule(model: type[Secrets], name: str) -> str:
    """What an integer must be, with both its limits: whoever misses one should not have to find out about the other."""
    field = model.model_fields[name]
    marks = list(_marks(Annotated[field.annotation, *field.metadata, None]))
    low = next((mark.ge for mark in marks if isinstance(mark, Ge)), None)
    high = next((mark.le for mark in marks if isinstance(mark, Le)), None)
    if low is not None and high is not None:
        return f"Must be an integer from {low} to {high}."
    limit = f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""
    return f"Must be an integer{limit}."


def _marks(annotation: Any) -> Iterator[Any]:
    """What annotates a type, at any depth."""
    for mark in getattr(annotation, "__metadata__", ()):
        yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)
    for argument in get_args(annotation):
        yield from _marks(argument)


def _parsed(grammar: UrlGrammar, url: Any) -> dict[str, Any]:
    if isinstance(url, SecretStr):
        url = url.get_secret_value()
    if not isinstance(url, str) or not 1 <= len(url) <= URL_MAX_LENGTH:
        raise UrlInvalid(f"The url must be a string of 1 to {URL_MAX_LENGTH} characters.")
    return grammar.parse(url)


def _problem(loc: tuple[int | str, ...], kind: str, message: str) -> InitErrorDetails:
    error = PydanticCustomError(kind, message)
    return InitErrorDetails(type=error, loc=loc, input=None)  # the input would only be hidden again
