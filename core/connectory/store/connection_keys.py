"""Connection keys: which are valid, which one a name gives, and when two look alike."""

import re

from anyascii import anyascii

KEY_PATTERN = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,200}")
"""A valid key, to be used with `fullmatch`. `.` and `..` are left out because a URL path cannot carry them."""

_DROPPED = re.compile(r"[^\w\s-]", re.ASCII)
_JOINED = re.compile(r"[\s-]+", re.ASCII)


def snake_case(name: str) -> str:
    """The key a connection gets from its name: "Application PostgreSQL DB" gives "application_postgresql_db".

    Letters of other scripts are spelled in ASCII; the result is empty where nothing can be, and is not cut to length.
    """
    text = anyascii(name).lower().strip()
    return _JOINED.sub("_", _DROPPED.sub("", text))


def without_case_and_joints(key: str) -> str:
    """The form that keys share when they differ only by case, `-` or `_`."""
    return key.lower().replace("-", "").replace("_", "")
