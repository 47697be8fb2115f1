"""The traceback of what a connector's test raised, for the connector's author: the service never asks for one."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import pluggy

from connectory.checks.protocol import TRACEBACK_LIMIT
from connectory.documents.sensitivity import MASK
from connectory.documents.spellings import TELLING, spellings

_BEFORE = tuple(f"{folder}/" for folder in (Path(__file__).parents[1], Path(pluggy.__file__).parent))
"""Where the code is that calls the connector's: every traceback begins with it."""


def traceback_of(error: BaseException, hidden: Iterable[str]) -> str:
    """The traceback of `error` from the connector's code on, with what it came from; of a long one the end.

    Args:
        hidden: the secrets; a mask stands wherever one would show.
    """
    told = traceback.TracebackException.from_exception(error)
    for part in _chain(told):
        del part.stack[: sum(1 for _ in takewhile(lambda frame: frame.filename.startswith(_BEFORE), part.stack))]
    text = masked("".join(told.format()), hidden)
    while len(json.dumps(text)) > TRACEBACK_LIMIT:
        text = text[len(text) // 8 + 1 :]
    return text


def masked(text: str, hidden: Iterable[str]) -> str:
    """`text` with a mask wherever one of `hidden` stands, in any usual spelling: far ends send back what they are sent."""
    for secret in sorted(hidden, key=len, reverse=True):
        wanted = {secret, *(spelling for spelling in spellings(secret) if len(spelling) >= TELLING)}
        for spelling in sorted(wanted, key=len, reverse=True):
            text = text.replace(spelling, MASK)
    return text


def _chain(told: traceback.TracebackException | None) -> Iterator[traceback.TracebackException]:
    if told is not None:
        yield told
        yield from _chain(told.__cause__)
        yield from _chain(told.__context__)
