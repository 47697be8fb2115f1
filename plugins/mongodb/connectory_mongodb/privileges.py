"""What the account of a connection may do, as the server says: by `connectionStatus` and `rolesInfo`, and without a try.

From the MongoDB manual: "Privilege Actions", "Resource Document", and the pages of the two commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from connectory.data import CollectionRef, Privileges
from connectory_mongodb.roles import Privilege, built_in

if TYPE_CHECKING:
    from pymongo import MongoClient

_ANY = "anyAction"
_READS = frozenset({"find", _ANY})
_UPDATES = frozenset({"insert", "update", _ANY})
_DELETES = frozenset({"remove", "dropCollection", "dropDatabase", _ANY})
# Who may grant roles of a database, or of `admin`, can give each of them to itself.
_GRANTS = frozenset({"grantRole", _ANY})
_WRITES = _UPDATES | _DELETES | _GRANTS


class Role(NamedTuple):
    """A role, by its name and the database that it is defined in."""

    name: str
    database: str


@dataclass(frozen=True)
class Account:
    """What is known of an account.

    Attributes:
        user: its name and its database; `None` where nobody is logged in.
        held: the privileges that the server says it has; empty where the server does not say.
        granted: the roles that were granted to it.
        roles: of each of its roles, also those within others, what it allows by itself; `None` where that is not known.
        within: the roles within each role, near and far.
        unguarded: whether the server lets anybody do anything.
    """

    user: tuple[str, str] | None = None
    held: Sequence[Privilege] = ()
    granted: Sequence[Role] = ()
    roles: Mapping[Role, Sequence[Privilege] | None] = field(default_factory=dict)
    within: Mapping[Role, Sequence[Role]] = field(default_factory=dict)
    unguarded: bool = False

    @classmethod
    def of(cls, client: MongoClient[dict[str, Any]]) -> Account:
        """Ask a server, by whose rules everybody may ask this of themselves."""
        status = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
        users = status["authenticatedUsers"]
        if not users:
            # Where access is controlled, nobody may list anything without a login.
            return cls(unguarded=_answers(client, "listDatabases", nameOnly=True) is not None)
        user, database = users[0]["user"], users[0]["db"]
        told = _roles_of(status["authenticatedUserRoles"])
        known = _known(client, told)
        within = {role: _within(role, known) for role in known}
        shown = _answers(client, "usersInfo", {"user": user, "db": database}, database=database)
        return cls(
            user=(user, database),
            held=status.get("authenticatedUserPrivileges", ()),
            granted=_roles_of(shown["users"][0]["roles"]) if shown and shown.get("users") else _outer(told, within),
            roles={role: _own(role, about) for role, about in known.items()},
            within=within,
        )

    def privileges(self, ref: CollectionRef, database: str) -> Privileges:
        """What it may do with a collection of a database."""
        if self.user is None:
            answer = True if self.unguarded else None
            return Privileges(ref, answer, answer, answer)
        can = {
            "read": self._may(_READS, ref.name, database),
            "update": self._may(_UPDATES, ref.name, database),
            "delete": self._may(_DELETES, ref.name, database),
        }
        if self._may_grant(database):
            can |= {"update": True, "delete": True}
        writes = can["update"] or can["delete"]
        return Privileges(ref, **can, remedy=" ".join(self._remedies(ref.name, database)) if writes else "")

    def _may(self, actions: frozenset[str], collection: str, database: str) -> bool | None:
        if self.held:
            return _allows(self.held, actions, collection, database)
        known = [found for found in self.roles.values() if found is not None]
        if any(_allows(found, actions, collection, database) for found in known):
            return True
        return None if len(known) < len(self.roles) else False

    def _may_grant(self, database: str) -> bool:
        everything = [*self.held, *(privilege for found in self.roles.values() for privilege in found or ())]
        return any(_grants(everything, where) for where in (database, "admin"))

    def _remedies(self, collection: str, database: str) -> Iterator[str]:
        """Statements for MongoDB's shell: built-in roles are taken from the account, and from other roles what is too much."""
        revoked = []
        for role in self.granted:
            inner = [role, *self.within.get(role, ())]
            if not any(self._writes(one, collection, database) for one in inner):
                continue
            if all(built_in(*one) is None for one in inner if self._writes(one, collection, database)):
                for one in inner:
                    yield from self._revoked(one, collection, database)
            else:
                revoked.append(role)
        if revoked and self.user is not None:
            name, home = self.user
            roles = ", ".join(_shown(role) for role in revoked)
            yield f"db.getSiblingDB({_quoted(home)}).revokeRolesFromUser({_quoted(name)}, [{roles}]);"
            gone = {inner for one in revoked for inner in (one, *self.within.get(one, ()))}
            kept = [self.roles[role] or () for role in self.roles if role not in gone]
            if not any(_allows(found, _READS, collection, database) for found in kept):
                read = _shown(Role("read", database))
                yield f"db.getSiblingDB({_quoted(home)}).grantRolesToUser({_quoted(name)}, [{read}]);"

    def _writes(self, role: Role, collection: str, database: str) -> bool:
        found = self.roles.get(role) or ()
        return (
            _allows(found, _UPDATES | _DELETES, collection, database)
            or _grants(found, database)
            or _grants(found, "admin")
        )

    def _revoked(self, role: Role, collection: str, database: str) -> Iterator[str]:
        """The statement that takes out of a role of one's own what lets it write."""
        taken = [
            {"resource": privilege["resource"], "actions": sorted(_WRITES.intersection(privilege["actions"]))}
            for privilege in self.roles.get(role) or ()
            if _WRITES.intersection(privilege["actions"])
            and (
                _covers(privilege["resource"], collection, database)
                or _grants([privilege], database)
                or _grants([privilege], "admin")
            )
        ]
        if taken:
            shown = json.dumps(taken, ensure_ascii=False)
            yield f"db.getSiblingDB({_quoted(role.database)}).revokePrivilegesFromRole({_quoted(role.name)}, {shown});"


