"""Enough T-SQL to be answered by PostgreSQL: translation through sqlglot, and the system objects that connectors ask for."""

from collections.abc import Callable, Mapping

import sqlglot
from sqlglot import expressions

# T-SQL's @@NAME -> an expression of PostgreSQL.
_SERVER_VARIABLES = {
    "version": "sys.version()",
    "servername": "'SERVERS'",
    "spid": "pg_backend_pid()",
    "trancount": "0",
}

# Run once in every database. `sys` holds catalogue views, `dbo` is the default schema and holds what is called
# without one.
SYSTEM_OBJECTS = """
CREATE SCHEMA dbo;
CREATE SCHEMA sys;
GRANT USAGE ON SCHEMA dbo, sys TO PUBLIC;

CREATE FUNCTION sys.version() RETURNS text LANGUAGE sql AS
    $$ SELECT 'Microsoft SQL Server 2022 (servers.mssql on PostgreSQL) - 16.0.4096.0' $$;
CREATE VIEW sys.databases AS
    SELECT datname::text AS name, oid::int AS database_id, 0::smallint AS state, 'ONLINE'::text AS state_desc
    FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1');
CREATE VIEW sys.schemas AS
    SELECT nspname::text AS name, oid::int AS schema_id FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%';
CREATE VIEW sys.tables AS
    SELECT relname::text AS name, relnamespace::int AS schema_id FROM pg_class WHERE relkind = 'r';
CREATE VIEW sys.objects AS
    SELECT relname::text AS name, oid::int AS object_id, relnamespace::int AS schema_id FROM pg_class
    WHERE relkind IN ('r', 'v');
CREATE VIEW sys.columns AS
    SELECT attrelid::int AS object_id, attnum::int AS column_id, attname::text AS name,
        (attidentity <> '')::int AS is_identity, (attgenerated <> '')::int AS is_computed
    FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped;
CREATE VIEW sys.triggers AS
    SELECT tgname::text AS name, tgrelid::int AS parent_id FROM pg_trigger WHERE NOT tgisinternal;
CREATE VIEW sys.foreign_keys AS
    SELECT conname::text AS name, oid::int AS object_id, conrelid::int AS parent_object_id,
        confrelid::int AS referenced_object_id,
        CASE confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET_NULL' ELSE 'NO_ACTION' END AS delete_referential_action_desc
    FROM pg_constraint WHERE contype = 'f';
CREATE VIEW sys.foreign_key_columns AS
    SELECT oid::int AS constraint_object_id, place::int AS constraint_column_id, mine::int AS parent_column_id,
        theirs::int AS referenced_column_id
    FROM pg_constraint CROSS JOIN LATERAL unnest(conkey, confkey) WITH ORDINALITY AS keys (mine, theirs, place)
    WHERE contype = 'f';
-- Whoever may not see the server's state is shown the own session only.
CREATE VIEW sys.dm_exec_sessions AS
    SELECT pid::int AS session_id, backend_start::timestamp(3) AS login_time FROM pg_stat_activity
    WHERE pid = pg_backend_pid() OR (SELECT usesuper FROM pg_user WHERE usename = current_user);
GRANT SELECT ON ALL TABLES IN SCHEMA sys TO PUBLIC;
-- SQL Server does not list its own catalogue.
ALTER VIEW information_schema.tables RENAME TO all_tables;
CREATE VIEW information_schema.tables AS SELECT * FROM information_schema.all_tables WHERE table_schema !~ '^pg_';
GRANT SELECT ON information_schema.tables TO PUBLIC;

CREATE FUNCTION dbo.db_name() RETURNS text LANGUAGE sql AS $$ SELECT current_database()::text $$;
CREATE FUNCTION dbo.db_id(wanted text) RETURNS int LANGUAGE sql AS
    $$ SELECT database_id FROM sys.databases WHERE name = lower(wanted) $$;
CREATE FUNCTION dbo.schema_id(wanted text) RETURNS int LANGUAGE sql AS
    $$ SELECT schema_id FROM sys.schemas WHERE name = lower(wanted) $$;
CREATE FUNCTION dbo.has_dbaccess(wanted text) RETURNS int LANGUAGE sql AS
    $$ SELECT has_database_privilege(name, 'CONNECT')::int FROM sys.databases WHERE name = lower(wanted) $$;
CREATE FUNCTION dbo.quotename(name text) RETURNS text LANGUAGE sql AS $$ SELECT quote_ident(name) $$;
CREATE FUNCTION dbo.user_name() RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$;
CREATE FUNCTION dbo.suser_sname() RETURNS text LANGUAGE sql AS $$ SELECT session_user::text $$;
CREATE FUNCTION dbo.is_srvrolemember(role text) RETURNS int LANGUAGE sql AS
    $$ SELECT (role = 'sysadmin' AND usesuper)::int FROM pg_user WHERE usename = current_user $$;
CREATE FUNCTION dbo.is_rolemember(role text) RETURNS int LANGUAGE sql AS
    $$ SELECT max(pg_has_role(oid, 'MEMBER')::int) FROM pg_roles
       WHERE rolname = role AND dbo.is_srvrolemember('sysadmin') = 0 $$;
CREATE FUNCTION dbo.has_perms_by_name(place text, class text, wanted text) RETURNS int LANGUAGE sql AS
    $$ SELECT has_table_privilege(place, CASE wanted WHEN 'ALTER' THEN 'TRUNCATE' ELSE wanted END)::int $$;
CREATE FUNCTION dbo.has_perms_by_name(place text, class text, wanted text, part text, part_class text)
    RETURNS int LANGUAGE sql AS $$ SELECT has_column_privilege(place, part, wanted)::int $$;
CREATE FUNCTION dbo.serverproperty(wanted text) RETURNS text LANGUAGE sql AS
    $$ SELECT CASE lower(wanted) WHEN 'productversion' THEN '16.0.4096.0' WHEN 'edition' THEN 'Test Edition' END $$;
"""


