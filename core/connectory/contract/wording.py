"""Our sentence for each of pydantic's error types, so that no message holds what was submitted, or speaks to programmers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails, PydanticKnownError

# `{name}` is a value of the error's context that a model declares.
_SENTENCES = {
    "missing": "Field required.",
    "string_type": "Must be a string.",
    "string_too_short": "Must have at least {min_length} characters.",
    "string_too_long": "Must have at most {max_length} characters.",
    "string_pattern_mismatch": "Has a character that is not accepted, or another form than expected.",
    "int_type": "Must be an integer.",
    "int_parsing": "Must be an integer.",
    "int_parsing_size": "Must be a smaller integer.",
    "int_from_float": "Must be an integer.",
    "float_type": "Must be a number.",
    "finite_number": "Must be a finite number.",
    "bool_type": "Must be true or false.",
    "bool_parsing": "Must be true or false.",
    "greater_than": "Must be more than {gt}.",
    "greater_than_equal": "Must be at least {ge}.",
    "less_than": "Must be less than {lt}.",
    "less_than_equal": "Must be at most {le}.",
    "multiple_of": "Must be a multiple of {multiple_of}.",
    "literal_error": "Must be one of: {expected}.",
    "enum": "Must be one of: {expected}.",
    "list_type": "Must be a JSON array.",
    "dict_type": "Must be a JSON object.",
    "model_type": "Must be a JSON object.",
    "model_attributes_type": "Must be a JSON object.",
    "too_long": "Must have at most {max_length} items.",
    "too_short": "Must have at least {min_length} items.",
    "recursion_loop": "Is nested too deeply.",
}
_DECLARED = frozenset({"min_length", "max_length", "gt", "ge", "lt", "le", "multiple_of", "expected"})

WORDED = frozenset(_SENTENCES)
"""The error types that have a sentence of ours, which never holds a submitted value."""


def sentence(kind: str, context: Mapping[str, Any] | None) -> str | None:
    """Our sentence for an error of pydantic's, from its type and context; `None` where there is none."""
    declared = {name: value for name, value in (context or {}).items() if name in _DECLARED}
    try:
        return _SENTENCES[kind].format(**declared)
    except KeyError:
        return None


def in_plain_words(error: ErrorDetails) -> str:
    """The message of `error`, with ours in the place of pydantic's own; what a validator says for itself stays."""
    ours = sentence(error["type"], error.get("ctx"))
    if ours is not None and is_pydantics_own(error):
        return ours
    return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def is_pydantics_own(error: ErrorDetails) -> bool:
    """Whether the message is the one that pydantic has for errors of this type."""
    try:
        return PydanticKnownError(error["type"], error.get("ctx")).message() == error["msg"]  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return False
