"""The BigQuery connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers.bigquery.server import BigQueryServer, ServiceAccount


class TestBigQueryConformance(ConnectorConformance):
    identifier = "bigquery"
    distribution = "connectory-bigquery"
    golden_schema = Path(__file__).with_name("secret_schema.json")
    short_deadline = 5.0  # the key is read before anything is connected to

    @pytest.fixture
    def good_secrets(
        self, bigquery: BigQueryServer, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, Any]:
        monkeypatch.setenv("CONNECTORY_BIGQUERY_ENDPOINT", bigquery.endpoint)
        monkeypatch.setenv("CONNECTORY_BIGQUERY_TOKEN_URI", bigquery.token_uri)
        return {"keyfile_creds": account.key_file(), "dataset": bigquery.dataset}

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any], bigquery: BigQueryServer) -> dict[FailureCode, dict[str, Any]]:
        key_file = good_secrets["keyfile_creds"]
        stranger = bigquery.create_account("stranger", runs_queries=False).key_file()
        return {
            FailureCode.AUTH_FAILED: {"keyfile_creds": key_file | {"private_key": stranger["private_key"]}},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"project": "nowhere"},
            FailureCode.SCHEMA_NOT_FOUND: good_secrets | {"dataset": "nowhere"},
            FailureCode.PERMISSION_DENIED: {"keyfile_creds": stranger},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        key_file = BigQueryServer().create_account("somebody").key_file()
        return {"keyfile_creds": key_file, "project": "another-one", "dataset": "app"}

    def settings_for_server(self, host: str, port: int) -> dict[str, str]:
        address = f"http://{host}:{port}"
        return {"CONNECTORY_BIGQUERY_ENDPOINT": address, "CONNECTORY_BIGQUERY_TOKEN_URI": f"{address}/token"}
