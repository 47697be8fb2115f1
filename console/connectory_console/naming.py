"""The names that a connection gets, looked at before it is stored. The rules are the API's; a test holds these equal to them."""

from __future__ import annotations

import re

from anyascii import anyascii

LONGEST = {"name": 500, "description": 5000}
"""Characters of a member."""
_KEY = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,200}")
_DROPPED = re.compile(r"[^\w\s-]", re.ASCII)
_JOINED = re.compile(r"[\s-]+", re.ASCII)


def key_from(name: str) -> str:
    """The key of a connection that is given none: its name in snake case. Empty where no letter of it can be spelled."""
    return _JOINED.sub("_", _DROPPED.sub("", anyascii(name).lower().strip()))


def is_key(text: str) -> bool:
    """Whether a connection can have this key."""
    return _KEY.fullmatch(text) is not None
