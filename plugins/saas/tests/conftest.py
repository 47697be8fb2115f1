"""What the tests of these connectors share."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from connectory.testing import CheckReport, LoadedConnector, Workbench, load_connector, refused_port
from servers.saas import Vendor
from testkit.checking import Check

DEADLINE = 10.0
"""Seconds that a test may take, where none are given."""

Define = Callable[..., LoadedConnector]


def endpoints(vendor: Vendor, url: str) -> dict[str, str]:
    """The setting that leads the vendor's connector to `url`."""
    return {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(dict.fromkeys(vendor.hosts, url))}


@pytest.fixture(scope="session")
def check(workbench: Workbench) -> Check:
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
        return workbench.test(
            vendor.identifier,
            "connectory-saas",
            vendor.secrets | changes,
            settings=settings or endpoints(vendor, vendor.url),
            tokens=tokens,
            deadline=deadline,
        ).report

    @cache
    def import_ahead(vendor: Vendor, deadline: float) -> None:
        with refused_port() as nobody:
            workbench.import_ahead(
                vendor.identifier,
                "connectory-saas",
                vendor.secrets,
                settings=endpoints(vendor, f"http://{nobody.host}:{nobody.port}"),
                tokens={"refresh_token": "any"},
                deadline=deadline,
            )

    return check


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """The connector `ledger` that a definition of the deployer's own describes, under these settings."""

    def define(definition: str, **settings: str) -> LoadedConnector:
        path = tmp_path / "ledger.yaml"
        path.write_text(definition)
        return load_connector("ledger", "connectory-saas", settings, source="saas", target=str(path))

    return define
