"""The conformance kit's class for connectors of which only the schema is known, and perhaps secrets that work."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectory.authoring.made_up import any_secrets, secrets_towards
from connectory.catalog.loading import PluginBroken
from connectory.contract.check import FailureCode
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import secrets_document
from connectory.testing import ConnectorConformance, LoadedConnector, Payload, Workbench, load_connector
from connectory.testing.far_ends import LOOPBACK, closing_server
from connectory.testing.payloads import with_markers

made: dict[str, type[ConnectorConformance]] = {}
"""The classes that `make` has made, by name."""

_NEEDS_SECRETS = "It needs a far end that works; give secrets for one with --secrets FILE."
_NEEDS_VALUES = "No secrets that fit the schema could be made up; give some with --secrets FILE."
_NEEDS_A_WAY = (
    "No secrets could be made up that lead to a far end of the kit's. Where the deployer's settings say where the connector "
    "goes, give --setting NAME=VALUE with {origin}, or {host} and {port}, in the value; otherwise give some with --secrets FILE."
)
_NOT_LED = (
    "With the settings that were given, its test connects to no far end of the kit's. Where it needs tokens that somebody "
    "consented to, run the project's own tests."
)
_NEEDS_THE_PROJECT = "The golden schema is in the project: give its folder."
_TELLING_LENGTH = 4
"""Shorter secrets occur in any sentence by chance."""
_ALL_BUT_LOOPBACK = [*map(str, IPv4Network("0.0.0.0/0").address_exclude(IPv4Network("127.0.0.0/8"))), "::/0"]


def make(job: Mapping[str, Any]) -> list[str]:
    """Make a class for each connector of `job`, and return the secrets that nothing must show.

    Raises:
        SecretsInvalid: secrets that were given do not fit.
    """
    hidden: list[str] = []
    for identifier in job["identifiers"]:
        attributes: dict[str, Any] = {"identifier": identifier, "distribution": job["distribution"]}
        given = job["secrets"].get(identifier)
        try:
            connector = load_connector(identifier, job["distribution"])
        except PluginBroken:  # a rule says so
            pass
        else:
            attributes["has_no_secrets"] = "sensitive" not in str(connector.schema["properties"])
            if given is not None:
                hidden += sensitive_texts(connector.secrets_model, secrets_document(connector.secrets_model, given))
        if job["golden"] is not None:
            attributes["golden_schema"] = Path(job["golden"])
        name = f"Test_{identifier}"
        attributes |= {"given": given, "settings": job["settings"], "__test__": True}
        made[name] = type(name, (_Case,), attributes)
    return [text for text in hidden if len(text) >= _TELLING_LENGTH]


class _InTheProject:
    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else pytest.skip(_NEEDS_THE_PROJECT)


class _Case(ConnectorConformance):
    __test__ = False
    given: ClassVar[Payload | None] = None
    settings: ClassVar[Mapping[str, str]] = {}
    led: ClassVar[bool | None] = None
    golden_schema: ClassVar[Any] = _InTheProject()

    @pytest.fixture
    def good_secrets(self) -> Payload:
        return pytest.skip(_NEEDS_SECRETS) if self.given is None else self.given

    @pytest.fixture
    def bad_secrets(self, good_secrets: Payload, connector: LoadedConnector) -> dict[FailureCode, Payload]:
        marked, markers = with_markers(connector.secrets_model, connector.schema, good_secrets)
        if not markers:
            pytest.skip("The secrets hold no sensitive text that could be made wrong.")
        return {FailureCode.AUTH_FAILED: marked}

    def secrets_for_server(self, host: str, port: int) -> Payload:
        found = secrets_towards(self._load(), host, port, self.given or {})
        if found is not None:
            return found
        if not self.settings:
            pytest.skip(_NEEDS_A_WAY)
        made_up = self.any_secrets()
        return made_up if self._is_led(made_up) else pytest.skip(_NOT_LED)

    def settings_for_server(self, host: str, port: int) -> dict[str, str]:
        return {name: _filled_in(value, host, port) for name, value in self.settings.items()}

    def _is_led(self, payload: Payload) -> bool:
        """Whether the settings lead the test to a far end of the kit's. Until that is known it must not reach anybody else."""
        cls = type(self)
        if cls.led is None:
            with closing_server() as far_end, Workbench(deny=_ALL_BUT_LOOPBACK) as confined:
                settings = self.settings_for_server(far_end.host, far_end.port)
                confined.test(self.identifier, self.distribution, payload, settings=settings)
                cls.led = far_end.connections > 0
        return cls.led

    def any_secrets(self) -> Payload:
        found = any_secrets(self._load(), self.given or {})
        return pytest.skip(_NEEDS_VALUES) if found is None else found


def _filled_in(value: str, host: str, port: int) -> str:
    scheme = "http" if host == LOOPBACK else "https"
    return value.replace("{origin}", f"{scheme}://{host}:{port}").replace("{host}", host).replace("{port}", str(port))
