"""Whether the account of a connection may do what the connection is for, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from connectory.contract.data import Privileges

Declared = Literal["read", "write"]


def access_report(declared: Declared, found: Sequence[Privileges]) -> dict[str, Any]:
    """What the account can do, as JSON values. Where nothing is known, the finding is `unknown`.

    Args:
        declared: what the connection is for.
        found: what the account may do with each collection.
    """
    excess = _excess(found) if declared == "read" else []
    can = {"select": _any(one.read for one in found), "update": _any(one.update for one in found)}
    can["delete"] = _any(one.delete for one in found)
    return {
        "declared": declared,
        "account_can": [word for word, able in can.items() if able],
        "finding": _finding(declared, found),
        "excess": excess,
        "remedy": list(dict.fromkeys(one.remedy for one in found if one.remedy)) if excess else [],
    }


def _any(answers: Iterable[bool | None]) -> bool:
    return any(answer is True for answer in answers)


def _excess(found: Sequence[Privileges]) -> list[dict[str, Any]]:
    excess = []
    for one in found:
        rights = [word for word, able in (("UPDATE", one.update), ("DELETE", one.delete)) if able]
        if rights:
            excess.append({"collection": one.ref.name, "namespace": dict(one.ref.namespace), "privileges": rights})
    return excess


def _finding(declared: Declared, found: Sequence[Privileges]) -> str:
    writes = [answer for one in found for answer in (one.update, one.delete)]
    if declared == "read":
        if True in writes:
            return "can_write"
        return "unknown" if not writes or None in writes else "as_declared"
    if any(one.update is False and one.delete is False for one in found):
        return "cannot_write"
    return "unknown" if not writes or None in writes else "as_declared"
