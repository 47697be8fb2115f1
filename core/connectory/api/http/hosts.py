"""Which names the service answers to. A page whose own name was pointed at this machine (DNS rebinding) reaches nothing."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from connectory.api.http.errors import problem_response
from connectory.settings import Settings, listens_on_loopback

_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::[0-9]{0,5})?")  # RFC 9110 §7.2
_REFUSAL = (
    "The service does not answer to the host name of this request; whoever runs it can allow the name in "
    "CONNECTORY_ALLOWED_HOSTS, or set CONNECTORY_PUBLIC_URL."
)


def names_of(settings: Settings) -> frozenset[str] | None:
    """The names that a `Host` header may have, in lower case; None where any may be there.

    Addresses are not names: no page can have one as its own without being served from there.
    """
    public = urlsplit(settings.public_url).hostname if settings.public_url is not None else None
    if public is None and not settings.allowed_hosts and not listens_on_loopback(settings.host):
        return None
    return frozenset({"localhost", settings.host.lower(), public or "localhost", *settings.allowed_hosts})


class HostCheck:
    """ASGI middleware that answers 421 to a `Host` that is a name and not one of `names`. One that is missing passes.

    Args:
        app: the application.
        names: see `names_of`.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names
        self._passes = lru_cache(maxsize=256)(self._passes_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and not self._passes(value):
                    await problem_response(421, _REFUSAL)(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _passes_once(self, header: bytes) -> bool:
        host = _HOST.fullmatch(header)
        if host is None:
            return False
        name = (host[1] or host[2]).decode().lower().removesuffix(".")
        return name in self._names or _is_address(name)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
