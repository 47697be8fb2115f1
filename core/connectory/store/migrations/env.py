"""Called by Alembic for every command: run the migrations on the connection that `schema.upgrade` opened."""

from alembic import context

from connectory.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Both databases can undo DDL; Alembic assumes SQLite cannot. The transaction is the caller's.
    transactional_ddl=True,
)
context.run_migrations()
