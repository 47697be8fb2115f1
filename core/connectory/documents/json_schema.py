"""The JSON Schema of a connection's secrets: it accepts all that the server accepts, and says what the server checks besides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from connectory.contract.fields import RULE_KEYWORD, SHOWN_LIMIT
from connectory.contract.secrets import URL_FIELD, URL_MAX_LENGTH, Secrets, required_fields
from connectory.contract.urls import UrlGrammar
from connectory.documents.sensitivity import is_sensitive, nested_model


class _TruthfulSchema(GenerateJsonSchema):
    """Pydantic's generator, without the `null` that optional fields accept and consumers need not know of."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        del parent_key  # properties stay in declaration order, at every level
        return value


def left_out_defaults(schema: dict[str, Any], model: type[Secrets], prefix: str = "") -> list[str]:
    """The fields, at any depth, whose default JSON cannot hold: the schema leaves it out, and a form shows the field as empty."""
    found = []
    for name, field in model.model_fields.items():
        shown, default = schema["properties"].get(name, {}), field.default
        if (nested := nested_model(model, name)) is not None and "properties" in shown:
            found += left_out_defaults(shown, nested, f"{prefix}{name}.")
        if field.is_required() or default is None or field.default_factory is not None or shown.get("sensitive"):
            continue
        if not is_json(shown.get("default", float("nan"))):
            found.append(f"{prefix}{name}")
    return found


def is_json(value: Any) -> bool:
    """Whether `value` can be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def undrawable_field(model: type[Secrets]) -> str | None:
    """The first field that JSON Schema has no words for; `None` where it is not a single field."""
    for name, field in model.model_fields.items():
        try:
            TypeAdapter(Annotated[field.annotation, *field.metadata, None]).json_schema(
                schema_generator=_TruthfulSchema
            )
        except PydanticUserError:
            return name
    return None


def secret_json_schema(model: type[Secrets], identifier: str, human_readable: str) -> dict[str, Any]:
    """The JSON Schema of `model`, as `GET /connection_type/{type}/secret` answers it.

    It accepts what `parse_secrets` accepts, except for the two documented leniencies. Where it accepts more, a description says
    what is checked besides.
    """
    generated = model.model_json_schema(schema_generator=_TruthfulSchema)
    definitions = generated.get("$defs", {})
    grammar = model.connectory_url
    properties = {
        name: _inline(generated["properties"][name], definitions)
        | ({"sensitive": True} if is_sensitive(model, name) else {})
        for name in model.model_fields
    }
    of_url = grammar.fields | grammar.query_keys.keys() if grammar is not None else frozenset()
    schema: dict[str, Any] = {
        "title": f"{identifier}_schema",
        "description": f"{human_readable} secrets schema",
        "type": "object",
        "properties": properties,
        "required": [name for name in generated.get("required", []) if name not in of_url],
        "additionalProperties": False,
    }
    if grammar is not None:
        schema["properties"] = {URL_FIELD: _url_schema(grammar)} | properties
        schema["anyOf"] = _url_or_parts(grammar, required_fields(model))
    if model.connectory_exactly_one:
        schema["allOf"] = [_exactly_one(group, grammar) for group in model.connectory_exactly_one]
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
    if rule := inlined.pop(RULE_KEYWORD, None):
        described = str(inlined.get("description", "")).rstrip()
        inlined["description"] = f"{described} {rule}".lstrip()
    return inlined


def _url_schema(grammar: UrlGrammar) -> dict[str, Any]:
    keys = f"; known query keys: {', '.join(grammar.query)}" if grammar.query else ""
    schema = {
        "title": "URL",
        "description": (
            f"One url instead of the parts that it holds: {grammar.form}{keys}. "
            "Special characters in it must be percent-encoded. What it gives must not be given beside it."
        ),
        "type": "string",
        "minLength": 1,
        "maxLength": URL_MAX_LENGTH,
    }
    if len(grammar.shape) <= SHOWN_LIMIT:
        schema["pattern"] = grammar.shape
    return schema | ({"sensitive": True} if grammar.password is not None else {})


def _url_or_parts(grammar: UrlGrammar, without_default: frozenset[str]) -> list[dict[str, Any]]:
    """The url without the parts it stands for, or the parts without a url."""
    parts = grammar.needed_parts(without_default)
    conflicts = [{"required": [name]} for name in sorted(grammar.fields)]
    return [
        {"required": [URL_FIELD], "not": {"anyOf": conflicts}},
        {"required": sorted(parts), "not": {"required": [URL_FIELD]}},
    ]


def _exactly_one(group: tuple[str, ...], grammar: UrlGrammar | None) -> dict[str, Any]:
    """Exactly one of the fields; or a url, which may give one of them."""
    one: dict[str, Any] = {"oneOf": [{"required": [name]} for name in group]}
    in_url = grammar is not None and any(name == grammar.password or name in grammar.query_keys for name in group)
    return {"anyOf": [{"required": [URL_FIELD]}, one]} if in_url else one
