"""The settings of the service: environment variables named `CONNECTORY_*`, each with a default and a description."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connectory.catalog.catalog import Catalog
from connectory.catalog.discovery import Selection
from connectory.contract.settings import PREFIX, REFUSES_EMPTY, environment_name, without_empty


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


_List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
_Mapping = Annotated[dict[str, str], NoDecode, BeforeValidator(_parsed)]


class SettingsInvalid(Exception):
    """Settings cannot be used.

    Attributes:
        problems: one line for each, that names it, says what it takes and does not repeat its value.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    """What the deployer decides. `Settings()` reads the environment; see `read_settings` for one-line errors."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    home: Path = Field(
        Path(".connectory"),
        description="Folder of the embedded default: database, key file, root client's credentials.",
    )
    database_url: Annotated[SecretStr | None, REFUSES_EMPTY] = Field(
        None,
        description="sqlite:///path or postgresql://user:password@host:port/name, user and password percent-encoded. "
        "Unset: a SQLite file in the home folder.",
    )
    keys_file: Annotated[Path | None, REFUSES_EMPTY] = Field(
        None, description="Key file that secrets are sealed with. Unset: keys.json in the home folder."
    )
    allow_embedded: bool = Field(
        False,
        description="Whether the embedded default may be used while CONNECTORY_HOST is not a loopback address. Without it "
        "a database URL that is missing or misspelt would start a new, empty store.",
    )
    host: str = Field("127.0.0.1", description="Address that `connectory serve` listens on.")
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port that `connectory serve` listens on; 0 takes a free one."
    )
    plugins_allow: _List = Field((), description="Connectors to load, separated by commas. Empty: every installed one.")
    plugins_deny: _List = Field(
        (), description="Connectors not to load, separated by commas; wins over the allow list."
    )
    plugins_pin: _Mapping = Field(
        {},
        description='For a connector that several distributions claim, the one that gets it: {"ledger": "acme-ledger"}.',
    )
    egress_allow_loopback: bool | None = Field(
        None,
        description="Whether tests may connect to loopback. Unset: only in the embedded default, while the service listens "
        "on loopback.",
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
    docs: bool = Field(
        True,
        description="Whether the API is documented at /docs and /openapi.json, to anybody who can reach the service.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="Least severe lines that are logged; `info` holds one line per request."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: dict[str, Any]) -> dict[str, Any]:
        return without_empty(cls, given)

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
    def store_shown(self) -> str:
        """The database URL in force, without its password and parameters."""
        return _without_password(self.store_url)

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
        return self.embedded and listens_on_loopback(self.host)


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
        SettingsInvalid: values do not fit; it tells of each.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        from connectory.contract.setting_problems import setting_problems

        raise SettingsInvalid(setting_problems(Settings, error)) from None


def unknown_settings(environment: Mapping[str, str], catalog: Catalog) -> list[str]:
    """A line for each variable of `environment` that looks like a setting and is none, with the nearest that there is."""
    unknown = [name for name in not_of_the_service(environment) if name not in catalog.variables]
    known = [name.removeprefix(PREFIX) for name in sorted(_own_variables() | catalog.variables)]
    return [_unknown(name, known) for name in unknown]


def not_of_the_service(environment: Mapping[str, str]) -> list[str]:
    """The variables of `environment` that are settings of plugins, or of nobody."""
    own = _own_variables()
    return [name for name in sorted(environment) if name.startswith(PREFIX) and name not in own]


def _own_variables() -> set[str]:
    return {environment_name(name) for name in Settings.model_fields}


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix(PREFIX), known, n=1)
    remedy = f"did you mean {PREFIX}{close[0]}?" if close else "`connectory settings` lists what there is."
    return f"{name} is not a setting of the service or of a loaded plugin, and does nothing; {remedy}"


class SettingRow(NamedTuple):
    """One setting, as `connectory settings` shows it.

    Attributes:
        value: what is set, or the default.
        origin: `environment` or `default`.
        in_force: what holds; where nothing is set it may follow from other settings.
    """

    name: str
    value: str
    origin: str
    in_force: str
    default: str
    description: str


_DERIVED = {"database_url": "store_shown", "keys_file": "keys_path", "egress_allow_loopback": "loopback_allowed"}
"""Of settings whose default follows from others, the property that tells what is in force."""


def describe_settings(settings: Settings, catalog: Catalog) -> list[SettingRow]:
    """Every setting of the service, then those that the loaded plugins declare. The database's password is masked."""
    rows = [_row(settings, name, field, "") for name, field in Settings.model_fields.items()]
    declared: dict[str, SettingRow] = {}
    for connector in catalog.connectors.values():
        model = connector.plugin().settings if connector.settings_values is not None else None
        for name, field in type(model).model_fields.items() if model is not None else ():
            declared[name] = _row(model, name, field, f"Setting of {connector.record.distribution}.")
    return rows + [declared[name] for name in sorted(declared)]


def _row(model: Any, name: str, field: FieldInfo, otherwise: str) -> SettingRow:
    return SettingRow(
        name=environment_name(name),
        value=_shown(getattr(model, name)),
        origin="environment" if name in model.model_fields_set else "default",
        in_force=_shown(getattr(model, _DERIVED.get(name, name) if isinstance(model, Settings) else name)),
        default=_shown(field.default),
        description=field.description or otherwise,
    )


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
    # What cannot be taken apart is not shown at all: the password may stand anywhere in it.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return "***"
    if "@" in (parsed.host or ""):
        return "***"
    # libpq also takes the password as a query parameter.
    return parsed.set(query={}).render_as_string(hide_password=True)
