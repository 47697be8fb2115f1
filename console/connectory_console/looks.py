"""A look at a form that somebody fills in: what is wrong with it so far. It stores nothing, and connects to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectory_console.api import ApiFailed, segment
from connectory_console.fields import Entered
from connectory_console.languages import N_
from connectory_console.languages import gettext as _
from connectory_console.live import input_name
from connectory_console.naming import LONGEST, is_key, key_from
from connectory_console.types import Kind
from connectory_console.web import Visit

TAKEN = N_("Another connection has this key. Choose another one.")


async def problems_of_secrets(visit: Visit, kind: Kind, found: Entered, **more: Any) -> dict[str, str]:
    """What the API would not take of the secrets, by input.

    Args:
        more: further members of the request, such as the connection whose stored values are kept.
    """
    told: dict[str, str] = {}
    body = {"secrets": found.document, **more}
    try:
        await visit.api.send("POST", f"/connection_type/{segment(kind.identifier)}/validate", json=body)
    except ApiFailed as failed:
        if failed.status != 422:
            raise
        told = {input_name(problem): problem.message for problem in failed.problems}
    return told | {f"field.{name}": text for name, text in found.problems.items()}


def problems_of_words(entered: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the name and the description of a connection, by input."""
    texts = {member: entered.get(member, "").strip() for member in LONGEST}
    long = {
        member: _("Must have at most %(most)s characters.", most=LONGEST[member])
        for member, text in texts.items()
        if len(text) > LONGEST[member]
    }
    return long if texts["name"] else {"name": _("Give the connection a name."), **long}


async def problems_of_naming(visit: Visit, entered: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with the name, the description and the key of a new connection, by input."""
    problems = problems_of_words(entered)
    return problems if "name" in problems else problems | await _problems_of_key(visit, entered)


async def _problems_of_key(visit: Visit, entered: Mapping[str, str]) -> dict[str, str]:
    name, key = entered.get("name", "").strip(), entered.get("key", "").strip()
    if key and not is_key(key):
        return {"key": _("A key has 1 to 200 letters, digits, '_', '.' or '-'.")}
    if not is_key(key or key_from(name)):
        return {"name": _("No key can be made of this name. Give the connection a key.")}
    try:
        if not await key_exists(visit, key or key_from(name)):
            return {}
    except ApiFailed as failed:
        if failed.status != 403:
            raise
        return {}  # who may not see connections is not told which there are
    made = _("Another connection has the key %(key)s. Choose another name, or give a key.", key=key_from(name))
    return {"key": _(TAKEN)} if key else {"name": made}


async def key_exists(visit: Visit, key: str) -> bool:
    """Whether storing under `key` would change another connection instead of making one."""
    try:
        await visit.api.get(f"/connection/{segment(key)}")
    except ApiFailed as failed:
        if failed.status == 404:
            return False
        raise
    return True
