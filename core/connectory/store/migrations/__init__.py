"""Alembic's scripts, run by `connectory.store.schema` without an alembic.ini."""
