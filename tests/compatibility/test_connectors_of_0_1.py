"""Connectors that others built against version 0.1.0 load, list and test unchanged: their wheels are kept as they were."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from connectory.testing import CheckReport, Workbench, load_connector
from connectory.testing.certificates import Certificates
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit.loopback import LoopbackServer, Peer

WHEELS = sorted((Path(__file__).parent / "wheels").glob("*.whl"))
FIELDS = {
    "quarry": ["url", "host", "port", "username", "password", "dbname", "retries", "zone", "ssl_mode", "ssl_ca"],
    "orchard": ["domain", "port", "page_size", "api_key"],
    "abacus": ["key"],
}
"""The connectors, and the fields of their schemas."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the wheels installed: to install a wheel is to unpack it (PEP 427)."""
    for wheel in WHEELS:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def checked(identifier: str, **secrets: object) -> CheckReport:
    with Workbench() as workbench:
        return workbench.test(identifier, f"connectory-{identifier}", secrets).report


@pytest.mark.parametrize("identifier", FIELDS)
@pytest.mark.filterwarnings("ignore:connectory:DeprecationWarning")
def test_its_schema_is_what_it_was(site: Path, identifier: str) -> None:
    properties = load_connector(identifier, f"connectory-{identifier}").schema["properties"]
    assert sorted(properties) == sorted(FIELDS[identifier])


@pytest.mark.filterwarnings("ignore:connectory:DeprecationWarning")
def test_a_database_tests_as_before(
    site: Path, postgres: PostgresServer, postgres_tls: PostgresTlsFront, certificates: Certificates
) -> None:
    address = f"{postgres.superuser}:{postgres.password}@localhost"
    with Workbench() as workbench:

        def check(**secrets: object) -> CheckReport:
            return workbench.test("quarry", "connectory-quarry", secrets).report

        assert check(url=f"quarry://{address}:{postgres.port}/postgres?app=x", retries="3").status == "succeeded"
        url = f"quarry://{address}:{postgres_tls.port}/postgres?sslmode=verify-full"
        assert check(url=url, ssl_ca=certificates.ca_pem).status == "succeeded"
        assert check(url=url, ssl_ca=certificates.other_ca_pem).code == "tls_untrusted"
        wrong = check(
            host="localhost", port=postgres.port, username=postgres.superuser, password="wrong", dbname="postgres"
        )
        assert wrong.code == "auth_failed"


@pytest.mark.filterwarnings("ignore:connectory:DeprecationWarning")
def test_a_web_service_tests_as_before(site: Path) -> None:
    def answer(peer: Peer) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += peer.read(1)
        right = b"Bearer right" in request
        peer.send(f"HTTP/1.1 {200 if right else 401} -\r\nContent-Length: 0\r\n\r\n".encode())

    with LoopbackServer(answer) as server:
        right, wrong = (
            checked("orchard", domain="localhost", port=server.port, page_size="50", api_key=key)
            for key in ("right", "wrong")
        )
    assert [step.name for step in right.steps] == ["resolve", "connect", "authenticate"]
    assert (right.status, wrong.code, wrong.reason) == (
        "succeeded",
        "auth_failed",
        "The key was revoked; make another.",
    )


def test_one_without_a_far_end_is_skipped_as_before(site: Path) -> None:
    assert checked("abacus", key={"name": "n", "value": "v"}).status == "skipped"


def test_all_are_listed_and_what_they_should_change_is_only_a_warning(site: Path) -> None:
    command = [Path(sys.executable).with_name("connectory"), "plugins", "--json"]
    listed = subprocess.run(command, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True)
    records = {record["identifier"]: record for record in json.loads(listed.stdout)}
    assert {(records[name]["status"], records[name]["remark"]) for name in FIELDS} == {("loaded", None)}
    assert listed.stderr == ""
    importing = [sys.executable, "-W", "always", "-c", "import connectory_quarry"]
    warned = subprocess.run(importing, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True).stderr
    for name, instead in {
        "request_tls": "connectory.toolkit.request_tls",
        "Integer": "int, which takes a decimal string",
        "UrlText": "nothing: the part's field",
    }.items():
        assert f"DeprecationWarning: connectory.{name} is deprecated and goes with 1.0; use {instead}" in warned
