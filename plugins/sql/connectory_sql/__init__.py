"""Data sessions of SQL databases: discovery, reading and privileges, written once for all of them.

A connector opens and logs in its driver's connection, as it does for its test, and hands it over with its product's `Dialect`:

    def open_session(self, secrets, context):
        from connectory_sql import SqlSession
        from connectory_sql.postgresql import POSTGRESQL

        return SqlSession(POSTGRESQL, log_in(secrets, context), context, schema=secrets.db_schema)

Import it there, inside: it brings in SQLAlchemy, which a test does not need. SQLAlchemy writes the statements and never connects.
"""

from connectory_sql.dialect import Dialect
from connectory_sql.session import SqlSession

__all__ = ["Dialect", "SqlSession"]