class SyntaxFault(ValueError):
    """A text that is not T-SQL as far as sqlglot knows it."""


def parse(text: str) -> list[expressions.Expression]:
    """The statements of a batch. Raises SyntaxFault."""
    try:
        return [statement for statement in sqlglot.parse(text, read="tsql") if statement is not None]
    except sqlglot.errors.SqlglotError as error:
        raise SyntaxFault("Incorrect syntax.") from error


def to_postgres(
    statement: expressions.Expression, parameters: Mapping[str, object], quote: Callable[[object], str]
) -> str:
    """The statement in PostgreSQL's SQL. `parameters` are by lower-case name without `@`; `quote` makes a value a literal."""

    def translate(node: expressions.Expression) -> expressions.Expression:
        if isinstance(node, expressions.Identifier):  # names are case-insensitive, as in SQL Server's default collation
            return expressions.to_identifier(node.this.lower(), quoted=node.args.get("quoted"))
        if isinstance(node, expressions.Parameter):
            if isinstance(node.this, expressions.Parameter):  # @@name
                return sqlglot.parse_one(_SERVER_VARIABLES.get(node.this.name.lower(), "NULL"), read="postgres")
            return expressions.Var(this=quote(parameters[node.name.lower()]))
        if isinstance(node, expressions.DataType):
            return _data_type(node)
        return node

    return statement.transform(translate).sql(dialect="postgres")


def _data_type(node: expressions.DataType) -> expressions.DataType:
    kind = expressions.DataType.Type
    if node.this == kind.BIT:
        return expressions.DataType.build("boolean")
    without_limit = any(size.name.lower() == "max" for size in node.expressions)
    if without_limit:
        return expressions.DataType.build("bytea" if node.this in (kind.VARBINARY, kind.BINARY) else "text")
    return node
