"""The MySQL connector keeps the contract, as any third party's would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.mysql.hostile import GREETING
from servers.mysql.server import MySQL8Front


class TestMySQLConformance(ConnectorConformance):
    identifier = "mysql"
    distribution = "connectory-mysql"
    golden_schema = Path(__file__).with_name("secret_schema.json")
    greeting = GREETING

    @pytest.fixture
    def good_secrets(self, mysql: MySQL8Front, account: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        return account(mysql)

    @pytest.fixture
    def bad_secrets(
        self,
        mysql: MySQL8Front,
        mysql_without_tls: MySQL8Front,
        good_secrets: dict[str, Any],
        account: Callable[..., dict[str, Any]],
    ) -> dict[FailureCode, dict[str, Any]]:
        superuser = {"username": mysql.superuser, "password": mysql.password}
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | superuser | {"dbname": "nowhere"},
            FailureCode.PERMISSION_DENIED: good_secrets | {"dbname": "mysql"},
            FailureCode.TLS_FAILED: good_secrets | {"port": mysql_without_tls.port, "ssl_mode": "required"},
            FailureCode.TLS_UNTRUSTED: good_secrets | {"ssl_ca": None},
            FailureCode.INSECURE_AUTH_REFUSED: account(mysql) | {"ssl_mode": "required"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "somebody", "password": "something", "dbname": "app"}
