"""The Redshift connector keeps the contract, as any third party's would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance


class TestRedshiftConformance(ConnectorConformance):
    identifier = "redshift"
    distribution = "connectory-redshift"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, account: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        return account() | {"db_schema": "public"}

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"database": "nowhere"},
            FailureCode.SCHEMA_NOT_FOUND: good_secrets | {"db_schema": "nowhere"},
            FailureCode.TLS_UNTRUSTED: {name: value for name, value in good_secrets.items() if name != "ssl_ca"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {
            "host": host,
            "port": port,
            "user": "somebody",
            "password": "something",
            "database": "dev",
            "ssl_mode": "preferred",
        }
