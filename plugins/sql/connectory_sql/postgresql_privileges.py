"""What an account of PostgreSQL's may do with a table, and by which statement it can no longer write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from connectory.data import CollectionRef, Privileges
from connectory_sql.database import Database

# The owner has every right, also one that was revoked: he can give it to himself. A role that the account may take on counts as
# the account, whether it inherits from it or not; a superuser needs none. Through a view somebody writes who has a right to the
# view; what its owner may do with the tables behind it is told of them.
_RIGHTS = """
WITH me AS (SELECT oid, rolname, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
taken AS (
  SELECT r.oid FROM pg_catalog.pg_roles r, me
  WHERE r.oid <> me.oid AND NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, '{membership}')
)
SELECT n.nspname, c.relname, me.rolname, me.rolsuper, owner.rolname,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
  pg_catalog.row_security_active(c.oid),
  k.takes_rows AND (pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE') OR EXISTS (
    SELECT FROM taken WHERE pg_catalog.has_any_column_privilege(taken.oid, c.oid, 'INSERT, UPDATE'))),
  k.takes_rows AND (pg_catalog.has_table_privilege(c.oid, 'DELETE, TRUNCATE') OR EXISTS (
    SELECT FROM taken WHERE pg_catalog.has_table_privilege(taken.oid, c.oid, 'DELETE, TRUNCATE'))),
  k.takes_rows AND o.owns
FROM me, pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles owner ON owner.oid = c.relowner
CROSS JOIN LATERAL (SELECT c.relowner = me.oid OR c.relowner IN (SELECT taken.oid FROM taken) AS owns) o
CROSS JOIN LATERAL (SELECT CASE c.relkind WHEN 'm' THEN false
  WHEN 'v' THEN NOT o.owns AND pg_catalog.pg_relation_is_updatable(c.oid, true) > 0 ELSE true END AS takes_rows) k
WHERE (n.nspname, c.relname) IN :places
"""

# The roles that the account is in, near and far, by which role of its own each. Whoever is not the first superuser of the server
# has to be named where a membership is taken back that he gave.
_MEMBERSHIPS = """
SELECT r.rolname, r.rolsuper, mine.rolname, CASE WHEN m.grantor <> 10 THEN giver.rolname END
FROM pg_catalog.pg_roles me
JOIN pg_catalog.pg_auth_members m ON m.member = me.oid
JOIN pg_catalog.pg_roles mine ON mine.oid = m.roleid
LEFT JOIN pg_catalog.pg_roles giver ON giver.oid = m.grantor
JOIN pg_catalog.pg_roles r ON r.oid = mine.oid
  OR NOT mine.rolsuper AND pg_catalog.pg_has_role(mine.oid, r.oid, '{membership}')
WHERE me.rolname = current_user AND NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, mine.oid, '{membership}')
ORDER BY mine.rolname, 4 NULLS FIRST
"""

_GRANTS = """
SELECT n.nspname, c.relname, g.rolname, CASE WHEN a.grantor <> c.relowner THEN giver.rolname END, a.privilege_type, a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT NULL::name AS attname, x.grantor, x.grantee, x.privilege_type FROM pg_catalog.aclexplode(c.relacl) x
  UNION ALL
  SELECT b.attname, x.grantor, x.grantee, x.privilege_type
  FROM pg_catalog.pg_attribute b CROSS JOIN LATERAL pg_catalog.aclexplode(b.attacl) x WHERE b.attrelid = c.oid
) a
LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
LEFT JOIN pg_catalog.pg_roles giver ON giver.oid = a.grantor
WHERE a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AND a.grantee <> c.relowner
  AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'MEMBER')) AND (n.nspname, c.relname) IN :places
ORDER BY 1, 2, 3 NULLS FIRST, 4 NULLS FIRST, 5, 6
"""

_OPTION_SINCE = 16_00_00
"""The version in which a membership got options: to be leave for SET ROLE, and to give rights without it."""
_WRITER = "pg_write_all_data"


class _Grant(NamedTuple):
    grantee: str | None  # None is PUBLIC
    grantor: str | None  # None is the owner
    privilege: str
    column: str | None


class _Account(NamedTuple):
    """The account. `by_role` has for each role that it is in the statements that end that, `superusers` those of them."""

    name: str
    superuser: bool
    by_role: dict[str, list[str]]
    superusers: list[str]


def privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    """By `has_table_privilege` and its like, and the access lists themselves. Nothing is written."""
    places = [(ref.namespace.get("schema", ""), ref.name) for ref in refs]
    if not places:
        return
    grants: dict[tuple[str, str], list[_Grant]] = defaultdict(list)
    for schema, name, *grant in database.rows(_GRANTS, places=places):
        grants[schema, name].append(_Grant(*grant))
    membership = "USAGE, SET" if database.connection.server_version >= _OPTION_SINCE else "MEMBER"
    memberships = database.rows(_MEMBERSHIPS.format(membership=membership))
    for schema, name, me, superuser, owner, read, filtered, update, delete, owns in database.rows(
        _RIGHTS.format(membership=membership), places=places
    ):
        writes = owns or update or delete
        remedy = ""
        if writes:
            account = _account(database, me, superuser, memberships)
            place, owned_by = (schema, name), owner if owns else None
            statements = [*_remedies(database, place, account, owned_by, grants[place])]
            if owns and read and not superuser:  # which it may because it owns the table
                statements.append(f"GRANT SELECT ON {database.quoted(*place)} TO {database.quoted(me)};")
            remedy = " ".join(statements)
        yield Privileges(
            CollectionRef(name, {"schema": schema}),
            read=None if read and filtered else read,
            update=owns or update,
            delete=owns or delete,
            remedy=remedy,
        )


def _account(database: Database, name: str, superuser: bool, memberships: Sequence[tuple[Any, ...]]) -> _Account:
    by_role: dict[str, list[str]] = defaultdict(list)
    for role, _, mine, giver in memberships:
        by = "" if giver is None else f" GRANTED BY {database.quoted(giver)}"
        by_role[role].append(f"REVOKE {database.quoted(mine)} FROM {database.quoted(name)}{by};")
    return _Account(name, superuser, by_role, [role for role, is_superuser, *_ in memberships if is_superuser])


def _remedies(
    database: Database, place: tuple[str, str], account: _Account, owner: str | None, grants: list[_Grant]
) -> Iterator[str]:
    """The statements, for a superuser to run. `owner` is the account, or a role of its own, where it is the table's."""
    table, me = database.quoted(*place), database.quoted(account.name)
    if account.superuser:
        yield f"ALTER ROLE {me} NOSUPERUSER;"
        return
    ended = dict.fromkeys(
        statement for role in (*account.superusers, owner, _WRITER) for statement in account.by_role.get(role or "", ())
    )
    yield from ended
    if owner == account.name:
        yield f"ALTER TABLE {table} OWNER TO CURRENT_USER;"
    rights: dict[tuple[str | None, str | None], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for grantee, grantor, privilege, column in grants:
        rights[grantee, grantor][privilege] += [] if column is None else [database.quoted(column)]
    for (grantee, grantor), held in rights.items():
        words = [f"{privilege} ({', '.join(columns)})" if columns else privilege for privilege, columns in held.items()]
        whom = "PUBLIC" if grantee is None else database.quoted(grantee)
        revoke = f"REVOKE {', '.join(words)} ON {table} FROM {whom};"
        yield revoke if grantor is None else f"SET ROLE {database.quoted(grantor)}; {revoke} RESET ROLE;"
