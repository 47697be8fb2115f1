"""The rules for the JSON Schema of secrets. Each function returns complaints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import regress

from connectory.contract.secrets import URL_FIELD, Secrets
from connectory.documents.json_schema import left_out_defaults
from connectory.documents.sensitivity import nested_model, why_public
from connectory.documents.validation import FieldProblem

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

# Names that people give to fields whose values must not be shown.
_SECRET_NAME = re.compile(
    r"pass(word|phrase|wd)|secret|private_?key|api_?key|access_?key|token$|credential", re.IGNORECASE
)
# What real credentials begin with, or look like: vendors' own prefixes, PEM keys, JSON web tokens, urls with a password.
_LIVE_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|[sr]k_live_|gh[pousr]_[A-Za-z0-9]{30}|xox[abprs]-"
    r"|SG\.[A-Za-z0-9_-]{16}|eyJ[A-Za-z0-9_-]{10,}\.eyJ|[a-z]://[^/:@\s]+:[^/@\s]+@"
)


def frame_complaints(schema: dict[str, Any], identifier: str) -> list[str]:
    """Whether the schema's frame is the one that consumers know."""
    expected = {"title": f"{identifier}_schema", "type": "object", "additionalProperties": False}
    complaints = [
        f"The schema's {key} must be {value!r}." for key, value in expected.items() if schema.get(key) != value
    ]
    if not str(schema.get("description", "")).endswith(" secrets schema"):
        complaints.append("The schema's description must be '<Human name> secrets schema'.")
    if not isinstance(schema.get("required"), list):
        complaints.append("The schema must list its required fields, even if there is none.")
    return complaints


def standard_complaints(schema: dict[str, Any]) -> list[str]:
    """Whether the schema is valid JSON Schema 2020-12."""
    try:
        jsonschema_rs.meta.validate(schema | {"$schema": JSON_SCHEMA})
    except jsonschema_rs.ValidationError as error:
        return [f"The schema is not valid JSON Schema 2020-12: {error.message}"]
    return []


def property_complaints(schema: dict[str, Any]) -> list[str]:
    """Whether a form can be drawn from every property, and refuses what the validator refuses."""
    complaints = []
    for place, found in properties_at_every_depth(schema):
        if not str(found.get("title", "")).strip():
            complaints.append(f"{place} has no title.")
        if found.get("type") == "object" and "properties" in found and found.get("additionalProperties") is not False:
            complaints.append(
                f"{place} accepts unknown fields; derive its class from connectory.Secrets or SecretGroup."
            )
        if '"null"' in json.dumps(found.get("type")) or {"type": "null"} in found.get("anyOf", []):
            complaints.append(f"{place} has the type null; a field that may be left out needs no null.")
    return complaints


PATTERN_LIMIT = 200
"""Characters that a pattern may have: more than that helps nobody who reads the schema, or meets the pattern in a message."""


def pattern_complaints(schema: dict[str, Any]) -> list[str]:
    """Whether people can read each pattern, and browsers use it.

    JSON Schema's patterns are ECMAScript's with the flag `u`; the `pattern` of a form's field has the flag `v`.
    """
    complaints = []
    for place, pattern in patterns(schema):
        if len(pattern) > PATTERN_LIMIT:
            complaints.append(
                f"{place} has a pattern of {len(pattern)} characters; at most {PATTERN_LIMIT}: show a shorter one that accepts "
                "more, and say the rule in the description."
            )
        try:
            regress.Regex(pattern, "u")
        except regress.RegressError as error:
            complaints.append(f"{place} has a pattern that ECMAScript refuses with the flag u ({error}): {pattern}")
        if any(map(_is_refused_with_v, _CLASS.findall(pattern))):
            complaints.append(
                f"{place} has a pattern that ECMAScript refuses with the flag v; "
                r"within brackets, escape ( ) [ ] { } / - \ |, and write no punctuation twice in a row: " + pattern
            )
    return complaints


# Of ECMA-262, RegularExpressions: ClassSetSyntaxCharacter and ClassSetReservedDoublePunctuator. Beside the flag u, only what
# stands within brackets differs.
_CLASS = re.compile(r"(?:[^\\\[]|\\.)*\[\^?((?:[^\\\]]|\\.)*)\]", re.DOTALL)
_IN_CLASS = re.compile(r"\\x..|\\u\{[^}]*\}|\\u....|\\.|.", re.DOTALL)
_SYNTAX = frozenset("()[{}/|")
_NEVER_TWICE = frozenset("&!#$%*+,.:;<=>?@^`~")


def _is_refused_with_v(content: str) -> bool:
    """Whether the flag v refuses what stands between brackets and the flag u takes."""
    found = _IN_CLASS.findall(content)
    ranged = False  # whether what comes next is the end of a range
    for index, one in enumerate(found):
        after = found[index + 1] if index + 1 < len(found) else None
        if one in _SYNTAX or (one in _NEVER_TWICE and one == after):
            return True
        if one == "-":
            if index == 0 or after is None or ranged:
                return True
            ranged = True
        elif ranged:
            ranged = after == "-"  # a hyphen after a range starts none
    return False


