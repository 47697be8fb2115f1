"""What a form consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PREFIX = "field."
_STATE = "state."
_URL = "url"
"""The name that every connector gives to the field for a whole address."""


@dataclass(frozen=True)
class Field:
    """One input.

    Attributes:
        name: of the property.
        widget: `text`, `number`, `secret`, `textarea`, `secret_textarea`, `select`, `checkbox` or `json`.
        options: of a `select`: each value as JSON, and as it is shown.
        stored: what is shown of a sensitive value that is stored; `None` where none is.
        value: what the input holds.
    """

    name: str
    title: str
    description: str
    widget: str
    required: bool = False
    sensitive: bool = False
    role: str = "other"
    repoints: bool = False
    advanced: bool = False
    default: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    stored: str | None = None
    value: str = ""
    problem: str | None = None

    @property
    def input_name(self) -> str:
        """The name of the input, which no name of ours can be."""
        return _PREFIX + self.name

    @property
    def differs(self) -> bool:
        """Whether the input says anything but the default."""
        shown = dict(self.options).get(self.value, self.value)
        return self.value != "" and shown != self.default

    @property
    def state_name(self) -> str:
        """The name of the choice to keep, replace or remove what is stored."""
        return _STATE + self.name


@dataclass(frozen=True)
class Option:
    """One of several ways to fill in a form: its name, and the fields that only this way has."""

    title: str
    fields: frozenset[str]


@dataclass(frozen=True)
class Choice:
    """Ways to fill in a form of which one counts.

    Attributes:
        name: of the radio group.
        chosen: index of the option that counts.
    """

    name: str
    title: str
    options: tuple[Option, ...]
    chosen: int = 0

    def has_apart(self, field: str, option: Option) -> bool:
        """Whether `field` belongs to options, and not to `option`."""
        return field in self.fields and field not in option.fields

    @property
    def fields(self) -> frozenset[str]:
        """The fields of all options."""
        return frozenset().union(*(option.fields for option in self.options))


@dataclass(frozen=True)
class Form:
    """The inputs of one schema, in its order."""

    fields: tuple[Field, ...]
    choices: tuple[Choice, ...] = ()

    @property
    def main(self) -> list[Field]:
        """Those that are shown at once."""
        return [field for field in self.fields if not field.advanced]

    @property
    def advanced(self) -> list[Field]:
        """Those that few need."""
        return [field for field in self.fields if field.advanced]

    @property
    def advanced_matters(self) -> bool:
        """Whether one of those has a problem, or a value that is not its default."""
        return any(field.problem or field.stored or field.differs for field in self.advanced)

    def url_beside(self, field: Field) -> tuple[str, str] | None:
        """Where a URL goes that somebody enters in `field`, which is for a part of it; `None` where it goes nowhere.

        Returns:
            The way to fill in the form, as the page calls it, and the name of the field.
        """
        for number, choice in enumerate(self.choices):
            for index, option in enumerate(choice.options):
                if field.role == "endpoint" and choice.has_apart(field.name, option) and _URL in option.fields:
                    return f"c{number}o{index}", _URL
        return None


@dataclass(frozen=True)
class Entered:
    """What a person entered: the document, and what is wrong with it before the API has seen it."""

    document: dict[str, Any]
    problems: dict[str, str]
