"""What an account of MySQL's or MariaDB's may do with a table: read from its grants, as `SHOW GRANTS` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from connectory.data import CollectionRef, Privileges
from connectory_sql.database import Database

_NAME = r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*'|[^\s`'.@]+)"
_ACCOUNT = rf"{_NAME}(?:@{_NAME})?"
_PLACE = rf"(\*|{_NAME})\.(\*|{_NAME})"
_ON_TABLES = re.compile(rf"(GRANT|REVOKE) (.+?) ON (?:TABLE )?(?P<place>{_PLACE}) (?:TO|FROM) (?P<whom>{_ACCOUNT})")
_ON_ROUTINES = re.compile(r"GRANT .+? ON (?:FUNCTION|PROCEDURE|PACKAGE|PACKAGE BODY) ")
_OF_ROLES = re.compile(rf"GRANT ({_ACCOUNT}(?:, ?{_ACCOUNT})*) TO {_ACCOUNT}")
_RIGHT = re.compile(r"([A-Z][A-Z ]*[A-Z])(?: \(((?:`(?:[^`]|``)*`(?:, )?)+)\))?")

_UPDATES = ("INSERT", "UPDATE")
_DELETES = ("DELETE", "DROP")  # which is the right to TRUNCATE
_ALL = "ALL PRIVILEGES"


class _Grant(NamedTuple):
    """One line: rights on a place, for the account or a role. Each right has its columns, or none for all of them."""

    revoked: bool
    rights: dict[str, str]
    place: str
    whom: str

    def covers(self, schema: str, name: str) -> bool:
        return _covers(self.place, schema, name)

    def has(self, right: str) -> bool:
        return right in self.rights or _ALL in self.rights


def privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    """By the grants of the account and of the roles that it has, taken on or not."""
    grants = _grants(database)
    for ref in refs:
        schema = ref.namespace.get("schema", "")
        mine = [grant for grant in grants if grant.covers(schema, ref.name)]
        held = {right: _held(right, mine) for right in ("SELECT", *_UPDATES, *_DELETES)}
        writes = [right for right in (*_UPDATES, *_DELETES) if held[right]]
        yield Privileges(
            ref,
            read=held["SELECT"],
            update=any(held[right] for right in _UPDATES),
            delete=any(held[right] for right in _DELETES),
            remedy=" ".join(_remedies(writes, mine)),
        )


def _held(right: str, grants: list[_Grant]) -> bool:
    # What MySQL's partial revokes take away was given for every database at once.
    revoked = any(grant.revoked and grant.has(right) for grant in grants)
    return any(grant.has(right) and not grant.revoked and not (revoked and grant.place == "*.*") for grant in grants)


def _remedies(writes: list[str], grants: list[_Grant]) -> Iterator[str]:
    for grant in grants:
        taken = [
            right + (f" ({grant.rights[right]})" if grant.rights.get(right) else "")
            for right in writes
            if grant.has(right)
        ]
        if taken and not grant.revoked:
            yield f"REVOKE {', '.join(taken)} ON {grant.place} FROM {grant.whom};"


def _grants(database: Database) -> list[_Grant]:
    """What the account has, and each of its roles: nobody but an administrator may ask for a role's grants alone."""
    lines = _shown(database, "SHOW GRANTS")
    found = _parsed(lines)
    for role in _roles(lines):
        of_role = _in_role(database, role) if database.facts["mariadb"] else _with_role(database, role)
        found += [grant for grant in of_role if grant not in found]
    return found


def _in_role(database: Database, role: str) -> list[_Grant]:
    """MariaDB: the grants that count once the session has taken on `role`, those of its roles among them."""
    [(before,)] = database.rows("SELECT CURRENT_ROLE()")
    database.run(f"SET ROLE {_plain(role)}")
    try:
        return _parsed(_shown(database, "SHOW GRANTS"))
    finally:
        database.run(f"SET ROLE {'NONE' if before is None else database.quoted(before)}")


def _with_role(database: Database, role: str) -> list[_Grant]:
    """MySQL: it shows the grants of `role` as if they were the account's own."""
    grants = _parsed(_shown(database, f"SHOW GRANTS FOR CURRENT_USER() USING {_plain(role)}"))
    own = {(grant.place, *grant.rights) for grant in _parsed(_shown(database, "SHOW GRANTS"))}
    return [grant._replace(whom=role) for grant in grants if (grant.place, *grant.rights) not in own]


def _plain(role: str) -> str:
    """A role as the server has quoted it, for a statement in which colons stand for values."""
    return role.replace(":", "\\:")


def _shown(database: Database, statement: str) -> list[str]:
    return [line for (line,) in database.rows(statement)]


def _parsed(lines: list[str]) -> list[_Grant]:
    found = [None if _ON_ROUTINES.match(line) else _ON_TABLES.match(line) for line in lines]
    return [_Grant(one[1] == "REVOKE", dict(_RIGHT.findall(one[2])), one["place"], one["whom"]) for one in found if one]


def _roles(lines: list[str]) -> list[str]:
    """The roles that are granted by these lines."""
    found = [_OF_ROLES.match(line) for line in lines]
    return [role for one in found if one for role in re.findall(_ACCOUNT, one[1])]


def _covers(place: str, schema: str, name: str) -> bool:
    found = re.fullmatch(_PLACE, place)
    assert found is not None
    database, table = (_unquoted(part) for part in found.groups())
    if table != "*":
        return (database, table) == (schema, name)
    return database == "*" or _like(database, schema)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _like(pattern: str, schema: str) -> bool:
    """Whether a database's name fits the pattern that a grant names databases by."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    meant = {"%": ".*", "_": "."}
    expression = "".join(
        meant.get(part) or re.escape(part.removeprefix("\\") if len(part) > 1 else part) for part in parts
    )
    return re.fullmatch(expression, schema, re.DOTALL) is not None
