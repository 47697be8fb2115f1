"""Words for people: times, numbers, and what codes mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectory_console.languages import N_, ngettext, number, pgettext
from connectory_console.languages import gettext as _

DONE = {
    "created": N_("The connection is stored."),
    "saved": N_("Saved."),
    "kept": N_("Nothing is changed."),
    "deleted": N_("The connection is deleted."),
    "disabled": N_("The connection is disabled. Its secrets and datasets stay as they are."),
    "enabled": N_("The connection is enabled."),
    "dataset-saved": N_("The dataset is saved."),
    "dataset-deleted": N_("The dataset is deleted."),
    "schedule-saved": N_("The schedule is saved."),
    "schedule-ended": N_("Nobody tests it any more unless somebody asks."),
    "webhook-saved": N_("Changes will be told there."),
    "webhook-removed": N_("Nobody is told of changes any more."),
    "client-deleted": N_("The client is deleted, with its tokens."),
    "token-revoked": N_("The token is revoked."),
    "tokens-revoked": N_("All tokens of the client are revoked."),
    "signed-out": N_("You are signed out."),
    "many-tested": N_("All of them passed."),
    "many-disabled": N_("They are disabled. Their secrets and datasets stay as they are."),
    "many-enabled": N_("They are enabled."),
    "many-deleted": N_("They are deleted."),
}
"""Sentences that a page shows after something was done; an address names one, and cannot bring its own."""

SCOPES = {
    "connection_type:read": N_("see which systems can be connected"),
    "connection:read": N_("see connections and test them"),
    "connection:create_or_update": N_("create and change connections"),
    "connection:delete": N_("delete connections"),
    "connection:authorize": N_("ask for consent"),
    "dataset:read": N_("see datasets"),
    "dataset:create_or_update": N_("create and change datasets"),
    "dataset:delete": N_("delete datasets"),
    "audit:read": N_("read the audit trail"),
    "key:read": N_("see the keys that secrets are sealed with"),
    "client:manage": N_("manage clients and their tokens"),
}
"""What a scope lets its holder do, to follow "you may"."""

FAILURES = {
    "secrets_missing": N_("Secrets missing"),
    "secrets_unreadable": N_("Secrets unreadable"),
    "connector_unavailable": N_("Connector unavailable"),
    "driver_missing": N_("Driver missing"),
    "address_not_allowed": N_("Address not allowed"),
    "dns_failed": N_("DNS failed"),
    "dns_timeout": N_("DNS timeout"),
    "connect_refused": N_("Connect refused"),
    "connect_timeout": N_("Connect timeout"),
    "protocol_mismatch": N_("Protocol mismatch"),
    "tls_failed": N_("TLS failed"),
    "tls_untrusted": N_("TLS untrusted"),
    "auth_failed": N_("Auth failed"),
    "insecure_auth_refused": N_("Insecure auth refused"),
    "database_not_found": N_("Database not found"),
    "schema_not_found": N_("Schema not found"),
    "permission_denied": N_("Permission denied"),
    "query_failed": N_("Query failed"),
    "unexpected_redirect": N_("Unexpected redirect"),
    "http_4xx": N_("HTTP 4xx"),
    "http_5xx": N_("HTTP 5xx"),
    "rate_limited": N_("Rate limited"),
    "timeout": N_("Timeout"),
    "resource_limit": N_("Resource limit"),
    "crashed": N_("Crashed"),
    "internal_driver_error": N_("Internal driver error"),
}
"""Why a test failed."""

STEPS = {
    "resolve": N_("resolve"),
    "connect": N_("connect"),
    "tls": N_("tls"),
    "authenticate": N_("authenticate"),
    "query": N_("query"),
}
"""What a test does; a connector may have further steps, which are called as it calls them."""

OUTCOMES = {
    "running": N_("running"),
    "passed": N_("passed"),
    "failed": N_("failed"),
    "skipped": N_("skipped"),
    "not_requested": N_("skipped, not requested"),
    "not_offered": N_("skipped, not offered"),
}
"""How a step of a test ends; where it is skipped, why."""

PLUGINS = {
    "loaded": N_("Loaded"),
    "blocked": N_("Blocked"),
    "failed": N_("Failed"),
    "incompatible": N_("Incompatible"),
    "conflict": N_("Conflict"),
}
"""What became of a plugin."""

VERDICTS = {
    "succeeded": ("good", N_("Passed")),
    "fits": ("good", N_("Fits")),
    "drifted": ("broken", N_("Drifted")),
    "failed": ("bad", N_("Failed")),
}
"""How a test or a check ended."""

DELIVERIES = {
    "delivered": ("good", N_("Taken")),
    "retrying": ("broken", N_("Not taken, will be called again")),
    "given_up": ("bad", N_("Not taken, given up")),
}
"""How the last call of a webhook went."""

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
        return _("never")
    if seconds >= 86_400:
        return ngettext("%(num)s day ago", "%(num)s days ago", int(seconds // 86_400))
    if seconds >= 3600:
        return ngettext("%(num)s hour ago", "%(num)s hours ago", int(seconds // 3600))
    if seconds >= 60:
        return ngettext("%(num)s minute ago", "%(num)s minutes ago", int(seconds // 60))
    return _("just now")


def ahead(text: str | None) -> str:
    """How long it is until a time of the API."""
    seconds = -(age(text) or 0)
    if seconds >= 86_400:
        return ngettext("in %(num)s day", "in %(num)s days", int(seconds // 86_400))
    if seconds >= 3600:
        return ngettext("in %(num)s hour", "in %(num)s hours", int(seconds // 3600))
    if seconds >= 60:
        return ngettext("in %(num)s minute", "in %(num)s minutes", int(seconds // 60))
    return _("in a moment")


def every(interval: str) -> str:
    """An interval of the API: `every 15 minutes` of `15m`, `every day` of `1d`."""
    count, unit = int(interval[:-1]), interval[-1]
    if unit == "d":
        return _("every day") if count == 1 else ngettext("every %(num)s day", "every %(num)s days", count)
    if unit == "h":
        return _("every hour") if count == 1 else ngettext("every %(num)s hour", "every %(num)s hours", count)
    return _("every minute") if count == 1 else ngettext("every %(num)s minute", "every %(num)s minutes", count)


def moment(text: str | None) -> str:
    """A time of the API to the second, in UTC."""
    then = parsed(text)
    return "" if then is None else then.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def milliseconds(value: float) -> str:
    """`0.4 ms`, `12 ms`, `1.5 s`."""
    if value >= 1000:
        return _("%(number)s s", number=number(value / 1000, 1))
    return _("%(number)s ms", number=number(value, 0 if value >= 10 else 1))


def health(connection: dict[str, Any]) -> tuple[str, str]:
    """How a connection of a list fares: a word for the style sheet, and one for people."""
    state = connection.get("health", {})
    if connection["disabled"]:
        return "off", _("Disabled")
    if state.get("connector") == "missing":
        return "broken", _("Connector missing")
    if state.get("secrets_state") == "unreadable":
        return "broken", _("Secrets unreadable")
    if state.get("secrets_state") == "absent" and connection["connection_type"] != "manual":
        return "idle", _("No secrets")
    if connection["last_test_succeeded"] is None:
        return "idle", _("Untested")
    return ("good", _("Passed")) if connection["last_test_succeeded"] else ("bad", _("Failed"))


def verdict(found: dict[str, Any]) -> tuple[str, str]:
    """How a test or a check ended: a word for the style sheet, and one for people."""
    kind, word = VERDICTS[found["outcome"]]
    return kind, _(word)


def delivery(last: dict[str, Any]) -> tuple[str, str]:
    """How the last call of a webhook went: a word for the style sheet, and one for people."""
    kind, word = DELIVERIES[last["state"]]
    return kind, _(word)


def code_in_words(code: str | None) -> str:
    """A failure code as words."""
    return "" if code is None else _(FAILURES[code]) if code in FAILURES else code.replace("_", " ").capitalize()


def said(table: Mapping[str, str], word: str) -> str:
    """A word of the API, as one of the tables above has it; one that it does not have, with blanks."""
    return _(table[word]) if word in table else word.replace("_", " ")


def step_name(step: Mapping[str, Any]) -> str:
    """What a step of a test is called."""
    return said(STEPS, step["name"])


def step_status(step: Mapping[str, Any]) -> str:
    """How a step of a test went, with the reason where there is one."""
    return said(OUTCOMES, step.get("reason") or step["status"])


def step_time(step: Mapping[str, Any]) -> str:
    """How long a step of a test took; empty where it has not ended, or never began."""
    return "" if step["status"] in {"running", "skipped"} else milliseconds(step["elapsed_ms"])


def verdict_title(verdict: Mapping[str, Any]) -> str:
    """What came of a test, in a few words."""
    if verdict["test_status"] != "failed":
        return _("Passed")
    return _("Failed: %(why)s", why=code_in_words(verdict["failure_code"]))


_COMMAND = re.compile(r"\brun: (.+)$")
_SETTING = re.compile(r"\b(CONNECTORY_[A-Z_]+)=(\{.*\})\.$")


def command_in(reason: str | None) -> str:
    """What a reason says to run or to set, as a line for a shell; empty if it says neither."""
    if found := _COMMAND.search(reason or ""):
        return found[1]
    found = _SETTING.search(reason or "")
    return f"export {found[1]}='{found[2]}'" if found else ""


def member(name: str) -> str:
    """What an input is about: a member of ours, or as a connection type calls its field."""
    ours = {
        "name": pgettext("member", "name"),
        "key": pgettext("member", "key"),
        "description": pgettext("member", "description"),
        "access": pgettext("member", "access"),
        "scopes": pgettext("member", "scopes"),
        "typed": pgettext("member", "typed"),
        "test_every": pgettext("member", "test every"),
        "check_every": pgettext("member", "check every"),
        "url": pgettext("member", "address"),
        "secret": pgettext("member", "secret"),
    }
    return ours.get(name) or name.removeprefix("field.").replace("_", " ")


def is_broken(plugin: dict[str, Any]) -> bool:
    """Whether a plugin needs somebody: one that the deployer keeps out does not."""
    return plugin["status"] not in {"loaded", "blocked"}
