"""Names of fields and collections as words, and what a field's surroundings say that its own name does not."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_NAME = 100
"""Characters of a name that is looked at."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[^a-z0-9]+")


@functools.lru_cache(4096)  # thousands of tables have the same columns
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case.

    >>> from connectory.discovery.names import words_of
    >>> [list(words_of(name)) for name in ("emailAddress", "E-Mail", "userIPAddress")]
    [['email', 'address'], ['e', 'mail'], ['user', 'ip', 'address']]
    """
    return tuple(word for word in _BETWEEN.split(_CAMEL.sub("_", name[:LONGEST_NAME]).casefold()) if word)


@dataclass(frozen=True)
class Around:
    """What stands around the words that were found.

    Attributes:
        before: the words before them in the field's own name.
        of: what the field is of: the last word before, or of the object that it is in, or of the collection, in the singular.
        all: every word before, of the objects around, and of the collection, in the singular.
    """

    before: tuple[str, ...]
    of: str
    all: frozenset[str]

    @classmethod
    def of_field(cls, before: Sequence[str], above: Sequence[str], collection: str) -> Around:
        """Of words before, the names of the objects that the field is in, and the collection's."""
        outer = [_singular(word) for name in (collection, *above) for word in words_of(name)]
        nearest = [*outer, *map(_singular, before)]
        return cls(tuple(before), nearest[-1] if nearest else "", frozenset(nearest))


def _singular(word: str) -> str:
    if word == "people":
        return "person"
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
