"""Which requests a cookie counts for: those that our own pages send, and those that nobody's page sends.

`SameSite=Strict` is not enough: another port of the same host is the same site, and gets the cookie (RFC 6265 §8.5).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request

_SAFE = frozenset({"GET", "HEAD"})


def own_origin(request: Request, public_url: str | None) -> str:
    """The origin that the browser shows for this console."""
    if public_url is not None:
        parts = urlsplit(public_url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def is_ours(request: Request, public_url: str | None) -> bool:
    """Whether one of our pages sent the request, or a person without any page: the address bar, a bookmark.

    The browser says so, and no page can make it say otherwise (Fetch Metadata, `Sec-Fetch-Site`). A browser that does not say
    it sends `Origin` with what changes something.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        return request.headers.get("origin") == own_origin(request, public_url)
    return site == "same-origin" or (site == "none" and request.method in _SAFE)


def comes_from_elsewhere(request: Request) -> bool:
    """Whether a page of another site has the browser show this one, as a link in a chat does."""
    headers = request.headers
    return (
        request.method in _SAFE
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def is_trustworthy(request: Request, public_url: str | None) -> bool:
    """Whether a token may travel to this origin: https, or loopback (W3C Secure Contexts §3.1)."""
    origin = urlsplit(own_origin(request, public_url))
    return origin.scheme == "https" or _is_loopback(origin.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def cookie_name(request: Request, public_url: str | None) -> str:
    """On https a name that other hosts and ports cannot set. On loopback the port is in it: cookies do not tell ports apart."""
    origin = urlsplit(own_origin(request, public_url))
    return "__Host-connectory" if origin.scheme == "https" else f"connectory_{origin.port or 80}"
