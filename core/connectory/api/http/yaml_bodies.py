"""Bodies of requests in YAML: read into the same plain values as JSON, and into nothing else.

The values are made of the parser's events, so that nothing of a document is ever built that YAML has beyond JSON: no object of
Python, and no alias, by which a few lines can stand for gigabytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

import yaml

from connectory.api.http.bodies import MAX_DEPTH
from connectory.api.http.errors import Refused, refuse_field
from connectory.documents.validation import FieldProblem

_Place = tuple[str | int, ...]

_TAGS = "tag:yaml.org,2002:"
_TEXT, _NULL, _BOOL, _INT, _FLOAT = (_TAGS + word for word in ("str", "null", "bool", "int", "float"))
_SCALARS = {_TEXT, _NULL, _BOOL, _INT, _FLOAT, f"{_TAGS}timestamp"}
_NUMBERS = {_INT, _FLOAT}
_LONGEST_NUMBER = 100
"""Characters of a number. Working out one of base 60, such as `1:59:59`, takes time that grows with the square of this."""
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HALF = re.compile("[\ud800-\udfff]")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one where PyYAML has it: ten times faster
_construct = yaml.constructor.SafeConstructor()


class _Mark(Protocol):
    line: int
    column: int


def parse_yaml(body: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value of a body: one YAML document in UTF-8, of what JSON has too, nested `depth` levels at most.

    Numbers, true, false and null are what YAML 1.1 takes for them; dates are texts.

    Raises:
        Refused: 422 with line and column, without anything of the body.
    """
    return _Reader(_decoded(body), depth).document()


def with_lines(refused: Refused, body: bytes, within: _Place, depth: int = MAX_DEPTH) -> Refused:
    """The same refusal, with the line and column of each place.

    Args:
        refused: 422 about values of the body.
        body, depth: what `parse_yaml` made a value of.
        within: the place of what `["body"]` stands for in the refusal.
    """
    marks: dict[_Place, _Mark] = {}
    _Reader(_decoded(body), depth, marks).document()
    located = []
    for problem in refused.detail:
        assert isinstance(problem, Mapping)
        place = (*within, *problem["loc"][1:])
        mark = next((marks[place[:end]] for end in range(len(place), -1, -1) if place[:end] in marks), None)
        where = "" if mark is None else f"{_where(mark.line, mark.column)}: "
        located.append(FieldProblem(loc=problem["loc"], msg=f"{where}{problem['msg']}", type=problem["type"]))
    return Refused(refused.status, located, refused.headers)


def _decoded(body: bytes) -> str:
    try:
        text = body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        _refuse_at(body[: error.start].decode(), "Is no text in UTF-8.")
    found = _NOT_ALLOWED.search(text)
    if found is not None:
        _refuse_at(text[: found.start()], "Is a character that YAML does not take.")
    return text


def _refuse_at(before: str, message: str) -> NoReturn:
    line = before.count("\n")
    raise _refusal(line, len(before) - before.rfind("\n") - 1, message)


def _where(line: int, column: int) -> str:
    return f"Line {line + 1}, column {column + 1}"


def _refusal(line: int, column: int, message: str) -> Refused:
    return refuse_field(["body"], f"{_where(line, column)}: {message}", "yaml_invalid")


class _Reader:
    """Makes a value of the events of a text.

    Args:
        depth: levels of nesting that it may have.
        marks: takes where each value stands. Default: that is not kept.
    """

    def __init__(self, text: str, depth: int, marks: dict[_Place, _Mark] | None = None) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._depth = depth
        self._marks = marks

    def document(self) -> Any:
        """The value of the only document; `None` where there is none."""
        self._next()  # the stream begins
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        value = self._value(self._next(), ())
        self._next()  # the document ends
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(after, "Another document begins; send one.")
        return value

    def _next(self) -> Any:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise _refusal(mark.line if mark else 0, mark.column if mark else 0, "Is not valid YAML.") from None
        except yaml.YAMLError:  # which says no place
            raise refuse_field(["body"], "The body is not valid YAML.", "yaml_invalid") from None

    def _value(self, event: Any, place: _Place) -> Any:
        if self._marks is not None:
            self._marks.setdefault(place, event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "Aliases are not taken; write out what this one stands for.")
        if len(place) >= self._depth:
            self._refuse(event, f"Is nested deeper than {self._depth} levels.")
        if isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, {f"{_TAGS}seq"})
            return self._list(place)
        self._check_tag(event, {f"{_TAGS}map"})
        return self._object(place)

    def _list(self, place: _Place) -> list[Any]:
        made: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            made.append(self._value(event, (*place, len(made))))
        return made

    def _object(self, place: _Place) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str):
                self._refuse(event, "A key has to be a text; put it in quotes.")
            if key in made:
                self._refuse(event, "The mapping has this key already.")
            member = (*place, key)
            if self._marks is not None:
                self._marks[member] = event.start_mark
            made[key] = self._value(self._next(), member)
        return made

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        self._check_tag(event, _SCALARS)
        text: str = event.value
        tag = event.tag if event.tag in _SCALARS else _implied(text) if event.implicit[0] and not event.tag else _TEXT
        if _HALF.search(text):
            self._refuse(event, "Has half of a UTF-16 surrogate pair, which is not a character.")
        if tag == _NULL:
            return None
        try:
            if tag == _BOOL:
                return _construct.bool_values[text.lower()]
            if tag in _NUMBERS:
                return _number(text, tag)
        except (ValueError, IndexError, KeyError, OverflowError):
            self._refuse(event, "Is not a number, true or false as JSON has them.")
        return text

    def _check_tag(self, event: Any, known: set[str]) -> None:
        if event.tag not in (None, "!") and event.tag not in known:
            self._refuse(event, "This tag is not taken; leave it away.")

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise _refusal(event.start_mark.line, event.start_mark.column, message)


def _implied(text: str) -> str:
    """The tag of a scalar without quotes."""
    resolvers: Sequence[tuple[str, re.Pattern[str]]] = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ())
    return next((tag for tag, pattern in resolvers if pattern.match(text)), _TEXT)


def _number(text: str, tag: str) -> int | float:
    """The number that YAML takes a text for; a large one is what JSON makes of it."""
    if len(text) > _LONGEST_NUMBER:
        raise ValueError
    node = yaml.ScalarNode(tag, text)
    if tag == _INT:
        whole: int = _construct.construct_yaml_int(node)
        return whole if -(2**63) <= whole < 2**64 else float(whole)
    number: float = _construct.construct_yaml_float(node)
    if not math.isfinite(number):
        raise ValueError
    return number