def _allows(privileges: Iterable[Privilege], actions: frozenset[str], collection: str, database: str) -> bool:
    return any(
        not actions.isdisjoint(privilege["actions"]) and _covers(privilege["resource"], collection, database)
        for privilege in privileges
    )


def _grants(privileges: Iterable[Privilege], database: str) -> bool:
    """Whether roles of a database may be granted: that is a right to the database as a whole."""
    return _allows(privileges, _GRANTS, "", database)


def _covers(resource: Mapping[str, Any], collection: str, database: str) -> bool:
    """Whether a resource is, or holds, a collection; an empty name is a database as a whole. System collections are apart."""
    if resource.get("anyResource"):
        return True
    if "db" not in resource or "collection" not in resource:  # the cluster, or what a time series is kept in
        return False
    return resource["db"] in {"", database} and resource["collection"] in {"", collection}


def _own(role: Role, about: Mapping[str, Any]) -> Sequence[Privilege] | None:
    """What a role allows by itself: as the server says, else as MongoDB's manual says."""
    if "privileges" in about:
        return list(about["privileges"])
    return built_in(*role)


def _outer(roles: Iterable[Role], within: Mapping[Role, Sequence[Role]]) -> list[Role]:
    """The roles that are not within another one."""
    inner = {role for found in within.values() for role in found}
    return [role for role in roles if role not in inner]


def _known(client: MongoClient[dict[str, Any]], roles: Iterable[Role]) -> dict[Role, Mapping[str, Any]]:
    """What the server says of roles, and of those within them; an empty answer where the account may not ask."""
    known: dict[Role, Mapping[str, Any]] = {}
    wanted = sorted(set(roles))
    while wanted:
        for database in sorted({role.database for role in wanted}):
            asked = [{"role": role.name, "db": role.database} for role in wanted if role.database == database]
            answer = _answers(client, "rolesInfo", asked, database=database, showPrivileges=True) or {}
            known |= {Role(about["role"], about["db"]): about for about in answer.get("roles", ())}
        known |= {role: {} for role in wanted if role not in known}
        wanted = sorted({inner for about in known.values() for inner in _inside(about)} - known.keys())
    return known


def _inside(about: Mapping[str, Any]) -> list[Role]:
    return _roles_of([*about.get("roles", ()), *about.get("inheritedRoles", ())])


def _within(role: Role, known: Mapping[Role, Mapping[str, Any]]) -> list[Role]:
    """The roles within a role, near and far; two may be within each other."""
    found = {role: None}
    remaining = [role]
    while remaining:
        new = [inner for inner in _inside(known.get(remaining.pop(), {})) if inner not in found]
        found |= dict.fromkeys(new)
        remaining += new
    return [inner for inner in found if inner != role]


def _answers(
    client: MongoClient[dict[str, Any]], command: str, value: Any = 1, *, database: str = "admin", **options: Any
) -> dict[str, Any] | None:
    """What the server answers; `None` where it refuses."""
    from pymongo.errors import OperationFailure

    with suppress(OperationFailure):
        answer: dict[str, Any] = client[database].command(command, value, **options)
        return answer
    return None


def _roles_of(listed: Iterable[Mapping[str, str]]) -> list[Role]:
    return sorted({Role(found["role"], found["db"]) for found in listed})


def _shown(role: Role) -> str:
    return f"{{ role: {_quoted(role.name)}, db: {_quoted(role.database)} }}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
