"""The browser that asked for a consent: known by a cookie, so that nobody has another person consent in their place.

Whoever may ask for a consent can send its address to somebody else. That person's browser comes back with a valid state, and
their account would be connected for the one who asked (RFC 9700 §4.7).
"""

from __future__ import annotations

from fastapi import Request, Response

from connectory.store.consents import LIFETIME, is_secret, new_secret

_NAME = "connectory_consent"
# A browser takes this name from the very host only, over https, for all of its paths.
_NAME_ON_HTTPS = f"__Host-{_NAME}"


def known_browser(request: Request, redirect_uri: str) -> str:
    """What the browser that sent `request` is to be known by when it comes back to `redirect_uri`: `NAME=secret`.

    What it has already is kept: it may be asked for several consents at once.
    """
    name = _NAME_ON_HTTPS if redirect_uri.startswith("https:") else _NAME
    had = request.cookies.get(name, "")
    return f"{name}={had if is_secret(had) else new_secret()}"


def set_cookie(response: Response, browser: str) -> None:
    """Have a browser send `browser` when a provider sends it back, and show it to no script."""
    name, _, secret = browser.partition("=")
    # Not Strict: the provider's page is another site, and it is from there that the browser comes.
    age, strict = int(LIFETIME.total_seconds()), name == _NAME_ON_HTTPS
    response.set_cookie(name, secret, max_age=age, secure=strict, httponly=True, samesite="lax")


def browsers_of(request: Request) -> list[str]:
    """What `known_browser` may have given the browser that sent `request`.

    With the name: the plain one can be set by other hosts and ports of the same site, and must not do where the other was given.
    """
    return [f"{name}={request.cookies[name]}" for name in (_NAME_ON_HTTPS, _NAME) if name in request.cookies]
