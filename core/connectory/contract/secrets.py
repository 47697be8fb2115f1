"""Secrets: the fields a connection needs, which of them are sensitive, and the JSON Schema that says so truthfully."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import (
    Annotated,
    Any,
    ClassVar,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from connectory.contract.fields import Endpoint
from connectory.contract.urls import UrlGrammar, UrlInvalid

MASK = "**********"
"""What a stored sensitive value reads back as. Sent back, it means "unchanged"."""

URL_FIELD = "url"
URL_MAX_LENGTH = 2048

MAX_DEPTH = 32
"""Levels of objects and lists that secrets may nest. Walking values and validating them is recursive, so that a few
hundred kilobytes of brackets would exhaust the interpreter's stack; no key file nests more than a few levels."""
MAX_PROBLEMS = 50
"""Problems that one `SecretsInvalid` lists: enough for any form, and no answer grows with a hostile request."""


class Secrets(BaseModel):
    """Base of every secret schema. Declare the fields with the types of this package, in the order to show them.

    A field is sensitive when its type is: `SecretText`, `SecretStr` at any depth, or a model derived from `SecretGroup`.
    Of a single nested `Secrets` object only its own sensitive fields are; a list or any other holder of sensitive values
    is sensitive as a whole.
    Unknown fields are refused. Values are not coerced, with two leniencies: `null` means absent, and a decimal string is
    taken for an integer.

    A class that declares `connectory_url` also accepts one `url` instead of the parts that the grammar names, never both.
    Once validated, an instance always has the parts.

    >>> from connectory import Host, Port, Secrets, SecretText
    >>> from connectory.contract.secrets import parse_secrets
    >>> class LedgerSecrets(Secrets):
    ...     host: Host
    ...     port: Port = 7000
    ...     token: SecretText
    >>> parse_secrets(LedgerSecrets, {"host": "ledger.example", "token": "abc"}).port
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

    @model_validator(mode="before")
    @classmethod
    def _absent_and_url(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise PydanticCustomError("dict_type", "The secrets must be a JSON object.")
        parts = cls._with_parts_of_url({name: value for name, value in data.items() if value is not None})
        for group in cls.connectory_exactly_one:
            if sum(name in parts for name in group) != 1:
                raise PydanticCustomError("exactly_one", "Must be supplied exactly one of: " + ", ".join(group))
        return parts

    @classmethod
    def _with_parts_of_url(cls, given: dict[str, Any]) -> dict[str, Any]:
        grammar = cls.connectory_url
        if grammar is None or URL_FIELD not in given:
            if grammar is not None and (lacking := (grammar.required | grammar.required_parts) - given.keys()):
                missing = ", ".join(sorted(lacking))
                raise PydanticCustomError("missing_parts", "Must be supplied a 'url' or all of: [" + missing + "].")
            return given
        url = given.pop(URL_FIELD)
        if isinstance(url, SecretStr):
            url = url.get_secret_value()
        both = sorted(grammar.fields & given.keys())
        if both:
            raise PydanticCustomError(
                "url_and_parts", "Must be supplied a 'url' or the parts, not both: " + ", ".join(both)
            )
        if not isinstance(url, str) or not 1 <= len(url) <= URL_MAX_LENGTH:
            raise PydanticCustomError("url_invalid", f"The url must be a string of 1 to {URL_MAX_LENGTH} characters.")
        try:
            parts = grammar.parse(url)
        except UrlInvalid as problem:
            raise PydanticCustomError("url_invalid", str(problem)) from None
        twice = sorted(parts.keys() & given.keys())
        if twice:
            raise PydanticCustomError("url_and_parts", "Stands in the url's query too: " + ", ".join(twice))
        return given | parts


class SecretGroup(Secrets):
    """A nested object that is sensitive as a whole, such as the content of a key file."""


SecretsT = TypeVar("SecretsT", bound=Secrets)
Document = dict[str, Any]
"""Validated secrets as plain JSON values, sensitive ones included: what is sealed, and what a test receives."""


class FieldProblem(TypedDict):
    """What is wrong with one field: `loc` from the secrets' root, our own `msg`, and a stable `type`."""

    loc: list[str | int]
    msg: str
    type: str


class SecretsInvalid(ValueError):
    """Secrets do not fit their schema.

    Attributes:
        problems: one entry per problem. None holds a submitted value, or a field name that the schema does not know.
    """

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, p['loc'])) or 'secrets'}: {p['msg']}" for p in problems))
        self.problems = problems


