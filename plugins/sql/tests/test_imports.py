"""What a test of a connection does not need is not imported for it."""

import subprocess
import sys

CONNECTORS = ("postgres", "mysql", "mariadb", "mssql", "redshift", "snowflake", "bigquery")


def test_a_connector_imports_sqlalchemy_for_sessions_only() -> None:
    names = ", ".join(f"connectory_{name}" for name in CONNECTORS)
    program = f"import sys, {names}; print(sorted({{'sqlalchemy', 'connectory_sql'}} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
