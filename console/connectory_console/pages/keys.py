"""The keys that secrets are sealed with, and the way from one primary key to the next."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from connectory_console import wording
from connectory_console.languages import gettext as _
from connectory_console.languages import ngettext
from connectory_console.web import Visit


async def show(visit: Visit) -> Response:
    """Every key, and how far a change of the primary key has come. The console never touches a key file."""
    found = await visit.api.get("/keys")
    return visit.page("keys.html", found=found, steps=_steps(found))


def _steps(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of changing the primary key; what the facts say is behind is `done`, what is next is `current`."""
    others = [key for key in found["keys"] if not key["primary"]]
    primary = next((key for key in found["keys"] if key["primary"]), None)
    fresh = [key for key in others if not key["rows"] and _is_younger(key, primary)]
    old_rows = sum(key["rows"] for key in others)
    nodes = found["nodes"]
    everywhere = all(key["held"] and all(key["kid"] in node["keys"] for node in nodes) for key in fresh)
    new = fresh[0]["kid"] if fresh else "KEY_ID"
    old = next((key["kid"] for key in others if not key["rows"] and key not in fresh), "KEY_ID")
    at = (2 if everywhere else 1) if fresh else 3 if old_rows else 4 if others else 0
    steps = [
        (_("Add a key"), "connectory keys add", _("It is held beside the primary one, and seals nothing yet.")),
        (
            _("Roll it out"),
            "",
            ngettext(
                "Each node has to hold it, of %(num)s node running now; it reads the key file at SIGHUP.",
                "Each node has to hold it, of %(num)s nodes running now; it reads the key file at SIGHUP.",
                len(nodes),
            ),
        ),
        (
            _("Promote it"),
            f"connectory keys promote {new}",
            _("New secrets are sealed with the primary key, now %(key)s.", key=found["primary"]),
        ),
        (
            _("Rotate"),
            "connectory secrets rotate",
            ngettext(
                "%(num)s row sealed with another key than the primary one.",
                "%(num)s rows sealed with another key than the primary one.",
                old_rows,
            ),
        ),
        (
            _("Remove the old key"),
            f"connectory keys remove {old}",
            _("Once no row needs it, and no backup that you would restore."),
        ),
    ]
    return [
        {"title": title, "command": command, "why": why, "done": number < at, "current": 0 < at == number}
        for number, (title, command, why) in enumerate(steps)
    ]


def _is_younger(key: dict[str, Any], primary: dict[str, Any] | None) -> bool:
    """Whether `key` was added after the primary one: it waits to be promoted, and is not what is left of a change.

    A node records a key when it first holds it, whether it seals or not.
    """
    first, since = (wording.parsed(one["first_used_at"] if one else None) for one in (key, primary))
    return first is None or since is None or first >= since