def parse_secrets(model: type[SecretsT], payload: Any) -> SecretsT:
    """Validate `payload` (plain JSON values) against `model`.

    Raises:
        SecretsInvalid: with every problem found.
    """
    _refuse_depth(payload)
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        problems = list(islice(_problems(error, model, payload), MAX_PROBLEMS))
    except Exception as error:  # a plugin's own validator may raise anything; its text may hold the value
        message = f"The connector could not judge the secrets ({type(error).__name__}); report it to its authors."
        problems = [FieldProblem(loc=[], msg=message, type="validator_failed")]
    raise SecretsInvalid(problems)


def _refuse_depth(payload: Any) -> None:
    level = [payload]
    for _ in range(MAX_DEPTH + 1):
        level = [child for value in level for child in _children(value) if not isinstance(child, str | int)]
        if not level:
            return
    message = f"The secrets are nested too deeply; at most {MAX_DEPTH} levels are accepted."
    raise SecretsInvalid([FieldProblem(loc=[], msg=message, type="recursion")])


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict | Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def secrets_document(model: type[Secrets], payload: Any) -> Document:
    """Validate `payload` and return what was submitted in its canonical form, in plain text: the input of the vault.

    A `url` stays a url; absent and `null` fields stay absent; defaults are not filled in.

    Raises:
        SecretsInvalid: with every problem found.
    """
    parsed = parse_secrets(model, payload)
    submitted = {name for name, value in payload.items() if value is not None}
    document = {name: _reveal(getattr(parsed, name)) for name in _field_names(model) if name in submitted}
    if model.connectory_url is not None and URL_FIELD in submitted:
        document = {URL_FIELD: payload[URL_FIELD]} | document
    return document


def _reveal(value: Any) -> Any:
    """The plain JSON value of a field. The only place that takes sensitive values out of their wrapper to store them."""
    if isinstance(value, SecretStr | Secret):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return {
            name: _reveal(getattr(value, name)) for name in type(value).model_fields if name in value.model_fields_set
        }
    if isinstance(value, list | tuple):
        return [_reveal(item) for item in value]
    if isinstance(value, dict):
        return {name: _reveal(item) for name, item in value.items()}
    return value


def mask_document(model: type[Secrets], document: Document) -> Document:
    """`document` as it may be shown: sensitive values replaced by `MASK`, a url with its password replaced."""
    return {name: _masked(model, name, value) for name, value in document.items()}


def _masked(model: type[Secrets], name: str, value: Any) -> Any:
    if name == URL_FIELD and model.connectory_url is not None:
        return model.connectory_url.mask(value, MASK)
    if _is_sensitive(model, name):
        return MASK
    nested = _nested_model(model, name)
    return mask_document(nested, value) if nested is not None and isinstance(value, dict) else value


def sensitive_texts(model: type[Secrets], document: Document) -> list[str]:
    """Every sensitive text in `document`, at any depth: what must never be seen outside of it."""
    found: list[str] = []
    for name, value in document.items():
        if name == URL_FIELD and model.connectory_url is not None:
            grammar = model.connectory_url
            found += [value] if value != grammar.mask(value, MASK) else []
            found += [text for text in [grammar.parse(value).get(grammar.password or "")] if text]
        elif _is_sensitive(model, name):
            found += list(_texts(value))
        else:
            nested = _nested_model(model, name)
            if nested is not None and isinstance(value, dict):
                found += sensitive_texts(nested, value)
    return found


