"""The MariaDB connector: MySQL's protocol, tested as `connectory-mysql` does it."""

from __future__ import annotations

from connectory import CheckContext, Connector, Description
from connectory_mysql import MySQLSecrets, check_connection, mysql_url

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><ellipse cx="12" cy="5" rx="8" ry="3" fill="#003545"/>'
    '<path d="M4 5v14c0 1.700 3.600 3 8 3s8-1.300 8-3V5c0 1.700-3.600 3-8 3S4 6.700 4 5z" fill="#1f6a82"/>'
    '<path d="M6 17c3 0 4-5 7-6 2-.700 4 0 5 2-2 0-3 1-4 3s-4 3-8 1z" fill="#c49a6c"/></svg>'
)


class MariaDBSecrets(MySQLSecrets):
    """How to reach a MariaDB database."""

    connectory_url = mysql_url("mariadb+pymysql", "mariadb", "mysql+pymysql", "mysql")


class MariaDB(Connector[MariaDBSecrets]):
    """MariaDB."""

    identifier = "mariadb"
    type = "database"
    description = Description(
        human_readable="MariaDB",
        icon=_ICON,
        user_guide="https://mariadb.com/docs/server/reference/sql-statements/account-management-sql-statements/create-user",
        category="DATABASE",
        drivers=("pymysql",),
    )

    def test(self, secrets: MariaDBSecrets, context: CheckContext) -> None:
        """Log in, open the database, and run `SELECT 1`."""
        check_connection(secrets, context)
