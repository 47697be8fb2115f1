"""From a JSON Schema to a form, and from what a person enters to the document that the API gets.

Nothing is lost on the way: whatever the schema holds that no simple input suits gets an editor for JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from connectory_console.fields import Choice, Entered, Field, Form, Option
from connectory_console.languages import gettext as _

MASK = "**********"
"""What the API shows in place of what is sensitive, and takes for "unchanged"."""
WHOLE = "$document"
"""The name of the one input of a schema whose properties are not known."""
_WIDGETS = frozenset({"text", "number", "secret", "textarea", "secret_textarea", "checkbox", "json"})
_MULTILINE = 4096
"""Characters that a field may hold beyond which it is taken for a document such as a key, not a line."""


def make_form(
    schema: Any,
    described: Mapping[str, Any] | None = None,
    *,
    stored: Mapping[str, Any] | None = None,
    entered: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
) -> Form:
    """The form for `schema`.

    Args:
        schema: of the secrets, as the API shows it.
        described: what the API says of the fields beyond the schema: `GET /connection_type/{type}/form`.
        stored: the secrets as the API shows them, masked.
        entered: the form as it was sent, where it is shown once more. Sensitive values are not shown again.
        problems: what is wrong, by name.
    """
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    stored, entered, problems = stored or {}, entered or {}, problems or {}
    if properties == {} and schema.get("additionalProperties") is False:
        return Form(())  # there is nothing to enter
    if not isinstance(properties, Mapping) or not properties:
        return Form((_whole(stored, entered, problems),))
    required = set(_required(schema))
    more = {str(field.get("name")): field for field in _list((described or {}).get("fields"))}
    choices = tuple(
        _choice(number, choice, stored, entered)
        for number, choice in enumerate(_list((described or {}).get("choices")))
    )
    fields = []
    for name, about in properties.items():
        field = _field(str(name), about, more.get(name, {}), name in required)
        fields.append(_filled(field, stored, entered, problems))
    return Form(tuple(fields), choices)


def read_form(form: Form, entered: Mapping[str, str], stored: Mapping[str, Any] | None = None) -> Entered:
    """The document that a person entered.

    Args:
        form: as `make_form` made it.
        entered: the fields as they were sent.
        stored: the secrets as the API shows them: what is kept goes back as it was shown.
    """
    document: dict[str, Any] = {}
    problems: dict[str, str] = {}
    hidden = {
        name for choice in form.choices for name in choice.fields - choice.options[_chosen(choice, entered)].fields
    }
    for field in form.fields:
        if field.name in hidden:
            continue
        if field.stored is not None and (state := entered.get(field.state_name, "keep")) != "replace":
            if state == "keep":
                document[field.name] = (stored or {})[field.name]
            continue
        text = entered.get(field.input_name, "")
        try:
            given, value = _read(field, text)
        except ValueError as problem:
            problems[field.name] = str(problem)
            continue
        if given:
            document[field.name] = value
    if form.fields and form.fields[0].name == WHOLE:
        whole = document.get(WHOLE, {})
        if not isinstance(whole, dict):
            return Entered({}, {WHOLE: _("Must be a JSON object.")})
        document = whole
    return Entered(document, problems)


def plain_values(form: Form, entered: Mapping[str, str]) -> dict[str, str]:
    """What was entered, without what is sensitive: what a page may hold that is shown once more."""
    secret = {field.input_name for field in form.fields if field.sensitive or field.widget == "json"}
    return {name: value for name, value in entered.items() if name not in secret}


def _read(field: Field, text: str) -> tuple[bool, Any]:
    if field.widget == "checkbox":
        return (text != "", text == "true")
    if text == "":
        return False, None
    match field.widget:
        case "number":
            stripped = text.strip()
            digits = stripped.removeprefix("-")
            return True, int(stripped) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else text
        case "select":
            return True, json.loads(text) if text in dict(field.options) else text
        case "json":
            return True, _json(text)
        case _:
            return True, text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as problem:
        if not isinstance(problem, json.JSONDecodeError):
            raise ValueError(_("Must be JSON.")) from None
        place = {"line": problem.lineno, "column": problem.colno}
        raise ValueError(_("Must be JSON (line %(line)s, column %(column)s).", **place)) from None
    except RecursionError:
        raise ValueError(_("Must be JSON that is nested less deeply.")) from None


def _field(name: str, about: Any, more: Mapping[str, Any], required: bool) -> Field:
    about = about if isinstance(about, Mapping) else {}
    default = about.get("default")
    sensitive = bool(about.get("sensitive"))
    return Field(
        name=name,
        title=str(about.get("title") or name.replace("_", " ").capitalize()),
        description=str(about.get("description") or ""),
        widget=_widget(about, sensitive) if more.get("widget") not in _WIDGETS else str(more["widget"]),
        required=required,
        sensitive=sensitive,
        role=str(more.get("role", "other")),
        repoints=bool(more.get("repoints")),
        advanced=more.get("group") == "advanced" and not required,
        default=None if default is None or sensitive else _shown(default),
        options=_options(about),
    )


def _required(schema: Any, depth: int = 8) -> Iterator[str]:
    """What a document needs, in one of the ways that the schema offers: what belongs to another way is not shown."""
    if isinstance(schema, Mapping) and depth:
        yield from (name for name in _list(schema.get("required")) if isinstance(name, str))
        for keyword in ("anyOf", "oneOf", "allOf"):
            for way in _list(schema.get(keyword)):
                yield from _required(way, depth - 1)


def _widget(about: Mapping[str, Any], sensitive: bool) -> str:
    kinds = about.get("type")
    kinds = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind not in ("null", None)]
    if _options(about) and not sensitive:
        return "select"
    if len(kinds) != 1:
        # One value that may be text or something else, such as a key file: text is taken as it is pasted.
        return "json" if kinds or not _takes_text(about) else ("secret_textarea" if sensitive else "textarea")
    kind = kinds[0]
    if kind == "string":
        long = not isinstance(about.get("maxLength"), int) or about["maxLength"] > _MULTILINE
        if long:
            return "secret_textarea" if sensitive else "textarea"
        return "secret" if sensitive else "text"
    return {"integer": "number", "boolean": "checkbox"}.get(kind if isinstance(kind, str) else "", "json")


def _takes_text(about: Mapping[str, Any]) -> bool:
    ways = _list(about.get("anyOf")) or _list(about.get("oneOf"))
    return any(isinstance(way, Mapping) and way.get("type") == "string" for way in ways)


def _options(about: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    values = about["enum"] if isinstance(about.get("enum"), list) else [about["const"]] if "const" in about else []
    return tuple((json.dumps(value), _shown(value)) for value in values)


def _filled(field: Field, stored: Mapping[str, Any], entered: Mapping[str, str], problems: Mapping[str, str]) -> Field:
    held = stored.get(field.name)
    shown = _shown(held) if held is not None else ""
    is_stored = field.name in stored and MASK in shown
    if field.input_name in entered:
        value = "" if field.sensitive else entered[field.input_name]
    elif is_stored or held is None:
        value = ""
    elif field.widget == "select":
        value = json.dumps(held)
    else:
        value = json.dumps(held, indent=2) if field.widget == "json" else shown
    changes = {"value": value, "stored": shown if is_stored else None, "problem": problems.get(field.name)}
    return Field(**{**field.__dict__, **changes})


def _whole(stored: Mapping[str, Any], entered: Mapping[str, str], problems: Mapping[str, str]) -> Field:
    value = entered.get(f"field.{WHOLE}", json.dumps(stored, indent=2) if stored else "")
    return Field(
        WHOLE,
        _("Secrets"),
        _("All secrets as one JSON object; the connection type says no more about them."),
        "json",
        value=value,
        problem=problems.get(WHOLE) or next(iter(problems.values()), None),
    )


def _choice(number: int, about: Mapping[str, Any], stored: Mapping[str, Any], entered: Mapping[str, str]) -> Choice:
    options = tuple(
        Option(str(option.get("title", "")), frozenset(map(str, _list(option.get("fields")))))
        for option in _list(about.get("options"))
    )
    choice = Choice(f"choice.{number}", str(about.get("title", "")), options)
    if choice.name in entered:
        chosen = _chosen(choice, entered)
    else:  # the way that is stored
        held = [len(option.fields & stored.keys()) for option in options]
        chosen = held.index(max(held)) if any(held) else 0
    return Choice(choice.name, choice.title, options, chosen)


def _chosen(choice: Choice, entered: Mapping[str, str]) -> int:
    text = entered.get(choice.name, str(choice.chosen))
    return int(text) if text.isdecimal() and int(text) < len(choice.options) else choice.chosen


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
