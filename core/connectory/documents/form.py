"""How a form shows a connection's secrets: what the JSON Schema does not say, or says in a way that is hard to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from connectory.contract.fields import RoleName
from connectory.contract.secrets import URL_FIELD
from connectory.documents.roles import FieldFacts

Widget: TypeAlias = Literal["text", "secret", "textarea", "secret_textarea", "select", "checkbox", "number", "json"]
Group: TypeAlias = Literal["main", "advanced"]

_SHOWN_FIRST: frozenset[RoleName] = frozenset({"endpoint", "credential", "database"})


def form_description(fields: Sequence[FieldFacts], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The form of a connection type: its fields in the order of the schema, and the choices between some of them.

    Args:
        fields: what is known of the fields.
        schema: the JSON Schema of the secrets.
    """
    shown = [
        {
            "name": field.name,
            "role": field.role,
            "repoints": field.repoints,
            "widget": _widget(field, _described(schema, field.name)),
            "group": _group(field),
        }
        for field in fields
    ]
    return {"fields": shown, "choices": list(_choices(fields, schema))}


def _widget(field: FieldFacts, described: Mapping[str, Any]) -> Widget:
    if "enum" in described or "const" in described:
        return "select"
    match described.get("type"):
        case "boolean":
            return "checkbox"
        case "integer" | "number":
            return "number"
        case "string":
            if described.get("sensitive"):
                return "secret_textarea" if field.lines else "secret"
            return "textarea" if field.lines else "text"
        case _:
            return "json"


def _group(field: FieldFacts) -> Group:
    """The first view has what must be given, and where the far end is, who asks, and what is opened there."""
    return "main" if field.required or field.role in _SHOWN_FIRST else "advanced"


def _choices(fields: Sequence[FieldFacts], schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for alternative in schema.get("anyOf", []):
        if alternative["required"] == [URL_FIELD]:
            parts = {name for conflict in alternative["not"]["anyOf"] for name in conflict["required"]}
            names = [field.name for field in fields if field.name in parts]
            yield _choice("Address", [("One field each", names), ("One URL", [URL_FIELD])])
    for condition in schema.get("allOf", []):
        # Where a url may give one of them, it is `anyOf` the url and the choice.
        for found in (condition, *condition.get("anyOf", [])):
            if "oneOf" in found:
                yield _one_of([alternative["required"][0] for alternative in found["oneOf"]], fields, schema)


def _one_of(names: Sequence[str], fields: Sequence[FieldFacts], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Exactly one of some fields; with a private key goes its passphrase."""
    titles = [_described(schema, name).get("title", name) for name in names]
    members = [[field.name for field in fields if field.name in {name, f"{name}_passphrase"}] for name in names]
    return _choice(" or ".join(titles), list(zip(titles, members, strict=True)))


def _choice(title: str, options: Sequence[tuple[str, list[str]]]) -> dict[str, Any]:
    return {"title": title, "options": [{"title": option, "fields": names} for option, names in options]}


def _described(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The schema of one field; a plugin may say of a field that anything goes, which is not an object."""
    described = schema["properties"].get(name)
    return described if isinstance(described, Mapping) else {}
