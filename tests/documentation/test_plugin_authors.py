"""The connectors on the page for plugin authors work as they stand there."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document
from documentation.pages import ROOT, blocks
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit.certificates import Certificates
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


def check(**secrets: Any) -> CheckReport:
    connector = find_connector("quarry", "connectory-quarry")
    document = secrets_document(connector.secrets_model, secrets)

    async def once() -> CheckReport:
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
        await runner.start()
        try:
            return await runner.run("quarry", connector, lambda: document)
        finally:
            await runner.stop()

    return asyncio.run(once())


def test_the_database_connector_is_under_60_lines_and_connects(
    quarry: str, postgres: PostgresServer, postgres_tls: PostgresTlsFront, certificates: Certificates
) -> None:
    code = [line for line in quarry.splitlines() if line.strip()]
    assert len(code) < 60
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