def patterns(schema: Any, place: str = "The schema") -> Iterator[tuple[str, str]]:
    """Every pattern at any depth, also those of conditions, by where it stands."""
    if isinstance(schema, list):
        for item in schema:
            yield from patterns(item, place)
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            yield place, value
        elif key in {"properties", "patternProperties"}:
            for name, found in value.items():
                yield from patterns(found, name if place == "The schema" else f"{place}.{name}")
        elif key not in {"default", "const", "enum", "examples"}:
            yield from patterns(value, place)


def sensitivity_complaints(schema: dict[str, Any], model: type[Secrets], *, has_no_secrets: bool) -> list[str]:
    """Whether what looks sensitive is, and whether anything is."""
    places = dict(properties_at_every_depth(schema))
    sensitive = {place for place, found in places.items() if found.get("sensitive") is True}
    public = public_fields(model)
    complaints = [
        f"{place} looks like a secret and is shown to everyone; give it a sensitive type, such as SecretText, or say why it is "
        "none: Annotated[..., Public('why')], of connectory.toolkit."
        for place, found in places.items()
        if _SECRET_NAME.search(place.rpartition(".")[2])
        and found.get("type") == "string"
        and place not in public
        and not any(place == covered or place.startswith(f"{covered}.") for covered in sensitive)
    ]
    complaints += [f"{place} is public without a reason; say why." for place, why in public.items() if not why.strip()]
    complaints += [
        f"{place} is sensitive and declared public; remove one of the two." for place in public if place in sensitive
    ]
    if has_no_secrets and sensitive:
        complaints.append(f"has_no_secrets is set, but these are sensitive: {', '.join(sorted(sensitive))}.")
    if not has_no_secrets and not sensitive:
        complaints.append(
            "No field is sensitive; use SecretText for what must not be shown, or set has_no_secrets = True."
        )
    grammar = model.connectory_url
    if grammar is not None:
        shown = {name for name in grammar.fields | grammar.query_keys.keys() if name != grammar.password}
        complaints += [
            f"The url shows {name}, which is sensitive; only the password of a url is masked."
            for name in sorted(shown & sensitive)
        ]
    return complaints


def public_fields(model: type[Secrets], prefix: str = "") -> dict[str, str]:
    """The fields that are declared public whatever their names, at any depth, and why."""
    found: dict[str, str] = {}
    for name in model.model_fields:
        why = why_public(model, name)
        if why is not None:
            found[f"{prefix}{name}"] = why
        nested = nested_model(model, name)
        if nested is not None:
            found |= public_fields(nested, f"{prefix}{name}.")
    return found


_OF_SEVERAL_FIELDS = {"exactly_one", "missing_parts", "url_and_parts"}
"""Problems between fields. Their messages name the fields, and the schema says as much as can be read."""


def is_said(schema: dict[str, Any], problem: FieldProblem, payload: dict[str, Any]) -> bool:
    """Whether people who read `schema`, which accepts `payload`, can know of `problem`: a description holds its message.

    What a url gives is not a field of `payload`; its problem must name the url, or the field that it gives.
    """
    places = dict(properties_at_every_depth(schema))
    names = [str(part) for part in problem["loc"] if not isinstance(part, int)]
    path = [".".join(names[:depth]) for depth in range(1, len(names) + 1)]
    known = [places[place] for place in path if place in places]
    if not known:
        return False
    if problem["type"] in _OF_SEVERAL_FIELDS or (URL_FIELD in payload and names[0] not in payload.keys() - {URL_FIELD}):
        return True
    return any(problem["msg"] in str(found.get("description", "")) for found in known)


def missing_defaults(schema: dict[str, Any], model: type[Secrets]) -> list[str]:
    """The fields whose default JSON cannot hold: the schema leaves it out, and a form would show the field as empty."""
    return [
        f"{place} has a default that is not JSON; use text, a number, a boolean or None."
        for place in left_out_defaults(schema, model)
    ]


def default_complaints(schema: dict[str, Any]) -> list[str]:
    """Whether defaults and examples fit, and give no secret away."""
    complaints = []
    for place, found in properties_at_every_depth(schema):
        samples = [found[key] for key in ("default", "const") if key in found] + list(found.get("examples", []))
        if found.get("sensitive") and samples:
            complaints.append(f"{place} is sensitive and has a default or an example; remove it.")
            continue
        if "default" in found and not jsonschema_rs.is_valid(found, found["default"]):
            complaints.append(f"{place} has a default that its own schema refuses.")
        if any(_LIVE_SECRET.search(text) for text in map(json.dumps, samples)):
            complaints.append(f"{place} has a default or an example that looks like a real credential.")
    return complaints


def properties_at_every_depth(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of `schema` and of the objects in it, by its dotted name."""
    for name, found in schema.get("properties", {}).items():
        yield f"{prefix}{name}", found
        yield from properties_at_every_depth(found, f"{prefix}{name}.")
        yield from properties_at_every_depth(found.get("items", {}), f"{prefix}{name}.")
