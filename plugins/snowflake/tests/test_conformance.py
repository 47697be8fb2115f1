"""The Snowflake connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.snowflake.server import SnowflakeServer


class TestSnowflakeConformance(ConnectorConformance):
    identifier = "snowflake"
    distribution = "connectory-snowflake"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, snowflake: SnowflakeServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("CONNECTORY_SNOWFLAKE_ENDPOINT", snowflake.url)
        return {
            "account_identifier": snowflake.account,
            "user_login_name": "owner",
            "password": "p@ss w/:rd",
            "warehouse_name": "owners_wh",
            "database_name": "owners",
            "schema_name": "public",
            "role_name": "owner",
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"database_name": "nowhere"},
            FailureCode.SCHEMA_NOT_FOUND: good_secrets | {"schema_name": "nowhere"},
            FailureCode.PERMISSION_DENIED: good_secrets | {"warehouse_name": "nowhere"},
            FailureCode.HTTP_4XX: good_secrets | {"account_identifier": "nowhere"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {
            "account_identifier": "acme",
            "user_login_name": "somebody",
            "password": "something",
            "warehouse_name": "compute_wh",
        }

    def settings_for_server(self, host: str, port: int) -> dict[str, str]:
        return {"CONNECTORY_SNOWFLAKE_ENDPOINT": f"http://{host}:{port}"}
