"""Secrets for each installed connector, and the settings that lead all of them to one far end."""

import json
from typing import Any

from servers.bigquery.server import BigQueryServer
from servers.saas import VENDORS


def secrets_of_every_connector(host: str, port: int) -> dict[str, dict[str, Any]]:
    """Secrets by the connector's identifier; those that name a server name `host` and `port`."""
    where = {"host": host, "port": port}
    login = {"username": "somebody", "password": "something"}
    key_file = BigQueryServer().create_account("somebody").key_file()
    return {
        "bigquery": {"keyfile_creds": key_file, "dataset": "app"},
        "manual": {},
        "mariadb": where | login | {"dbname": "app"},
        "mongodb": where | login | {"defaultauthdb": "app"},
        "mssql": where | login | {"dbname": "app"},
        "mysql": where | login | {"dbname": "app"},
        "postgres": where | login,
        "redshift": where | {"user": "somebody", "password": "something", "database": "dev"},
        "snowflake": {
            "account_identifier": "acme",
            "user_login_name": "somebody",
            "password": "something",
            "warehouse_name": "compute_wh",
        },
        **{vendor.identifier: dict(vendor.secrets) for vendor in VENDORS},
    }


def settings_of_every_connector(host: str, port: int) -> dict[str, str]:
    """The settings that lead connectors of fixed hosts to `host` and `port`."""
    address = f"http://{host}:{port}"
    return {
        "CONNECTORY_BIGQUERY_ENDPOINT": address,
        "CONNECTORY_BIGQUERY_TOKEN_URI": f"{address}/token",
        "CONNECTORY_SNOWFLAKE_ENDPOINT": address,
        "CONNECTORY_SAAS_ENDPOINTS": json.dumps({name: address for vendor in VENDORS for name in vendor.hosts}),
    }
