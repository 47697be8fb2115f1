"""Messages between processes as JSON objects: written, read, and held to rules, whoever sent them.

Each kind of message has its word, under a key that says which way it goes. Every message checks itself when it is made, so one
that breaks a rule exists at neither end; whatever bytes a process sends, reading them gives a message or raises
`ProtocolViolation`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

TIME_LIMIT = 2.0**40
"""Seconds: what no clock and no wait exceeds, 35,000 years. The difference of two times is then a finite number."""
_COUNT_LIMIT = 2**63


class ProtocolViolation(ValueError):
    """A message that must not exist. The text names the rule, never the value."""


MessageT = TypeVar("MessageT")
Maker: TypeAlias = Callable[[dict[str, Any]], MessageT]


def plain(made: type[MessageT]) -> Maker[MessageT]:
    """Makes a message whose members are JSON values."""
    return lambda members: made(**members_of(members, made))


def encoded(key: str, words: Mapping[type[Any], str], message: Any) -> bytes:
    """A message as JSON, with its word under `key`."""
    return _encode({key: words[type(message)], **vars(message)}).encode()


def decoded(key: str, makers: Mapping[str, Maker[MessageT]], data: bytes) -> MessageT:
    """The message in `data`, made by what its word under `key` names.

    Raises:
        ProtocolViolation: there is none.
    """
    members = parsed(data)
    word = members.pop(key, None)
    maker = makers.get(word) if isinstance(word, str) else None
    if maker is None:
        raise ProtocolViolation(f"a message must say which {key} it is")
    return maker(members)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that `data` is, none of whose members stands twice.

    Raises:
        ProtocolViolation: it is none.
    """
    try:
        value = _decode(data.decode())
    except (ValueError, RecursionError):  # a number of thousands of digits, too
        raise ProtocolViolation("a message must be JSON") from None
    if not isinstance(value, dict):
        raise ProtocolViolation("a message must be a JSON object")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    require(len(members) == len(pairs), "a message must not say anything twice")
    return members


def members_of(value: Any, made: type[Any]) -> dict[str, Any]:
    """`value`, where it is an object with the members that a message of this class has, and no other."""
    if not isinstance(value, dict) or value.keys() != made.__dataclass_fields__.keys():
        raise ProtocolViolation("a message must have the members of its kind")
    return value


# Made once: `json.loads` and `json.dumps` with arguments make one for each message, which takes longer than the message.
_decode = json.JSONDecoder(object_pairs_hook=_once_each).decode
_encode = json.JSONEncoder(default=vars).encode


def is_duration(value: object) -> bool:
    """Whether `value` is a number of seconds that can be computed with: finite, not negative, within `TIME_LIMIT`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= TIME_LIMIT


def is_printable(value: object, limit: int) -> bool:
    """Whether `value` is text on one line, of at most `limit` characters."""
    return isinstance(value, str) and len(value) <= limit and value.isprintable()


def is_whole(value: object) -> bool:
    """Whether `value` is a whole number, which a truth value is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether `value` is a whole number that is not negative, within 63 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _COUNT_LIMIT


def require(condition: bool, rule: str) -> None:
    """Raise `ProtocolViolation`, which names the rule, unless the condition holds."""
    if not condition:
        raise ProtocolViolation(rule)
