"""Secrets: the fields a connection needs, which of them are sensitive, and the JSON Schema that says so truthfully."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypedDict, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from connectory.contract.fields import Endpoint
from connectory.contract.urls import UrlGrammar, UrlInvalid

MASK = "**********"
"""What a stored sensitive value reads back as. Sent back, it means "unchanged"."""

URL_FIELD = "url"
URL_MAX_LENGTH = 2048


class Secrets(BaseModel):
    """Base of every secret schema. Declare the fields with the types of this package, in the order to show them.

    A field is sensitive when its type is: `SecretText`, `SecretStr` at any depth, or a model derived from `SecretGroup`.
    Unknown fields are refused. Values are not coerced, with two leniencies: `null` means absent, and a decimal string is
    taken for an integer.

    A class that declares `connectory_url` also accepts one `url` instead of the parts that the grammar names, never both.
    Once validated, an instance always has the parts.

    >>> from connectory import Host, Port, SecretText
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

    @model_validator(mode="before")
    @classmethod
    def _absent_and_url(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise PydanticCustomError("dict_type", "The secrets must be a JSON object.")
        given = {name: value for name, value in data.items() if value is not None}
        grammar = cls.connectory_url
        if grammar is None or URL_FIELD not in given:
            if grammar is not None and not grammar.required <= given.keys():
                missing = ", ".join(sorted(grammar.required - given.keys()))
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
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        problems = list(_problems(error, model, payload))
    except RecursionError:
        problems = [FieldProblem(loc=[], msg="The value is nested too deeply.", type="recursion")]
    raise SecretsInvalid(problems)


def secrets_document(model: type[Secrets], payload: Any) -> Document:
    """Validate `payload` and return what was submitted in its canonical form, in plain text: the input of the vault.

    A `url` stays a url; absent and `null` fields stay absent; defaults are not filled in.

    Raises:
        SecretsInvalid: with every problem found.
    """
    parsed = parse_secrets(model, payload)
    submitted = {name for name, value in payload.items() if value is not None}
    document = {name: _reveal(getattr(parsed, name)) for name in model.model_fields if name in submitted}
    if model.connectory_url is not None and URL_FIELD in submitted:
        document = {URL_FIELD: payload[URL_FIELD]} | document
    return document


def _reveal(value: Any) -> Any:
    """The plain JSON value of a field. The only place that takes sensitive values out of their wrapper to store them."""
    if isinstance(value, SecretStr):
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
    if name not in model.model_fields or _is_sensitive(model.model_fields[name]):
        return MASK
    nested = _nested_model(model.model_fields[name].annotation)
    return mask_document(nested, value) if nested is not None and isinstance(value, dict) else value


def sensitive_texts(model: type[Secrets], document: Document) -> list[str]:
    """Every sensitive text in `document`, at any depth: what must never be seen outside of it."""
    found: list[str] = []
    for name, value in document.items():
        if name == URL_FIELD and model.connectory_url is not None:
            grammar = model.connectory_url
            found += [value] if value != grammar.mask(value, MASK) else []
            found += [text for text in [grammar.parse(value).get(grammar.password or "")] if text]
        elif name not in model.model_fields or _is_sensitive(model.model_fields[name]):
            found += list(_texts(value))
        else:
            nested = _nested_model(model.model_fields[name].annotation)
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
    stored = stored or {}
    shown = mask_document(model, stored)
    unchanged = {name for name, value in submitted.items() if _holds_mask(value) and shown.get(name) == value}
    orphans = [
        name
        for name, value in submitted.items()
        if name in _names(model) and name not in unchanged and value == MASK and _sensitive_name(model, name)
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
        if name not in fresh and _sensitive_name(model, name) and merged.get(name) is not None and name not in changed
    ]
    if changed and carried:
        message = f"Must be sent again, because {', '.join(changed)} changes: stored secrets do not follow to another endpoint."
        raise SecretsInvalid([FieldProblem(loc=[name], msg=message, type="secrets_required") for name in carried])


def _differs(model: type[Secrets], name: str, merged: Mapping[str, Any], stored: Document) -> bool:
    default = model.model_fields[name].default if name in model.model_fields else None
    before, after = (value.get(name) if value.get(name) is not None else default for value in (stored, merged))
    return str(before) != str(after)


def _holds_mask(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_mask(item) for item in value.values())
    return isinstance(value, str) and MASK in value


def _names(model: type[Secrets]) -> list[str]:
    return [*([URL_FIELD] if model.connectory_url is not None else []), *model.model_fields]


def _sensitive_name(model: type[Secrets], name: str) -> bool:
    if name == URL_FIELD and model.connectory_url is not None:
        return model.connectory_url.password is not None
    return name in model.model_fields and _is_sensitive(model.model_fields[name])


def _is_endpoint(model: type[Secrets], name: str) -> bool:
    if name == URL_FIELD and model.connectory_url is not None:
        return True
    return any(isinstance(mark, Endpoint) for mark in _marks(model.model_fields[name]))


def _marks(field: FieldInfo) -> Iterator[Any]:
    yield from field.metadata
    yield from _annotated_marks(field.annotation)


def _annotated_marks(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for argument in get_args(annotation):
        yield from _annotated_marks(argument)


def _is_sensitive(field: FieldInfo) -> bool:
    """Whether the field as a whole is sensitive, by its type."""
    return any(issubclass(found, SecretStr | SecretBytes | SecretGroup) for found in _classes(field.annotation))


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        yield annotation
    for argument in get_args(annotation):
        yield from _classes(argument)


def _nested_model(annotation: Any) -> type[Secrets] | None:
    return next((found for found in _classes(annotation) if issubclass(found, Secrets)), None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _problems(error: ValidationError, model: type[Secrets], payload: Any) -> Iterator[FieldProblem]:
    known = set(_all_names(model))
    submitted = [text for text in _texts(payload) if len(text) > 3]
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        loc: list[str | int] = [part for part in found["loc"] if isinstance(part, int) or part in known]
        message = found["msg"]
        if found["type"] == "url_invalid":
            loc.append(URL_FIELD)
        if found["type"] == "extra_forbidden":
            message = _unknown_field(model, str(found["loc"][-1]))
        elif any(text in message for text in submitted):
            # A plugin's own validator may repeat the value; ours never do.
            message = "The value is not accepted."
        yield FieldProblem(loc=loc, msg=message, type=found["type"])


def _unknown_field(model: type[Secrets], name: str) -> str:
    """Say which fields exist, and not what was sent: a secret may have been sent as a name."""
    names = _names(model)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return (
        f"There is a field that this connection type does not know.{hint} Known fields: {', '.join(names) or 'none'}."
    )


def _all_names(model: type[Secrets]) -> Iterator[str]:
    yield from _names(model)
    for field in model.model_fields.values():
        nested = _nested_model(field.annotation)
        if nested is not None:
            yield from _all_names(nested)


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
        name: _rendered(generated["properties"][name], model.model_fields[name], definitions)
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
    return schema


def _rendered(rendered: dict[str, Any], field: FieldInfo, definitions: dict[str, Any]) -> dict[str, Any]:
    inlined: dict[str, Any] = _inline(rendered, definitions)
    for key in ("writeOnly", "format"):
        if inlined.get("format") == "password" or key == "writeOnly":
            inlined.pop(key, None)
    if inlined.get("default", ...) is None:
        del inlined["default"]
    if _is_sensitive(field):
        inlined["sensitive"] = True
    return inlined


def _inline(value: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they refer to: consumers draw forms from this, and few of them resolve references."""
    if isinstance(value, list):
        return [_inline(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        referred = _inline(definitions[value["$ref"].rpartition("/")[2]], definitions)
        referred = {key: item for key, item in referred.items() if key != "description"}
        return referred | {key: item for key, item in value.items() if key != "$ref"}
    return {key: _inline(item, definitions) for key, item in value.items()}


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
    for name, keys in sorted(grammar.query_keys.items()):
        alternatives = "|".join(keys)
        conflicts.append({"required": [name], "properties": {URL_FIELD: {"pattern": f"[?&](?:{alternatives})="}}})
    return [
        {"required": [URL_FIELD], "not": {"anyOf": conflicts}},
        {"required": sorted(grammar.required), "not": {"required": [URL_FIELD]}},
    ]
