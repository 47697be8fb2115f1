"""Names of version 0.1 that are gone. `connectory` still gives them, with a warning that names what to use."""

from __future__ import annotations

from dataclasses import dataclass

from connectory.contract.fields import TEXT_PATTERN, Integer, Text
from connectory.contract.ssl_mode import SSL_MODE_SPELLINGS, canonical
from connectory.contract.urls import QueryKey

__all__ = ["SSL_MODE_QUERY_KEY", "Grammar", "Integer", "UrlText", "text"]

SSL_MODE_QUERY_KEY = QueryKey("ssl_mode", {spelling: canonical(spelling) for spelling in SSL_MODE_SPELLINGS})
"""A query key that gives the field `ssl_mode`. Now the field's name does: `query={"sslmode": "ssl_mode"}`."""


def Grammar(pattern: str, expected: str, max_length: int, min_length: int = 1) -> Text:  # noqa: N802  # it was a class
    """What a text field may hold."""
    return Text(expected, max_length=max_length, min_length=min_length, pattern=pattern)


def text(
    expected: str = "text without control characters", *, max_length: int = 1024, pattern: str = TEXT_PATTERN
) -> Text:
    """What a text field may hold."""
    return Text(expected, max_length=max_length, pattern=pattern)


@dataclass(frozen=True)
class UrlText:
    """What part of a url may hold. Now the part's field says it."""

    max_length: int
    without: str = ""
    basic_plane: bool = False
