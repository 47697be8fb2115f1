"""What a person sees whose browser brought a consent that it did not ask for."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape

from fastapi import Request
from fastapi.responses import HTMLResponse

from connectory.api.answers import NO_STORE, page_headers

_STYLE = """body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere }"""
# This style and no other: the policy names it by its hash (CSP Level 3 §6.7.3.3).
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS = NO_STORE | page_headers(f"style-src 'sha256-{_HASH}'")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Confirm this consent</title>
<style>{style}</style>
</head>
<body>
<h1>Nothing is connected yet</h1>
<p>The client <strong>{client}</strong> asked for this consent, for the connection <strong>{key}</strong>, in another browser. If
somebody sent you here and you do not know why, close this page: your account stays as it was.</p>
<p>If you meant to connect it, confirm it within ten minutes, with a bearer token that has the scope connection:authorize:</p>
<pre>curl -X POST {address} -H "Authorization: Bearer $TOKEN" \\
  -H "Content-Type: application/json" -d '{{"confirmation": "{confirmation}"}}'</pre>
</body>
</html>
"""


def wants_page(request: Request) -> bool:
    """Whether a browser shows the answer to somebody."""
    return "text/html" in request.headers.get("accept", "")


def confirmation_page(address: str, key: str, client: str, confirmation: str) -> HTMLResponse:
    """The page.

    Args:
        address: where to confirm it.
        key: of the connection.
        client: the name of the client that asked.
        confirmation: what it is confirmed by.
    """
    shown = {"address": address, "key": key, "client": client, "confirmation": confirmation}
    return HTMLResponse(
        _PAGE.format(style=_STYLE, **{name: escape(value) for name, value in shown.items()}), 202, _HEADERS
    )
