"""Conditional requests (RFC 9110 §13): nobody writes over a change that somebody else made after they read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Header

from connectory.api.http.errors import Refused
from connectory.store.connections import StoredConnection

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The `ETag` of `GET /connection/{connection_key}`, or several, or `*`: change nothing if the connection was "
        "changed since. What a test did since does not count.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="An `ETag` that is known: the answer is 304 if nothing changed since."),
]

SHOWS_TAG: dict[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "For `If-Match` and `If-None-Match`.", "schema": {"type": "string"}}}},
    304: {"description": "It is as it was when `If-None-Match` was read"},
}
"""For the `responses` of a route whose answer has an entity tag."""

_SUPERSEDED = (
    "Somebody changed the connection since you read it, so nothing was stored; read it again with GET /connection/{key}, "
    "apply your change to what it is now, and send its new ETag in If-Match."
)
_GONE = "If-Match is about a connection that is stored, and none has this key; leave the header out to create it."

_ELEMENT = re.compile(r'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?=,|\Z)')
_END = re.compile(r"[ \t,]*\Z")


def entity_tag(connection: StoredConnection, shown: bytes) -> str:
    """The strong tag of what is shown of a connection: which one, at which version, and a digest of every byte.

    The digest changes with a test or a consent too, of which the version does not tell.
    """
    return f'"{_state(connection)}-{hashlib.blake2b(shown, digest_size=8).hexdigest()}"'


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether a caller who sent `If-None-Match` has what has this tag. A malformed header names nothing."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.strip('"') in {opaque for _, opaque in _elements(if_none_match)}


def require_match(if_match: str | None, connection: StoredConnection | None) -> None:
    """Go on only if `If-Match` holds, where it was sent.

    Compared is the version, and not how the last test went: one that somebody ran since does not stand in the way of a change.

    Args:
        connection: as it is stored; None where there is none.

    Raises:
        Refused: 412. A header that is malformed, or has only weak tags, matches nothing.
    """
    if if_match is None:
        return
    if connection is None:
        raise Refused(412, _GONE)
    if if_match.strip() == "*":
        return
    state = _state(connection)
    if not any(opaque.rpartition("-")[0] == state for weak, opaque in _elements(if_match) if not weak):
        raise Refused(412, _SUPERSEDED.format(key=connection.key))


def _state(connection: StoredConnection) -> str:
    # With a part of its id, because one that was deleted and made again begins at the same version.
    return f"{connection.version}-{connection.id[:8]}"


def _elements(header: str) -> Iterator[tuple[bool, str]]:
    """The tags of a list: whether each is weak, and what stands between its quotes. None, if the list is malformed."""
    found, position = [], 0
    while match := _ELEMENT.match(header, position):
        found.append((match[1] is not None, match[2]))
        position = match.end()
    return iter(found if _END.match(header, position) else [])
