"""The MariaDB connector keeps the contract, as any third party's would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.mariadb.server import MariaDBServer
from servers.mysql.hostile import GREETING


class TestMariaDBConformance(ConnectorConformance):
    identifier = "mariadb"
    distribution = "connectory-mariadb"
    golden_schema = Path(__file__).with_name("secret_schema.json")
    greeting = GREETING

    @pytest.fixture
    def good_secrets(self, account: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        return account()

    @pytest.fixture
    def bad_secrets(self, mariadb: MariaDBServer, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        superuser = {"username": mariadb.superuser, "password": mariadb.password}
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | superuser | {"dbname": "nowhere"},
            FailureCode.PERMISSION_DENIED: good_secrets | {"dbname": "mysql"},
            FailureCode.TLS_UNTRUSTED: good_secrets | {"ssl_mode": "verify-full"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "somebody", "password": "something", "dbname": "ledger"}
