"""The MongoDB connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.mongodb.server import MongoDBServer


class TestMongoDBConformance(ConnectorConformance):
    identifier = "mongodb"
    distribution = "connectory-mongodb"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, mongodb: MongoDBServer) -> dict[str, Any]:
        return {
            "host": mongodb.host,
            "port": mongodb.port,
            "username": mongodb.superuser,
            "password": mongodb.password,
            "defaultauthdb": "shop",
            "auth_source": "admin",
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"defaultauthdb": "nowhere"},
            FailureCode.TLS_FAILED: good_secrets | {"ssl_mode": "required"},
            FailureCode.PROTOCOL_MISMATCH: good_secrets | {"replica_set": "another"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "u", "password": "p", "defaultauthdb": "d"}
