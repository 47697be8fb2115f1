"""Which schema a database has, and bringing it to the one this release needs.

Alembic is imported only when there is something to do: it costs a service more start-up time than all of its SQL.
"""

from pathlib import Path

from sqlalchemy import delete, insert, select, text
from sqlalchemy.engine import Connection

from connectory.store.audit import Actor, append
from connectory.store.engine import Store
from connectory.store.errors import SchemaUnknown
from connectory.store.tables import schema_compatibility

HEAD = "0011"
"""The revision this release needs, or a later one that says it suits this one. A test compares it with the newest file in
`migrations/versions/`. Revisions are numbers of four digits, so that their order is that of their texts."""

_MIGRATIONS = Path(__file__).with_name("migrations")
# Any number will do, as long as every process asks for the same one.
_UPGRADE_LOCK = 7_305_121_846


def current_revision(store: Store) -> str | None:
    """The revision of the database, or None where no upgrade ever ran."""
    with store.read() as connection:
        return _revision(connection)


def is_usable(store: Store) -> bool:
    """Whether this release can work with the database: False where it has to be upgraded first.

    Raises:
        SchemaUnknown: a later release upgraded this database, to tables that this one cannot work with.
    """
    with store.read() as connection:
        return _is_usable(connection, _revision(connection))


def upgrade(store: Store, actor: Actor | None = None) -> None:
    """Bring the database to `HEAD`, in one transaction. Does nothing where it is there already, or at a later one that suits.

    Processes that upgrade at the same time wait for each other.

    Args:
        actor: for the entry in the audit trail. Default: there is none.

    Raises:
        SchemaUnknown: a later release upgraded this database, to tables that this one cannot work with.
    """
    if is_usable(store):
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with store.write() as connection:
        _wait_for_other_upgrades(connection)
        found = _revision(connection)
        if _is_usable(connection, found):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        newest = ScriptDirectory.from_config(config).get_revision("head")
        connection.execute(delete(schema_compatibility))
        connection.execute(insert(schema_compatibility).values(compatible_since=newest.module.compatible_since))
        if actor is not None:
            append(connection, actor.did("database_upgraded", details={"before": found or "none", "after": HEAD}))


def _is_usable(connection: Connection, revision: str | None) -> bool:
    if revision is None or revision < HEAD:
        return False
    if revision == HEAD:
        return True
    since = connection.execute(select(schema_compatibility.c.compatible_since)).scalar()
    if since is not None and since <= HEAD:
        return True
    raise SchemaUnknown(
        f"The database has schema {revision}, of a later release, whose tables this release does not know (it knows up to "
        f"{HEAD}); run the release that upgraded the database, or restore a backup made before."
    )


def _revision(connection: Connection) -> str | None:
    if connection.dialect.name == "sqlite":
        exists = text("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'alembic_version'")
    else:
        exists = text("SELECT to_regclass('alembic_version')")
    if connection.execute(exists).scalar() is None:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _wait_for_other_upgrades(connection: Connection) -> None:
    # On SQLite the write transaction itself is the lock.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
