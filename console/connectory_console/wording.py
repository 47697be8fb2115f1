"""Words for people: times, numbers, and what codes mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

DONE = {
    "created": "The connection is stored.",
    "saved": "Saved.",
    "deleted": "The connection is deleted.",
    "disabled": "The connection is disabled. Its secrets and datasets stay as they are.",
    "enabled": "The connection is enabled.",
    "dataset-saved": "The dataset is saved.",
    "dataset-deleted": "The dataset is deleted.",
    "schedule-saved": "The schedule is saved.",
    "schedule-ended": "Nobody tests it any more unless somebody asks.",
    "webhook-saved": "Changes will be told there.",
    "webhook-removed": "Nobody is told of changes any more.",
    "client-deleted": "The client is deleted, with its tokens.",
    "token-revoked": "The token is revoked.",
    "tokens-revoked": "All tokens of the client are revoked.",
    "signed-out": "You are signed out.",
    "many-tested": "All of them passed.",
    "many-disabled": "They are disabled. Their secrets and datasets stay as they are.",
    "many-enabled": "They are enabled.",
    "many-deleted": "They are deleted.",
}
"""Sentences that a page shows after something was done; an address names one, and cannot bring its own."""

SCOPES = {
    "connection_type:read": "see which systems can be connected",
    "connection:read": "see connections and test them",
    "connection:create_or_update": "create and change connections",
    "connection:delete": "delete connections",
    "connection:authorize": "ask for consent",
    "dataset:read": "see datasets",
    "dataset:create_or_update": "create and change datasets",
    "dataset:delete": "delete datasets",
    "audit:read": "read the audit trail",
    "key:read": "see the keys that secrets are sealed with",
    "client:manage": "manage clients and their tokens",
}
"""What a scope lets its holder do, to follow "you may"."""

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))
_LETTERS = {"m": "minute", "h": "hour", "d": "day"}
_OUTCOMES = {
    "succeeded": ("good", "Passed"),
    "fits": ("good", "Fits"),
    "drifted": ("broken", "Drifted"),
    "failed": ("bad", "Failed"),
}
_DELIVERIES = {
    "delivered": ("good", "Taken"),
    "retrying": ("broken", "Not taken, will be called again"),
    "given_up": ("bad", "Not taken, given up"),
}
STALE_AFTER = 86_400.0
"""Seconds after which a test says little about today."""


def parsed(text: str | None) -> datetime | None:
    """A time of the API, which is RFC 3339 in UTC."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def age(text: str | None) -> float | None:
    """Seconds since a time of the API."""
    then = parsed(text)
    return None if then is None else (datetime.now(UTC) - then).total_seconds()


def ago(text: str | None) -> str:
    """How long ago a time of the API was."""
    seconds = age(text)
    if seconds is None:
        return "never"
    for name, length in _UNITS:
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} ago"
    return "just now"


def ahead(text: str | None) -> str:
    """How long it is until a time of the API."""
    seconds = -(age(text) or 0)
    for name, length in _UNITS:
        if seconds >= length:
            return f"in {counted(int(seconds // length), name)}"
    return "in a moment"


def interval(text: str) -> str:
    """An interval of the API, to follow "every": `15 minutes` of `15m`, `day` of `1d`."""
    unit = _LETTERS[text[-1]]
    return unit if text[:-1] == "1" else counted(int(text[:-1]), unit)


def moment(text: str | None) -> str:
    """A time of the API to the second, in UTC."""
    then = parsed(text)
    return "" if then is None else then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 test`, `2 tests`, `1,000 tests`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def milliseconds(value: float) -> str:
    """`0.4 ms`, `12 ms`, `1.5 s`."""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def health(connection: dict[str, Any]) -> tuple[str, str]:
    """How a connection of a list fares: a word for the style sheet, and one for people."""
    state = connection.get("health", {})
    if connection["disabled"]:
        return "off", "Disabled"
    if state.get("connector") == "missing":
        return "broken", "Connector missing"
    if state.get("secrets_state") == "unreadable":
        return "broken", "Secrets unreadable"
    if state.get("secrets_state") == "absent" and connection["connection_type"] != "manual":
        return "idle", "No secrets"
    if connection["last_test_succeeded"] is None:
        return "idle", "Untested"
    return ("good", "Passed") if connection["last_test_succeeded"] else ("bad", "Failed")


def outcome(verdict: dict[str, Any]) -> tuple[str, str]:
    """How a test or a check ended: a word for the style sheet, and one for people."""
    return _OUTCOMES[verdict["outcome"]]


def delivery(last: dict[str, Any]) -> tuple[str, str]:
    """How the last call of a webhook went: a word for the style sheet, and one for people."""
    return _DELIVERIES[last["state"]]


def code_in_words(code: str | None) -> str:
    """A failure code as words."""
    return "" if code is None else code.replace("_", " ").replace("dns", "DNS").replace("tls", "TLS").capitalize()


_COMMAND = re.compile(r"\brun: (.+)$")
_SETTING = re.compile(r"\b(CONNECTORY_[A-Z_]+)=(\{.*\})\.$")


def command_in(reason: str | None) -> str:
    """What a reason says to run or to set, as a line for a shell; empty if it says neither."""
    if found := _COMMAND.search(reason or ""):
        return found[1]
    found = _SETTING.search(reason or "")
    return f"export {found[1]}='{found[2]}'" if found else ""


def is_broken(plugin: dict[str, Any]) -> bool:
    """Whether a plugin needs somebody: one that the deployer keeps out does not."""
    return plugin["status"] not in {"loaded", "blocked"}
