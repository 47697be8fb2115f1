"""Texts of a definition that name secrets: `Bearer <api_key>`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_PLACE = re.compile(r"<([a-z][a-z0-9_]*)>")


def names_in(text: str) -> list[str]:
    """The secrets that `text` names."""
    return _PLACE.findall(text)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with every named secret in its place, as it is. A secret that was left out is empty."""
    return _PLACE.sub(lambda place: values.get(place[1], ""), text)


def fill_url(url: str, values: Mapping[str, str]) -> str:
    """A url with every named secret in its place, encoded so that in a path it stays within its segment.

    `:` stands as it is: a segment may hold it (RFC 3986 §3.3), and a host has it before its port.
    """
    return _PLACE.sub(lambda place: quote(values.get(place[1], ""), safe=":"), url)
