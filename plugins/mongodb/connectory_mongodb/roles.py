"""What MongoDB's built-in roles allow, for servers that do not tell it themselves.

From the MongoDB manual, "Built-In Roles". Only what decides who reads, changes, removes and grants is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Privilege = Mapping[str, Any]
"""As the server tells it: `{"resource": {"db": …, "collection": …}, "actions": […]}`; an empty name stands for all."""

_READ = ["find"]
_WRITE = ["find", "insert", "remove", "update"]
_DEFINE = ["dropCollection", "dropDatabase"]
_GRANT = ["grantRole"]
_EVERYTHING = ["anyAction"]

_OF_ONE: Mapping[str, list[str]] = {
    "read": _READ,
    "readWrite": [*_WRITE, "dropCollection"],
    "dbAdmin": _DEFINE,
    "userAdmin": _GRANT,
    "dbOwner": [*_WRITE, *_DEFINE, *_GRANT],
}
_OF_ALL: Mapping[str, list[str]] = {
    "readAnyDatabase": _READ,
    "readWriteAnyDatabase": [*_WRITE, "dropCollection"],
    "dbAdminAnyDatabase": _DEFINE,
    "userAdminAnyDatabase": _GRANT,
    "backup": _READ,
    "restore": [*_WRITE[1:], *_DEFINE, *_GRANT],
    "clusterAdmin": ["dropDatabase"],
    "clusterManager": [],
    "clusterMonitor": [],
    "hostManager": [],
    "directShardOperations": [],
    "enableSharding": [],
    "root": [*_WRITE, *_DEFINE, *_GRANT],
}


def built_in(role: str, database: str) -> list[Privilege] | None:
    """What a built-in role of a database allows; `None` of a role that is none."""
    if role in _OF_ONE:
        return [{"resource": {"db": database, "collection": ""}, "actions": _OF_ONE[role]}]
    if database != "admin":
        return None
    if role == "__system":
        return [{"resource": {"anyResource": True}, "actions": _EVERYTHING}]
    if role in _OF_ALL:
        return [{"resource": {"db": "", "collection": ""}, "actions": _OF_ALL[role]}]
    return None
