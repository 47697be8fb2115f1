"""The connectors on the page for plugin authors work as they stand there."""

import sys
from pathlib import Path
from typing import Any

import pytest

from connectory.testing import CheckReport, Workbench
from documentation.pages import ROOT, blocks
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit.certificates import Certificates
from testkit.checking import Check
from testkit.distribution import install


def shown_module(docstring: str) -> str:
    """The one code block of the page that begins with this docstring."""
    [found] = [text for _, text in blocks(ROOT / "docs/plugin-authors.md") if text.startswith(f'"""{docstring}')]
    return found


@pytest.fixture
def quarry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's database connector, installed."""
    module = shown_module("A connector for Quarry")
    install(
        tmp_path,
        "connectory-quarry",
        entry_points={"quarry": "connectory_quarry:quarry"},
        modules={"connectory_quarry": module},
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return module


@pytest.fixture
def check(quarry: str, workbench: Workbench) -> Check:
    """Test a connection with the page's connector."""

    def check(**secrets: Any) -> CheckReport:
        return workbench.test("quarry", "connectory-quarry", secrets).report

    return check


def test_the_database_connector_is_short(quarry: str) -> None:
    """A complete database plugin takes at most 40 lines, written plainly; blank ones are not counted."""
    lines = quarry.splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
    assert max(map(len, lines)) <= 120


def test_the_database_connector_connects(
    check: Check, postgres: PostgresServer, postgres_tls: PostgresTlsFront, certificates: Certificates
) -> None:
    address = f"{postgres.superuser}:{postgres.password}@localhost"
    assert check(url=f"quarry://{address}:{postgres.port}/postgres").status == "succeeded"
    verified = check(
        url=f"quarry://{address}:{postgres_tls.port}/postgres?sslmode=verify-full", ssl_ca=certificates.ca_pem
    )
    assert verified.status == "succeeded"
    untrusted = check(
        url=f"quarry://{address}:{postgres_tls.port}/postgres?sslmode=verify-full", ssl_ca=certificates.other_ca_pem
    )
    assert untrusted.code == "tls_untrusted"
    assert check(url=f"quarry://{postgres.superuser}:wrong@localhost:{postgres.port}/postgres").code == "auth_failed"