def merge_documents(model: type[Secrets], submitted: Any, stored: Document | None, *, replace: bool) -> dict[str, Any]:
    """What a request means, given what is stored: masked values filled in, and for a merge the rest kept.

    The result still has to be validated.

    Args:
        submitted: the request's body. A value that equals its mask means "unchanged"; `null` removes a field.
        stored: the stored document, or `None`.
        replace: `True` replaces the document, `False` merges into it. With neither stored, both are the same.

    Raises:
        SecretsInvalid: `submitted` is no object; a mask was sent where nothing is stored; or a field that decides where
            the secrets go changes while a stored sensitive value would be kept.
    """
    if not isinstance(submitted, Mapping):
        raise SecretsInvalid([FieldProblem(loc=[], msg="The secrets must be a JSON object.", type="dict_type")])
    _refuse_depth(submitted)
    if not stored and not _holds_mask(submitted):
        return dict(submitted)
    stored = stored or {}
    shown = mask_document(model, stored)
    unchanged = {name for name, value in submitted.items() if _holds_mask(value) and shown.get(name) == value}
    orphans = [
        name
        for name, value in submitted.items()
        if name not in unchanged and MASK in _texts(value) and _holds_secrets(model, name)
    ]
    if orphans:
        message = "No stored value to keep: the masked value cannot be stored."
        raise SecretsInvalid([FieldProblem(loc=[name], msg=message, type="masked_value") for name in orphans])
    if URL_FIELD in submitted and URL_FIELD not in unchanged and f":{MASK}@" in str(submitted[URL_FIELD]):
        message = "The url changes, so its password must be sent again."
        raise SecretsInvalid([FieldProblem(loc=[URL_FIELD], msg=message, type="secrets_required")])
    kept = {} if replace else dict(stored)
    merged = kept | {name: stored[name] if name in unchanged else value for name, value in submitted.items()}
    _require_fresh_secrets(model, merged, stored, fresh={name for name in submitted if name not in unchanged})
    return merged


def _require_fresh_secrets(
    model: type[Secrets], merged: Mapping[str, Any], stored: Document, *, fresh: set[str]
) -> None:
    """Refuse a change of endpoint that would carry stored sensitive values along."""
    changed = [name for name in _names(model) if _is_endpoint(model, name) and _differs(model, name, merged, stored)]
    carried = [
        name
        for name in stored
        if name not in fresh and _holds_secrets(model, name) and merged.get(name) is not None and name not in changed
    ]
    if changed and carried:
        message = f"Must be sent again, because {', '.join(changed)} changes: stored secrets do not follow to another endpoint."
        raise SecretsInvalid([FieldProblem(loc=[name], msg=message, type="secrets_required") for name in carried])


def _differs(model: type[Secrets], name: str, merged: Mapping[str, Any], stored: Document) -> bool:
    default = model.model_fields[name].default if name in model.model_fields else None
    before, after = (value.get(name) if value.get(name) is not None else default for value in (stored, merged))
    return str(before) != str(after)


def _holds_mask(value: Any) -> bool:
    return any(MASK in text for text in _texts(value))


def _names(model: type[Secrets]) -> list[str]:
    return [*([URL_FIELD] if model.connectory_url is not None else []), *model.model_fields]


@cache
def _field_names(model: type[Secrets]) -> tuple[str, ...]:
    """The names of the fields; `model_fields` itself is a property that takes microseconds, on every bulk request."""
    return tuple(model.model_fields)


@cache
def _holds_secrets(model: type[Secrets], name: str) -> bool:
    """Whether anything in the field is sensitive."""
    if name == URL_FIELD and model.connectory_url is not None:
        return model.connectory_url.password is not None
    return name in model.model_fields and any(map(_is_secret, _types(model.model_fields[name].annotation)))


@cache
def _is_endpoint(model: type[Secrets], name: str) -> bool:
    """Whether anything in the field decides where the secrets go."""
    if name == URL_FIELD and model.connectory_url is not None:
        return True
    field = model.model_fields[name]
    places = [Annotated[field.annotation, *field.metadata, None]]
    places += [inner for found in _types(field.annotation) for inner in _annotations(found)]
    return any(isinstance(mark, Endpoint) for place in places for mark in _marks(place))


