"""What a person sees whose browser comes back from a provider: that it is done, that it is not, or what to confirm."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape

from fastapi import Request
from fastapi.responses import HTMLResponse

from connectory.api.http.answers import NO_STORE, page_headers

_STYLE = """:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
button { font: inherit; padding: .4rem 1rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere }"""
# This style and no other: the policy names it by its hash (CSP Level 3 §6.7.3.3).
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS = NO_STORE | page_headers(f"style-src 'sha256-{_HASH}'", forms="'self'")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""
_HELD = """<p>The client <strong>{client}</strong> asked for this consent, for the connection <strong>{key}</strong>, in another
browser. If somebody sent you here and you do not know why, close this page: your account stays as it was.</p>
"""
_BY_FORM = """<p>If you meant to connect it, confirm it within ten minutes, signed in to the console in this browser:</p>
<form method="post" action="{console}/connections/{key}/consent"><input type="hidden" name="confirmation" value="{confirmation}">
<button>Confirm in the console</button></form>
<p>Or with a bearer token that has the scope connection:authorize:</p>
"""
_BY_CALL = """<p>If you meant to connect it, confirm it within ten minutes, with a bearer token that has the scope
connection:authorize:</p>
"""
_CALL = """<pre>curl -X POST {address} -H "Authorization: Bearer $TOKEN" \\
  -H "Content-Type: application/json" -d '{{"confirmation": "{confirmation}"}}'</pre>"""


def wants_page(request: Request) -> bool:
    """Whether a browser shows the answer to somebody."""
    return "text/html" in request.headers.get("accept", "")


def confirmation_page(request: Request, address: str, key: str, client: str, confirmation: str) -> HTMLResponse:
    """The page of a consent that is held.

    Args:
        address: where to confirm it.
        key: of the connection.
        client: the name of the client that asked.
        confirmation: what it is confirmed by.
    """
    console = _console(request)
    shown = {
        "address": address,
        "key": key,
        "client": client,
        "confirmation": confirmation,
        "console": console or "",
    }
    content = (_HELD + (_BY_CALL if console is None else _BY_FORM) + _CALL).format(
        **{name: escape(value) for name, value in shown.items()}
    )
    return _page(202, "Nothing is connected yet", content)


def outcome_page(request: Request, status: int, message: str, key: str | None = None) -> HTMLResponse:
    """The page of a consent that was taken, or that failed.

    Args:
        message: what happened.
        key: of the connection, where it is known.
    """
    console = _console(request)
    content = f"<p>{escape(message)}</p>"
    if console is not None:
        to = f"{console}/" if key is None else f"{console}/connections/{escape(key)}/consent"
        content += f'\n<p><a href="{to}">To the console</a></p>'
    return _page(status, "Connected" if status == 200 else "Not connected", content)


def _console(request: Request) -> str | None:
    """The path of the console; None where none is installed."""
    path: str | None = request.app.state.console_path
    return path


def _page(status: int, title: str, content: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, style=_STYLE, content=content), status, _HEADERS)
