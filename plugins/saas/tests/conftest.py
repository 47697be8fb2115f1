"""What the tests of these connectors share."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connectory import FailureCode
from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document
from servers.saas import Vendor
from testkit.hostile import refused_port

DEADLINE = 10.0
"""Seconds that a test may take, where none are given."""

Probe = Callable[..., CheckReport]
Check = Callable[..., CheckReport]
Define = Callable[..., LoadedConnector]


@cache
def connector_of(identifier: str, environment: str) -> LoadedConnector:
    return find_connector(identifier, "connectory-saas", json.loads(environment))


def endpoints(vendor: Vendor, url: str) -> dict[str, str]:
    """The setting that leads the vendor's connector to `url`."""
    return {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(dict.fromkeys(vendor.hosts, url))}


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """Test a connection with any connector, in a process of its own, and return the report."""
    with asyncio.Runner() as loop, ExitStack() as started:

        @cache
        def runner(deadline: float) -> CheckRunner:
            new = CheckRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline)
            loop.run(new.start())
            started.callback(lambda: loop.run(new.stop()))
            return new

        def probe(
            connector: LoadedConnector,
            secrets: dict[str, Any],
            *,
            tokens: dict[str, Any] | None = None,
            deadline: float = DEADLINE,
        ) -> CheckReport:
            document = secrets_document(connector.secrets_model, secrets)
            return loop.run(runner(deadline).run(object(), connector, lambda: document, lambda: tokens))

        yield probe


@pytest.fixture(scope="session")
def check(probe: Probe) -> Check:
    """Test a connection to a stand-in, and return the report.

    The stand-in's good secrets are used, with the changes given; it stands for the vendor's hosts, unless `settings` says
    otherwise.
    """

    def check(
        vendor: Vendor,
        *,
        deadline: float = DEADLINE,
        tokens: dict[str, Any] | None = None,
        settings: dict[str, str] | None = None,
        **changes: str,
    ) -> CheckReport:
        if deadline < DEADLINE:
            import_ahead(vendor, deadline)
        connector = connector_of(vendor.identifier, json.dumps(settings or endpoints(vendor, vendor.url)))
        return probe(connector, vendor.secrets | changes, tokens=tokens, deadline=deadline)

    @cache
    def import_ahead(vendor: Vendor, deadline: float) -> None:
        """Test until httpx is imported ahead of further tests: a short deadline is for the far end."""
        with refused_port() as nobody:
            connector = connector_of(
                vendor.identifier, json.dumps(endpoints(vendor, f"http://{nobody.host}:{nobody.port}"))
            )
            for _ in range(10):
                report = probe(connector, vendor.secrets, tokens={"refresh_token": "any"}, deadline=deadline)
                if report.code != FailureCode.TIMEOUT:
                    return

    return check


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """The connector `ledger` that a definition of the deployer's own describes, under these settings."""

    def define(definition: str, **settings: str) -> LoadedConnector:
        path = tmp_path / "ledger.yaml"
        path.write_text(definition)
        return find_connector("ledger", "connectory-saas", settings, source="saas", target=str(path))

    return define
