"""JSON in and out: request bodies read strictly, responses rendered by orjson."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request, Response

from connectory.api.errors import Refused, refuse_field

_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

MAX_DEPTH = 64
"""Levels of nesting that a body may have; a dataset with thirty nested fields has as many."""


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with `value` as JSON. Timestamps are written in ISO 8601 with their offset."""
    return Response(orjson.dumps(value), status, headers, "application/json")


async def read_body(request: Request) -> bytes:
    """The body of a request that must send JSON, not parsed yet.

    Raises:
        Refused: 415 where it says that it is something else.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise Refused(415, "The body must be JSON; send the header 'Content-Type: application/json'.")
    return await request.body()


def parse_json(body: bytes) -> Any:
    """The value of a body: RFC 8259 JSON in UTF-8, without NaN, Infinity, lone surrogates, or too deep nesting.

    Raises:
        Refused: 422, without anything of the body.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse_field(
            ["body"], f"The body is not valid JSON in UTF-8; see line {error.lineno}.", "json_invalid"
        ) from None
    if _may_be_deep(body) and _too_deep(value):
        raise refuse_field(["body"], f"The body is nested deeper than {MAX_DEPTH} levels.", "json_too_deep")
    return value


def _may_be_deep(body: bytes) -> bool:
    """Whether more than a few levels are possible, at a fraction of the price of walking through the value."""
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(8):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
