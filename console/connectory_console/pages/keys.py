"""The keys that secrets are sealed with, and the way from one primary key to the next."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from connectory_console.web import Visit


async def show(visit: Visit) -> Response:
    """Every key, and how far a change of the primary key has come. The console never touches a key file."""
    found = await visit.api.get("/keys")
    return visit.page("keys.html", found=found, steps=_steps(found))


def _steps(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of changing the primary key, with what the facts say of each."""
    primary = found["primary"]
    others = [key for key in found["keys"] if not key["primary"]]
    fresh = [key for key in others if key["held"] and not key["rows"] and not key["first_used_at"]]
    old_rows = sum(key["rows"] for key in others)
    old = [key for key in others if not key["rows"] and key["first_used_at"]]
    nodes = found["nodes"]
    everywhere = all(all(key["kid"] in node["keys"] for node in nodes) for key in fresh)
    name = fresh[0]["kid"] if fresh else "KEY_ID"
    return [
        {
            "title": "Add a key",
            "command": "connectory keys add",
            "done": bool(fresh),
            "why": "It is held beside the primary one, and seals nothing yet.",
        },
        {
            "title": "Roll it out",
            "command": "",
            "done": bool(fresh) and everywhere,
            "why": f"Every node has to hold it: {len(nodes)} running now.",
        },
        {
            "title": "Promote it",
            "command": f"connectory keys promote {name}",
            "done": not fresh and old_rows > 0,
            "why": f"New secrets are sealed with the primary key, now {primary}.",
        },
        {
            "title": "Rotate",
            "command": "connectory secrets rotate",
            "done": not fresh and old_rows == 0,
            "why": f"{old_rows} rows are sealed with another key than the primary one.",
        },
        {
            "title": "Remove the old key",
            "command": f"connectory keys remove {old[0]['kid']}" if old else "connectory keys remove KEY_ID",
            "done": not old and not others,
            "why": "Once no row needs it, and no backup that you would restore.",
        },
    ]