def _marks(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for argument in get_args(annotation):
        yield from _marks(argument)


@cache
def _is_sensitive(model: type[Secrets], name: str) -> bool:
    """Whether the field as a whole is sensitive, by its type; of a name that is no field, nothing is known, so it is."""
    if name not in model.model_fields:
        return True
    annotation = model.model_fields[name].annotation
    return _nested_object(annotation) is None and any(map(_is_secret, _types(annotation)))


@cache
def _nested_model(model: type[Secrets], name: str) -> type[Secrets] | None:
    """The model of a field that is one nested object."""
    return _nested_object(model.model_fields[name].annotation)


def _is_secret(found: type) -> bool:
    return issubclass(found, SecretStr | SecretBytes | Secret | SecretGroup)


def _types(annotation: Any, seen: set[type] | None = None) -> Iterator[type]:
    """Every class that `annotation` names, at any depth: in generics, in unions, and as a field of another class."""
    seen = set() if seen is None else seen
    if hasattr(annotation, "__value__"):  # PEP 695: `type Token = SecretStr`
        yield from _types(annotation.__value__, seen)
    for candidate in (get_origin(annotation), annotation):
        if isinstance(candidate, type) and candidate not in seen:
            seen.add(candidate)
            yield candidate
            for inner in _annotations(candidate):
                yield from _types(inner, seen)
    for argument in get_args(annotation):
        yield from _types(argument, seen)


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


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    for child in _children(value):
        yield from _texts(child)


# Kinds of errors whose message never holds the value, neither ours nor pydantic's.
_CONSTANT = frozenset(
    {
        "dict_type",
        "enum",
        "exactly_one",
        "int_type",
        "missing",
        "missing_parts",
        "string_length",
        "string_pattern_mismatch",
    }
    | {"string_type", "url_and_parts", "url_invalid"}
)


def _problems(error: ValidationError, model: type[Secrets], payload: Any) -> Iterator[FieldProblem]:
    known = {name for found in _types(model) if issubclass(found, BaseModel) for name in found.model_fields} | {
        URL_FIELD
    }
    submitted = list(_repeatable(model, payload))
    unknown: dict[tuple[str | int, ...], list[str]] = {}
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        if found["type"] == "extra_forbidden":
            unknown.setdefault(found["loc"][:-1], []).append(str(found["loc"][-1]))
            continue
        loc = [part for part in found["loc"] if isinstance(part, int) or part in known]
        if found["type"] == "url_invalid":
            loc.append(URL_FIELD)
        # A plugin's own validator may repeat the value; ours never do, and hold words that a value may be by chance.
        repeats = found["type"] not in _CONSTANT and any(text in found["msg"] for text in submitted)
        yield FieldProblem(loc=loc, msg="The value is not accepted." if repeats else found["msg"], type=found["type"])
    for place, names in unknown.items():
        loc = [part for part in place if isinstance(part, int) or part in known]
        yield FieldProblem(loc=loc, msg=_unknown_field(_model_at(model, place), names), type="extra_forbidden")


def _repeatable(model: type[Secrets], payload: Any) -> Iterator[str]:
    """The submitted values as a message could repeat them, the parts of a url included; too short ones are everywhere."""
    values = list(_scalars(payload))
    grammar = model.connectory_url
    if grammar is not None and isinstance(payload, Mapping) and isinstance(payload.get(URL_FIELD), str):
        with contextlib.suppress(UrlInvalid):
            values += _scalars(grammar.parse(payload[URL_FIELD]))
    for value in values:
        if len(str(value)) > 3:
            yield str(value)
            yield repr(value).strip("'\"")


def _scalars(value: Any) -> Iterator[str | float]:
    if isinstance(value, str | float | int):
        yield value
    for child in _children(value):
        yield from _scalars(child)


def _model_at(model: type[Secrets], place: tuple[str | int, ...]) -> type[Secrets] | None:
    """The model of the nested object at `place`, where it is one."""
    found: type[Secrets] | None = model
    for part in place:
        field = found.model_fields.get(str(part)) if found is not None else None
        models = [each for each in _types(field.annotation) if issubclass(each, Secrets)] if field else []
        found = models[0] if models else found if isinstance(part, int) else None
    return found


def _unknown_field(model: type[Secrets] | None, submitted: list[str]) -> str:
    """Say which fields exist, and not what was sent: a secret may have been sent as a name."""
    if model is None:
        return "There is a field that this connection type does not know."
    names = _names(model)
    # Comparing is slow, and a hostile request may hold a hundred thousand names.
    likely = [name for name in submitted[:10] if len(name) <= 64]
    close = [match for name in likely for match in difflib.get_close_matches(name, names, n=1)]
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return (
        f"There is a field that this connection type does not know.{hint} Known fields: {', '.join(names) or 'none'}."
    )


class _TruthfulSchema(GenerateJsonSchema):
    """Pydantic's generator, less the `null` that optional fields accept and consumers need not know of."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        del parent_key  # properties stay in declaration order, at every level
        return value


def secret_json_schema(model: type[Secrets], identifier: str, human_readable: str) -> dict[str, Any]:
    """The JSON Schema of `model`, as `GET /connection_type/{type}/secret` answers it.

    It accepts what `parse_secrets` accepts, less the two documented leniencies.
    """
    generated = model.model_json_schema(schema_generator=_TruthfulSchema)
    definitions = generated.get("$defs", {})
    grammar = model.connectory_url
    properties = {
        name: _inline(generated["properties"][name], definitions)
        | ({"sensitive": True} if _is_sensitive(model, name) else {})
        for name in model.model_fields
    }
    schema: dict[str, Any] = {
        "title": f"{identifier}_schema",
        "description": f"{human_readable} secrets schema",
        "type": "object",
        "properties": properties,
        "required": [name for name in generated.get("required", []) if grammar is None or name not in grammar.fields],
        "additionalProperties": False,
    }
    if grammar is not None:
        schema["properties"] = {URL_FIELD: _url_schema(grammar)} | properties
        schema["anyOf"] = _url_or_parts(grammar)
    if model.connectory_exactly_one:
        groups = [[_given(name, grammar) for name in group] for group in model.connectory_exactly_one]
        schema["allOf"] = [{"oneOf": alternatives} for alternatives in groups]
    if model.connectory_plain_properties and (limits := _take_text_limits(properties)):
        schema["allOf"] = [*schema.get("allOf", []), {"properties": limits}]
    return schema


_TEXT_LIMITS = ("minLength", "maxLength", "pattern")


def _take_text_limits(properties: dict[str, Any]) -> dict[str, Any]:
    """Move what texts may hold out of the properties at the top, and return it by their names."""
    limits = {
        name: {keyword: found.pop(keyword) for keyword in _TEXT_LIMITS if keyword in found}
        for name, found in properties.items()
    }
    return {name: moved for name, moved in limits.items() if moved}


# Limits that pydantic writes by their Python name, where a validator of ours stands before the type.
_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
}


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """One schema with references replaced by what they refer to, and sensitive texts marked at every depth.

    Consumers draw forms from this, and few of them resolve references.
    """
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        referred = {"description": None} | definitions[schema["$ref"].rpartition("/")[2]]
        # A class's docstring speaks to the plugin's programmers; a field's description to whoever fills it in.
        schema = {**referred, "description": schema.get("description"), **schema}
        schema = {key: item for key, item in schema.items() if key != "$ref" and item is not None}
    inlined: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            inlined[key] = {name: _inline(item, definitions) for name, item in value.items()}
        elif key in {"enum", "const", "default", "examples", "required"}:
            inlined[key] = value
        elif isinstance(value, list):
            inlined[key] = [_inline(item, definitions) for item in value]
        else:
            inlined[_LIMITS.get(key, key)] = _inline(value, definitions)
    if inlined.get("format") == "password":
        inlined = {key: value for key, value in inlined.items() if key not in {"format", "writeOnly"}}
        inlined["sensitive"] = True
    if inlined.get("default", ...) is None:
        del inlined["default"]
    return inlined


def _url_schema(grammar: UrlGrammar) -> dict[str, Any]:
    schema = {
        "title": "URL",
        "description": "One connection url, instead of the parts that it holds.",
        "type": "string",
        "minLength": 1,
        "maxLength": URL_MAX_LENGTH,
        "pattern": f"^(?:{grammar.pattern})$",
    }
    return schema | ({"sensitive": True} if grammar.password is not None else {})


def _url_or_parts(grammar: UrlGrammar) -> list[dict[str, Any]]:
    """The url without the parts it stands for, or the parts without a url."""
    conflicts: list[dict[str, Any]] = [{"required": [name]} for name in sorted(grammar.fields)]
    conflicts += [
        {"required": [name], "properties": {URL_FIELD: {"pattern": grammar.gives(name)}}}
        for name in sorted(grammar.query_keys)
    ]
    return [
        {"required": [URL_FIELD], "not": {"anyOf": conflicts}},
        {"required": sorted(grammar.required | grammar.required_parts), "not": {"required": [URL_FIELD]}},
    ]


def _given(name: str, grammar: UrlGrammar | None) -> dict[str, Any]:
    """That the field is there, or a url that gives it."""
    pattern = grammar.gives(name) if grammar is not None else None
    if pattern is None:
        return {"required": [name]}
    return {"anyOf": [{"required": [name]}, {"required": [URL_FIELD], "properties": {URL_FIELD: {"pattern": pattern}}}]}
