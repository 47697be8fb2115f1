"""The MariaDB connector: MySQL's protocol, tested as `connectory-mysql` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectory import CheckContext, Connector, Description
from connectory_mysql import MySQLSecrets, check_connection, mysql_url, open_session_of

if TYPE_CHECKING:
    from connectory.data import DataSession, SessionContext


class MariaDBSecrets(MySQLSecrets):
    """How to reach a MariaDB database."""

    connectory_url = mysql_url("mariadb+pymysql", "mariadb", "mysql+pymysql", "mysql")


class MariaDB(Connector[MariaDBSecrets]):
    """MariaDB."""

    identifier = "mariadb"
    type = "database"
    description = Description(
        human_readable="MariaDB",
        user_guide="https://mariadb.com/docs/server/reference/sql-statements/account-management-sql-statements/create-user",
        category="DATABASE",
        drivers=("pymysql",),
        session_modules=("connectory_sql.mysql",),
    )

    def test(self, secrets: MariaDBSecrets, context: CheckContext) -> None:
        """Log in, open the database, and run `SELECT 1`."""
        check_connection(secrets, context)

    def open_session(self, secrets: MariaDBSecrets, context: SessionContext) -> DataSession:
        """Log in as the test does."""
        from connectory_sql.mysql import MARIADB

        return open_session_of(MARIADB, secrets, context)
