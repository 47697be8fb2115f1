"""The conformance kit's class for connectors of which only the schema is known, and perhaps secrets that work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectory.authoring.made_up import secrets_towards
from connectory.catalog.loading import PluginBroken
from connectory.contract.check import FailureCode
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import secrets_document
from connectory.testing import ConnectorConformance, LoadedConnector, Payload, load_connector
from connectory.testing.payloads import with_markers

made: dict[str, type[ConnectorConformance]] = {}
"""The classes that `make` has made, by name."""

_NEEDS_SECRETS = "It needs a far end that works; give secrets for one with --secrets FILE."
_NEEDS_A_WAY = (
    "No secrets could be made up that lead to a far end of the kit's: give some with --secrets FILE, and where their fields "
    "name no host and port, run the project's own tests."
)
_NEEDS_THE_PROJECT = "The golden schema is in the project: give its folder."
_TELLING_LENGTH = 4
"""Shorter secrets occur in any sentence by chance."""


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
        made[name] = type(name, (_Case,), attributes | {"given": given, "__test__": True})
    return [text for text in hidden if len(text) >= _TELLING_LENGTH]


class _InTheProject:
    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else pytest.skip(_NEEDS_THE_PROJECT)


class _Case(ConnectorConformance):
    __test__ = False
    given: ClassVar[Payload | None] = None
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
        return pytest.skip(_NEEDS_A_WAY) if found is None else found
