"""Connectors that others wrote against version 0.1 load, list and test unchanged."""

import subprocess
import sys
from pathlib import Path

import pytest

from connectory.testing import Workbench
from connectory.testing.certificates import Certificates
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit.distribution import install

QUARRY = Path(__file__).with_name("quarry_0_1.py").read_text()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the old connector installed."""
    entry_points = {"quarry": "connectory_quarry:quarry"}
    install(tmp_path, "connectory-quarry", entry_points=entry_points, modules={"connectory_quarry": QUARRY})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.mark.filterwarnings("ignore:connectory:DeprecationWarning")
def test_it_tests_as_before(
    site: Path, postgres: PostgresServer, postgres_tls: PostgresTlsFront, certificates: Certificates
) -> None:
    address = f"{postgres.superuser}:{postgres.password}@localhost"
    with Workbench() as workbench:

        def check(**secrets: object) -> object:
            return workbench.test("quarry", "connectory-quarry", secrets).report

        assert check(url=f"quarry://{address}:{postgres.port}/postgres?app=x", retries="3").status == "succeeded"
        url = f"quarry://{address}:{postgres_tls.port}/postgres?sslmode=verify-full"
        assert check(url=url, ssl_ca=certificates.ca_pem).status == "succeeded"
        assert check(url=url, ssl_ca=certificates.other_ca_pem).code == "tls_untrusted"
        wrong = check(
            host="localhost", port=postgres.port, username=postgres.superuser, password="wrong", dbname="postgres"
        )
        assert wrong.code == "auth_failed"


def test_it_is_listed_and_what_it_should_change_is_only_a_warning(site: Path) -> None:
    command = [Path(sys.executable).with_name("connectory"), "plugins", "--json"]
    listed = subprocess.run(command, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True)
    assert '"quarry"' in listed.stdout
    assert "DeprecationWarning" not in listed.stderr
    importing = [sys.executable, "-W", "always", "-c", "import connectory_quarry"]
    warned = subprocess.run(importing, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True).stderr
    for name, instead in {
        "request_tls": "connectory.toolkit.request_tls",
        "Integer": "int, which takes a decimal string",
        "UrlText": "nothing: the part's field",
    }.items():
        assert f"DeprecationWarning: connectory.{name} is deprecated; use {instead}" in warned
