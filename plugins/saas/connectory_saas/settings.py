"""What the deployer may set for these connectors, and what it does to the urls of a definition."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, HttpUrl, field_validator
from pydantic_core import PydanticCustomError

from connectory import DeployerSettings

LOOPBACK_PATTERN = r"127\.0\.0\.1:[1-9][0-9]{0,4}"
"""A `domain` on loopback, as tests use it."""
_LOOPBACK = re.compile(LOOPBACK_PATTERN)


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


class SaasSettings(DeployerSettings):
    """Settings of all connectors of this distribution."""

    saas_definitions: str | None = Field(
        default=None, description="A folder with definitions of your own, IDENTIFIER.yaml each. Unset, there are none."
    )
    saas_allow_http_loopback: bool = Field(
        default=False,
        description="Whether a SaaS connector's domain may be 127.0.0.1:PORT, reached over plain http. For tests only.",
    )
    saas_endpoints: Annotated[dict[str, str], BeforeValidator(_parsed)] = Field(
        default={},
        description='Base urls to use instead of vendors\' hosts: {"api.stripe.com": "https://gateway.example"}. '
        "Credentials go there; plain http is for loopback only.",
    )

    @field_validator("saas_endpoints")
    @classmethod
    def _encrypted(cls, endpoints: dict[str, str]) -> dict[str, str]:
        return {host.lower(): _base_url(text) for host, text in endpoints.items()}

    def locate(self, url: str) -> str:
        """Where a request to `url`, an https url of a definition with its secrets filled in, really goes."""
        host, slash, rest = url.removeprefix("https://").partition("/")
        endpoint = self.saas_endpoints.get(host.lower())
        if endpoint is not None:
            return endpoint + slash + rest
        if self.saas_allow_http_loopback and _LOOPBACK.fullmatch(host):
            return f"http://{host}{slash}{rest}"
        return url


def _base_url(text: str) -> str:
    url = HttpUrl(text)
    if url.scheme == "http" and not _is_loopback(url.host or ""):
        raise PydanticCustomError("plain_http", "Plain http is for loopback only.")
    if url.username or url.password or url.query or url.fragment:
        raise PydanticCustomError("base_url", "A base url has neither user, query nor fragment.")
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
