"""The link that signs a person in to the console: with a one-time code in its fragment, which reaches no server, log or proxy."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from connectory.settings import Settings
    from connectory.store.audit import Actor
    from connectory.store.engine import Store

GROUP = "connectory.console"
"""The entry points by which a console is found."""

CONSOLE_SETTINGS = "CONNECTORY_CONSOLE_"
"""How the names of the console's own settings begin."""

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — what listens there is asked on loopback


class ConsoleLink(NamedTuple):
    """A link that works once, until it expires."""

    url: str
    expires_at: datetime


def console_installed() -> bool:
    """Whether a distribution brings a console."""
    return bool(entry_points(group=GROUP))


def origin_of(settings: Settings, host: str, port: int) -> str:
    """Where browsers find the service that listens on `host` and `port`: at its public URL, where there is one."""
    return settings.public_url if settings.public_url is not None else local_origin(host, port)


def local_origin(host: str, port: int) -> str:
    """Where a client on this machine finds what listens on `host` and `port`."""
    host = _EVERY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_link(store: Store, actor: Actor, *, client_id: str, scopes: Iterable[str], origin: str) -> ConsoleLink:
    """Issue a code for a token of a client, and tell the audit trail.

    Args:
        client_id: of a client that exists.
        origin: see `origin_of`.
    """
    # Every command asks whether there is a console, and few open the store.
    from connectory.store.audit import append
    from connectory.store.console_codes import issue_code
    from connectory.store.timestamps import utc_now

    scopes = sorted(scopes)
    with store.write() as database:
        code, expires_at = issue_code(database, client_id, scopes=scopes, now=utc_now())
        append(database, actor.did("console_code_issued", object=client_id, details={"scopes": " ".join(scopes)}))
    return ConsoleLink(f"{origin}/console/#code={code}", expires_at)
