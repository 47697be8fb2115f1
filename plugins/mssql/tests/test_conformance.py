"""The SQL Server connector keeps the contract, as any third party's would."""

from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import Certificates, ConnectorConformance
from servers.mssql.server import MSSQLServer


class TestMSSQLConformance(ConnectorConformance):
    identifier = "mssql"
    distribution = "connectory-mssql"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, mssql: MSSQLServer, certificates: Certificates) -> dict[str, Any]:
        return {
            "host": mssql.host,
            "port": mssql.port,
            "username": mssql.superuser,
            "password": mssql.password,
            "dbname": "shop",
            "ssl_ca": certificates.ca_pem,
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "not the password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"dbname": "nowhere"},
            FailureCode.TLS_UNTRUSTED: good_secrets | {"ssl_ca": None},
            FailureCode.INSECURE_AUTH_REFUSED: good_secrets | {"ssl_mode": "required"},
        }

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return {"host": host, "port": port, "username": "u", "password": "p", "dbname": "d"}
