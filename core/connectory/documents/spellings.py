"""The spellings in which a secret would usually slip out."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

TELLING = 6
"""Characters of a spelling by which a secret is known; shorter ones stand in texts by chance."""


def spellings(secret: str) -> Iterator[str]:
    """`secret` as it is, and escaped for urls, JSON, HTML and Python, and in base64 and hexadecimal."""
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (html.escape(secret), repr(secret)[1:-1])
    data = secret.encode("utf-8", "surrogatepass")
    yield data.hex()
    for shift in range(3):
        # Inside a longer text the secret starts at any of three places of a base64 group, and only the whole groups
        # that hold nothing else are known.
        encoded = base64.b64encode(b"\0" * shift + data)
        inner = encoded[4 if shift else 0 : len(encoded) - 4].decode()
        yield from (inner, inner.replace("+", "-").replace("/", "_"))
