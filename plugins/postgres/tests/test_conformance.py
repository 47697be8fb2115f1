"""The PostgreSQL connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.postgres.server import PostgresServer


class TestPostgresConformance(ConnectorConformance):
    identifier = "postgres"
    distribution = "connectory-postgres"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, postgres: PostgresServer) -> dict[str, Any]:
        return {
            "host": postgres.host,
            "port": postgres.port,
            "username": postgres.superuser,
            "password": postgres.password,
            "dbname": "postgres",
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"dbname": "nowhere"},
            FailureCode.SCHEMA_NOT_FOUND: good_secrets | {"db_schema": "nowhere"},
            FailureCode.TLS_FAILED: good_secrets | {"ssl_mode": "required"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "somebody", "password": "something"}
