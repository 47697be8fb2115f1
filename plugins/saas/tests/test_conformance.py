"""Each of the twelve connectors keeps the contract, as any third party's would."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance
from servers import saas
from servers.saas import ConsentVendor, Vendor


class SaasConformance(ConnectorConformance):
    distribution = "connectory-saas"
    vendor: ClassVar[type[Vendor]]

    def __init_subclass__(cls) -> None:
        cls.identifier = cls.vendor.identifier
        cls.golden_schema = Path(__file__).parent / "schemas" / f"{cls.identifier}.json"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Vendor]:
        with cls.vendor() as server:
            yield server

    @pytest.fixture
    def good_secrets(self, server: Vendor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("CONNECTORY_SAAS_ENDPOINTS", json.dumps(server.endpoints))
        return dict(server.secrets)

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {FailureCode(code): good_secrets | changes for code, changes in self.vendor.wrong.items()}

    def secrets_for_server(self, host: str, port: int) -> dict[str, Any]:
        return dict(self.vendor.secrets)

    def settings_for_server(self, host: str, port: int) -> dict[str, str]:
        scheme = "http" if host == "127.0.0.1" else "https"
        endpoints = dict.fromkeys(self.vendor.hosts, f"{scheme}://{host}:{port}")
        return {"CONNECTORY_SAAS_ENDPOINTS": json.dumps(endpoints)}


class ConsentConformance(SaasConformance):
    """For connectors whose connections somebody has consented to."""

    vendor = ConsentVendor

    @pytest.fixture(autouse=True)
    def _remember(self, server: ConsentVendor) -> None:
        self.server_in_use = server

    @pytest.fixture
    def bad_secrets(self, good_secrets: dict[str, Any]) -> dict[FailureCode, dict[str, Any]]:
        return {FailureCode.AUTH_FAILED: good_secrets | {"client_secret": "unknown"}}

    def stored_tokens(self) -> dict[str, Any]:
        # They have just ended, so that the client's secrets are needed to renew them.
        return self.server_in_use.stored(lasts=0)


class TestAdobeCampaign(SaasConformance):
    vendor = saas.AdobeCampaign


class TestAuth0(SaasConformance):
    vendor = saas.Auth0


class TestDatadog(SaasConformance):
    vendor = saas.Datadog


class TestHubSpot(SaasConformance):
    vendor = saas.HubSpot


class TestMailchimp(SaasConformance):
    vendor = saas.Mailchimp


class TestOutreach(ConsentConformance):
    vendor = saas.Outreach


class TestSalesforce(ConsentConformance):
    vendor = saas.Salesforce


class TestSegment(SaasConformance):
    vendor = saas.Segment


class TestSendGrid(SaasConformance):
    vendor = saas.SendGrid


class TestSentry(SaasConformance):
    vendor = saas.Sentry


class TestStripe(SaasConformance):
    vendor = saas.Stripe


class TestZendesk(SaasConformance):
    vendor = saas.Zendesk
