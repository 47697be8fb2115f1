"""Validating what was submitted, and the problems that are told when it does not fit. Both stay clear of the values."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, Secret, SecretStr, ValidationError
from typing_extensions import TypedDict  # of Python 3.11's own, pydantic makes no schema for the OpenAPI document

from connectory.contract.secrets import URL_FIELD, Secrets
from connectory.contract.urls import UrlInvalid
from connectory.contract.wording import WORDED
from connectory.documents.sensitivity import MASK, accepted_names, field_names, types_in

MAX_DEPTH = 32
"""Levels of objects and lists that secrets may nest. Walking values and validating them is recursive, so that a few
hundred kilobytes of brackets would exhaust the interpreter's stack; no key file nests more than a few levels."""

MAX_PROBLEMS = 50
"""Problems that one `SecretsInvalid` lists: enough for any form, and no answer grows with a hostile request."""


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
        problems: one entry per problem. None holds a submitted value, or a field name that the schema does not know. A place is
            made of names of fields, indices of items, and `MASK` for a member that is unknown and resembles no field: a secret
            may have been sent as a name. It is empty only where the secrets are not a JSON object, or a plugin judges the whole.
    """

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, p['loc'])) or 'secrets'}: {p['msg']}" for p in problems))
        self.problems = problems


def parse_secrets(model: type[SecretsT], payload: Any) -> SecretsT:
    """Validate `payload` (plain JSON values) against `model`.

    Raises:
        SecretsInvalid: with every problem found.
    """
    refuse_depth(model, payload)
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        problems = list(islice(_problems(error, model, payload), MAX_PROBLEMS))
    except Exception as error:  # a plugin's own validator may raise anything; its text may hold the value
        message = f"The connector could not judge the secrets ({type(error).__name__}); report it to its authors."
        problems = [FieldProblem(loc=[], msg=message, type="validator_failed")]
    raise SecretsInvalid(problems)


def secrets_document(model: type[Secrets], payload: Any) -> Document:
    """Validate `payload` and return what was submitted in its canonical form, in plain text: the input of the vault.

    A `url` stays a url; absent and `null` fields stay absent; defaults are not filled in.

    Raises:
        SecretsInvalid: with every problem found.
    """
    parsed = parse_secrets(model, payload)
    values = parsed.__dict__
    document = {
        name: value if type(value := values[name]) in _PLAIN else _reveal(value)
        for name in field_names(model)
        if payload.get(name) is not None
    }
    if model.connectory_url is not None and payload.get(URL_FIELD) is not None:
        document = {URL_FIELD: payload[URL_FIELD]} | document
    return document


# Types are named once: `A | B` makes a new object each time that it is asked for, which costs more than the question.
_PLAIN = frozenset({str, int, float, bool, type(None)})
_WRAPPED = (SecretStr, Secret)
_SCALARS = (str, int, float)


def _reveal(value: Any) -> Any:
    """The plain JSON value of a field. The only place that takes sensitive values out of their wrapper to store them."""
    if isinstance(value, _WRAPPED):
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


def refuse_depth(model: type[Secrets], payload: Any) -> None:
    """Refuse fields that nest more than `MAX_DEPTH` levels.

    Raises:
        SecretsInvalid: there are some, or `payload` is a list that does.
    """
    if not _nests_deeper(payload, MAX_DEPTH):
        return
    message = f"The secrets are nested too deeply; at most {MAX_DEPTH} levels are accepted."
    members = payload.items() if isinstance(payload, Mapping) else ()
    deep = [name for name, value in members if _nests_deeper(value, MAX_DEPTH - 1)]
    places = dict.fromkeys(name if name in accepted_names(model) else MASK for name in deep[:MAX_PROBLEMS])
    problems = [FieldProblem(loc=[name], msg=message, type="recursion") for name in places]
    raise SecretsInvalid(problems or [FieldProblem(loc=[], msg=message, type="recursion")])


def _nests_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [child for outer in level for child in children_in(outer) if not isinstance(child, _SCALARS)]
        if not level:
            return False
    return True


def children_in(value: Any) -> Iterable[Any]:
    """The members of an object, the items of a list; nothing for any other value."""
    if isinstance(value, dict):  # before `Mapping`, which takes a microsecond to ask
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return value.values() if isinstance(value, Mapping) else ()


# Kinds of errors whose message never holds the value, neither ours nor pydantic's.
_CONSTANT = WORDED | {"exactly_one", "missing_parts", "string_length", "url_and_parts", "url_invalid"}


def _problems(error: ValidationError, model: type[Secrets], payload: Any) -> Iterator[FieldProblem]:
    known = {name for found in types_in(model) if issubclass(found, BaseModel) for name in found.model_fields} | {
        URL_FIELD
    }
    submitted = list(_repeatable(model, payload))
    unknown: dict[tuple[str | int, ...], list[str]] = {}
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        if found["type"] == "extra_forbidden":
            unknown.setdefault(found["loc"][:-1], []).append(str(found["loc"][-1]))
            continue
        if (
            found["type"] == "string_unicode" and not found["loc"]
        ):  # a name that is half a character; no field has such a one
            unknown.setdefault((), []).append("")
            continue
        loc = [part for part in found["loc"] if isinstance(part, int) or part in known]
        # A plugin's own validator may repeat the value; ours never do, and hold words that a value may be by chance.
        repeats = found["type"] not in _CONSTANT and any(text in found["msg"] for text in submitted)
        yield FieldProblem(loc=loc, msg="The value is not accepted." if repeats else found["msg"], type=found["type"])
    for place, names in unknown.items():
        loc = [part for part in place if isinstance(part, int) or part in known]
        for meant, message in _unknown_fields(_model_at(model, place), names).items():
            yield FieldProblem(loc=[*loc, meant], msg=message, type="extra_forbidden")


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
    for child in children_in(value):
        yield from _scalars(child)


def _model_at(model: type[Secrets], place: tuple[str | int, ...]) -> type[Secrets] | None:
    """The model of the nested object at `place`, where it is one."""
    found: type[Secrets] | None = model
    for part in place:
        field = found.model_fields.get(str(part)) if found is not None else None
        models = [each for each in types_in(field.annotation) if issubclass(each, Secrets)] if field else []
        found = models[0] if models else found if isinstance(part, int) else None
    return found


def _unknown_fields(model: type[Secrets] | None, submitted: list[str]) -> dict[str, str]:
    """A sentence for each field that was probably meant, and one at `MASK` for what resembles none.

    They say which fields exist, and not what was sent: a secret may have been sent as a name.
    """
    unknown = "There is a field that this connection type does not know."
    if model is None:
        return {MASK: unknown}
    names = accepted_names(model)
    known = f"Known fields: {', '.join(names) or 'none'}."
    # Comparing is slow, and a hostile request may hold a hundred thousand names.
    likely = [name.strip().casefold() for name in submitted[:10] if len(name) <= 64]
    meant = [match for name in likely for match in _nearest(name, names)]
    hints = {name: f"{unknown} Did you mean '{name}'? {known}" for name in meant}
    return hints if len(meant) == len(submitted) else hints | {MASK: f"{unknown} {known}"}


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    """The field that `name` resembles, as `user` does `username` and `db_url` does `url`; none where none does."""
    related = [each for each in known if len(name) > 2 and (name in each or each in name)]
    return sorted(related, key=lambda each: abs(len(each) - len(name)))[:1] or difflib.get_close_matches(
        name, known, n=1
    )
