"""What a plugin author's process gets: pluggy and pydantic, and none of what a running service needs."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    *(
        "fastapi",
        "starlette",
        "uvicorn",
        "httptools",
        "uvloop",
        "sqlalchemy",
        "alembic",
        "cryptography",
        "typer",
        "structlog",
    ),
    *("fideslang", "prometheus_client", "pydantic_settings", "asyncio"),
    *(
        "psycopg2",
        "pymongo",
        "pymysql",
        "pyodbc",
        "redshift_connector",
        "snowflake",
        "google",
        "boto3",
        "requests",
        "httpx",
        "httpcore",
    ),
}

STEPS = {
    "import connectory": "import connectory",
    "the toolkit": "import connectory.toolkit, connectory.toolkit.http, connectory.toolkit.tls",
    "the catalogue and every schema": (
        "from connectory.catalog.catalog import build_catalog\n"
        "catalog = build_catalog()\n"
        "assert 'manual' in catalog.connectors\n"
        "assert all(c.schema and c.description.human_readable for c in catalog.connectors.values())"
    ),
    "what tests are forked from": "import connectory.checks.forkserver",
    "validating secrets": (
        "from connectory.catalog.catalog import build_catalog\n"
        "from connectory.documents.validation import SecretsInvalid, parse_secrets\n"
        "for connector in build_catalog().connectors.values():\n"
        "    try: parse_secrets(connector.secrets_model, {'url': 'x', 'host': 'h', 'other': 1})\n"
        "    except SecretsInvalid: pass"
    ),
}


@pytest.mark.parametrize("code", STEPS.values(), ids=STEPS)
def test_nothing_heavy_is_imported(code):
    probe = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", probe],
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if not name.startswith("CONNECTORY_")},
    )
    assert finished.returncode == 0, finished.stderr
    imported = set(json.loads(finished.stdout))
    assert {"connectory", "pluggy", "pydantic"} <= imported
    assert imported & HEAVY == set()
