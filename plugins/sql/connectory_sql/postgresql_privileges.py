"""What an account of PostgreSQL's may do with a table, and by which statement it can no longer write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from connectory.data import CollectionRef, Privileges
from connectory_sql.database import Database

# The owner has every right, also one that was revoked: he can give it to himself. A role that the account may take on counts as
# the account, whether it inherits from it or not; a superuser needs none.
_RIGHTS = """
WITH me AS (SELECT oid, rolname, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
taken AS (
  SELECT r.oid FROM pg_catalog.pg_roles r, me
  WHERE r.oid <> me.oid AND NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, r.oid, '{membership}')
)
SELECT n.nspname, c.relname, me.rolname, me.rolsuper, owner.rolname,
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
  pg_catalog.row_security_active(c.oid),
  pg_catalog.has_any_column_privilege(c.oid, 'INSERT, UPDATE') OR EXISTS (
    SELECT FROM taken WHERE pg_catalog.has_any_column_privilege(taken.oid, c.oid, 'INSERT, UPDATE')),
  pg_catalog.has_table_privilege(c.oid, 'DELETE, TRUNCATE') OR EXISTS (
    SELECT FROM taken WHERE pg_catalog.has_table_privilege(taken.oid, c.oid, 'DELETE, TRUNCATE')),
  c.relowner = me.oid OR c.relowner IN (SELECT taken.oid FROM taken)
FROM me, pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles owner ON owner.oid = c.relowner
WHERE (n.nspname, c.relname) IN :places
"""

_GRANTS = """
SELECT n.nspname, c.relname, g.rolname, a.privilege_type, a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
  SELECT NULL::name AS attname, x.grantee, x.privilege_type FROM pg_catalog.aclexplode(c.relacl) x
  UNION ALL
  SELECT b.attname, x.grantee, x.privilege_type
  FROM pg_catalog.pg_attribute b CROSS JOIN LATERAL pg_catalog.aclexplode(b.attacl) x WHERE b.attrelid = c.oid
) a
LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
WHERE a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AND a.grantee <> c.relowner
  AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'MEMBER')) AND (n.nspname, c.relname) IN :places
ORDER BY 1, 2, 3 NULLS FIRST, 4, 5
"""

_OPTION_SINCE = 16_00_00
"""The version in which a membership got the option to be no leave for SET ROLE."""


class _Grant(NamedTuple):
    grantee: str | None  # None is PUBLIC
    privilege: str
    column: str | None


class _Account(NamedTuple):
    name: str
    superuser: bool
    owner: str
    owns: bool


def privileges(database: Database, refs: Sequence[CollectionRef]) -> Iterator[Privileges]:
    """By `has_table_privilege` and its like, and the access lists themselves. Nothing is written."""
    places = [(ref.namespace.get("schema", ""), ref.name) for ref in refs]
    if not places:
        return
    grants: dict[tuple[str, str], list[_Grant]] = defaultdict(list)
    for schema, name, *grant in database.rows(_GRANTS, places=places):
        grants[schema, name].append(_Grant(*grant))
    membership = "SET" if database.connection.server_version >= _OPTION_SINCE else "MEMBER"
    for schema, name, me, superuser, owner, read, filtered, update, delete, owns in database.rows(
        _RIGHTS.format(membership=membership), places=places
    ):
        writes = owns or update or delete
        account = _Account(me, superuser, owner, owns)
        yield Privileges(
            CollectionRef(name, {"schema": schema}),
            read=None if read and filtered else read,
            update=owns or update,
            delete=owns or delete,
            remedy=_remedy(database, schema, name, account, grants[schema, name]) if writes else "",
        )


def _remedy(database: Database, schema: str, name: str, account: _Account, grants: list[_Grant]) -> str:
    quoted = database.quoted
    table, me = quoted(schema, name), quoted(account.name)
    if account.superuser:
        return f"ALTER ROLE {me} NOSUPERUSER;"
    statements = []
    if account.owns and account.owner == account.name:
        statements.append(f"ALTER TABLE {table} OWNER TO <another role>;")
    elif account.owns:
        statements.append(f"REVOKE {quoted(account.owner)} FROM {me};")
    rights: dict[str | None, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for grantee, privilege, column in grants:
        rights[grantee][privilege] += [] if column is None else [quoted(column)]
    for grantee, held in rights.items():
        words = [f"{privilege} ({', '.join(columns)})" if columns else privilege for privilege, columns in held.items()]
        whom = "PUBLIC" if grantee is None else quoted(grantee)
        statements.append(f"REVOKE {', '.join(words)} ON {table} FROM {whom};")
    return " ".join(statements) or f"REVOKE pg_write_all_data FROM {me};"
