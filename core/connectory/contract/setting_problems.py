"""What is wrong with the settings of the service or of a plugin, in words that say what each takes and repeat no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ErrorType

from connectory.contract.settings import environment_name

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "words separated by commas",
    "object": 'JSON like {"name": "value"}',
}
_FORMATS = {"uri": "a URL", "path": "a path"}
_OF_PYDANTIC = frozenset(get_args(ErrorType))


def setting_problems(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line for each setting that does not fit: its variable, what it takes, what it is for. None repeats a value."""
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name in model.model_fields and name not in found:
            found[name] = _problem(name, model.model_fields[name], _own_words(problem))
    return list(found.values())


def _problem(name: str, field: FieldInfo, said: str) -> str:
    refused = f"{environment_name(name)} has a value that is not accepted; it takes {_taken(field)}."
    parts = [refused, said, field.description or ""]
    return " ".join(part for part in parts if part)


def _own_words(problem: Mapping[str, Any]) -> str:
    """What a validator of the field's own says. The words of pydantic's errors, and of a `ValueError`, may quote the value."""
    return "" if problem["type"] in _OF_PYDANTIC or problem.get("ctx") else str(problem["msg"])


def _taken(field: FieldInfo) -> str:
    """What a field takes, in words: those of its JSON Schema, so that nothing has to be written down twice."""
    annotation: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    try:
        schema = TypeAdapter(annotation).json_schema()
    except PydanticUserError:  # a type of the plugin's own that has none
        return "another value"
    shared = schema.get("$defs", {})
    alternatives = [shared.get(part.get("$ref", "").rpartition("/")[2], part) for part in schema.get("anyOf", [schema])]
    return " or ".join(_words(part) for part in alternatives if part.get("type") != "null")


def _words(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        *most, last = map(str, schema["enum"])
        return f"{', '.join(most)} or {last}" if most else last
    if "format" in schema:
        return _FORMATS.get(schema["format"], "text")
    return _KINDS.get(schema.get("type", ""), "text") + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    numbers = (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to" if "minimum" in schema else "up to"),
        ("exclusiveMaximum", "below"),
    )
    lengths = (("minLength", "at least"), ("maxLength", "at most"))
    words = [f" {word} {schema[key]:.15g}" for key, word in numbers if key in schema]
    words += [f" of {word} {schema[key]} characters" for key, word in lengths if key in schema]
    words += [f" that matches {schema['pattern']}"] if "pattern" in schema else []
    return "".join(words)
