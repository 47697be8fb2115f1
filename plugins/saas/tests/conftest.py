"""What the tests of these connectors share."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connectory.catalog.catalog import find_connector
from connectory.catalog.connector import Connector
from connectory.contract.secrets import secrets_document
from connectory.probe.egress import EgressPolicy
from connectory.probe.report import CheckReport
from connectory.probe.runner import ProbeRunner
from servers.saas import Vendor

Probe = Callable[..., CheckReport]
Check = Callable[..., CheckReport]
Define = Callable[..., Connector]


@cache
def connector_of(identifier: str, environment: str) -> Connector:
    return find_connector(identifier, "connectory-saas", json.loads(environment))


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """Test a connection with any connector, in a process of its own, and return the report."""
    with asyncio.Runner() as loop, ExitStack() as started:

        @cache
        def runner(deadline: float) -> ProbeRunner:
            new = ProbeRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline)
            loop.run(new.start())
            started.callback(lambda: loop.run(new.stop()))
            return new

        def probe(
            connector: Connector,
            secrets: dict[str, Any],
            *,
            tokens: dict[str, Any] | None = None,
            deadline: float = 10,
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
        deadline: float = 10,
        tokens: dict[str, Any] | None = None,
        settings: dict[str, str] | None = None,
        **changes: str,
    ) -> CheckReport:
        replaced = {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(vendor.endpoints)}
        connector = connector_of(vendor.identifier, json.dumps(replaced if settings is None else settings))
        return probe(connector, vendor.secrets | changes, tokens=tokens, deadline=deadline)

    return check


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """The connector `ledger` that a definition of the deployer's own describes, under these settings."""

    def define(definition: str, **settings: str) -> Connector:
        path = tmp_path / "ledger.yaml"
        path.write_text(definition)
        return find_connector("ledger", "connectory-saas", settings, source="saas", target=str(path))

    return define
