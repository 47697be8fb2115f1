"""The settings of the service: environment variables named `CONNECTORY_*`, each with a default and a description."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connectory.catalog.catalog import Catalog
from connectory.catalog.discovery import Selection
from connectory.contract.settings import environment_name
from connectory.vault.transit import TransitAuth

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_List = Annotated[tuple[str, ...], NoDecode]


class SettingsInvalid(Exception):
    """A setting cannot be used; the message is one line that names it and does not repeat its value."""


class Settings(BaseSettings):
    """What the deployer decides. `Settings()` reads the environment; see `read_settings` for one-line errors."""

    model_config = SettingsConfigDict(
        env_prefix="CONNECTORY_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(
        Path(".connectory"),
        description="Folder of the embedded default: database, key file, root client's credentials.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="sqlite:///path or postgresql://user:password@host:port/name, user and password percent-encoded. "
        "Unset: a SQLite file in the home folder.",
    )
    keys_provider: Literal["file", "transit", "environment"] = Field(
        "file",
        description="Where the keys that secrets are sealed with come from: a key file; a key file whose keys the transit "
        "engine of HashiCorp Vault or OpenBao wraps; or, for development, the environment.",
    )
    keys_file: Path | None = Field(
        None, description="Key file that secrets are sealed with. Unset: keys.json in the home folder."
    )
    keys_json: SecretStr | None = Field(
        None, description="What a key file holds; read where CONNECTORY_KEYS_PROVIDER is `environment`."
    )
    vault_address: str | None = Field(
        None, description="Address of the Vault or OpenBao that wraps keys, like https://vault.example:8200."
    )
    vault_namespace: str | None = Field(None, description="Namespace in Vault or OpenBao. Unset: none.")
    vault_ca_file: Path | None = Field(
        None, description="CA certificates (PEM) to verify Vault's or OpenBao's with. Unset: the usual public ones."
    )
    vault_auth: TransitAuth = Field(
        "token", description="How to log in to Vault or OpenBao: `token`, `kubernetes` or `approle`."
    )
    vault_auth_mount: str | None = Field(
        None, description="Where that auth method is mounted. Unset: at its name, `kubernetes` or `approle`."
    )
    vault_role: str | None = Field(None, description="Role for `kubernetes`; role id for `approle`.")
    vault_credential_file: Path | None = Field(
        None,
        description="File with the token, or with the secret id for `approle`, or with the service account's token for "
        "`kubernetes`. Unset: for `kubernetes`, where a pod has it; else it must be given.",
    )
    vault_transit_mount: str = Field("transit", description="Where the transit engine is mounted.")
    vault_transit_key: str = Field("connectory", description="Name of the transit engine's key.")
    host: str = Field("127.0.0.1", description="Address that `connectory serve` listens on.")
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port that `connectory serve` listens on; 0 takes a free one."
    )
    plugins_allow: _List = Field((), description="Connectors to load, separated by commas. Empty: every installed one.")
    plugins_deny: _List = Field(
        (), description="Connectors not to load, separated by commas; wins over the allow list."
    )
    plugins_pin: dict[str, str] = Field(
        {},
        description='For a connector that several distributions claim, the one that gets it: {"ledger": "acme-ledger"}.',
    )
    egress_allow_loopback: bool | None = Field(
        None, description="Whether tests may connect to loopback. Unset: only while the service listens on loopback."
    )
    egress_deny: _List = Field(
        (),
        description="Networks (CIDR, separated by commas) that tests may not connect to, besides those always denied.",
    )
    probe_deadline: float = Field(10.0, ge=1, le=30, description="Seconds after which a connection test is ended.")
    probe_concurrency: int = Field(16, ge=1, le=256, description="Connection tests that run at the same time.")
    probe_queue: int = Field(
        64, ge=0, le=10_000, description="Connection tests that may wait; one more is answered 429."
    )
    token_lifetime: int = Field(43_200, ge=60, le=31_536_000, description="Seconds that a bearer token works.")
    max_body_bytes: int = Field(
        1_048_576, ge=1024, le=104_857_600, description="Largest request body in bytes; a larger one is answered 413."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe lines that are logged; `info` holds one line per request."
    )

    @field_validator("plugins_allow", "plugins_deny", "egress_deny", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("egress_deny")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @property
    def embedded(self) -> bool:
        """Whether the store is the embedded default: migrated on start, with generated key and root client."""
        return self.database_url is None

    @property
    def store_url(self) -> str:
        """The database URL in force, password included."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home.absolute() / 'connectory.db'}"

    @property
    def keys_path(self) -> Path:
        """The key file in force."""
        return self.keys_file or self.home / "keys.json"

    @property
    def root_client_path(self) -> Path:
        """Where the first start of the embedded default writes the root client's credentials."""
        return self.home / "root_client.json"

    @property
    def selection(self) -> Selection:
        """Which connectors to load."""
        return Selection(frozenset(self.plugins_allow), frozenset(self.plugins_deny), dict(self.plugins_pin))

    @property
    def loopback_allowed(self) -> bool:
        """Whether tests may connect to loopback."""
        if self.egress_allow_loopback is not None:
            return self.egress_allow_loopback
        return listens_on_loopback(self.host)


def listens_on_loopback(host: str) -> bool:
    """Whether a service that listens on `host` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(**overrides: Any) -> Settings:
    """The settings from the environment.

    Args:
        overrides: values that win over the environment, by field name.

    Raises:
        SettingsInvalid: a value does not fit.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = str(found["loc"][0])
        name = environment_name(field) if field in Settings.model_fields else field
        description = Settings.model_fields[field].description if field in Settings.model_fields else ""
        raise SettingsInvalid(f"{name} has a value that is not accepted ({found['type']}). {description}") from None
    except Exception as error:
        # pydantic-settings reports a value that is no JSON by the field's name, in an error of its own.
        field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
        raise SettingsInvalid(f"{environment_name(field)} is not valid JSON; correct or unset it.") from None


class SettingRow(NamedTuple):
    """One setting, as `connectory settings` shows it."""

    name: str
    value: str
    default: str
    description: str


def describe_settings(settings: Settings, catalog: Catalog) -> list[SettingRow]:
    """Every setting of the service, then those that the loaded plugins declare. The database's password is masked."""
    rows = [
        SettingRow(
            environment_name(name), _shown(getattr(settings, name)), _shown(field.default), field.description or ""
        )
        for name, field in Settings.model_fields.items()
    ]
    declared: dict[str, SettingRow] = {}
    for connector in catalog.connectors.values():
        model = connector.plugin().settings if connector.settings_values is not None else None
        for name, field in type(model).model_fields.items() if model is not None else ():
            described = field.description or f"Setting of {connector.record.distribution}."
            variable = environment_name(name)
            declared[variable] = SettingRow(variable, _shown(getattr(model, name)), _shown(field.default), described)
    return rows + [declared[name] for name in sorted(declared)]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else ""
    return str(value)


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):  # another secret than a URL
        return "***"
    userinfo, at, tail = rest.rpartition("@")
    username = userinfo.partition(":")[0]
    # libpq also takes the password as a query parameter, so the query is not shown at all.
    address = urlsplit(f"//{tail}")._replace(query="", fragment="").geturl().removeprefix("//")
    return f"{scheme}{separator}{username}{':***' if ':' in userinfo else ''}{at}{address}"
