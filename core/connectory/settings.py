"""The settings of the service: environment variables named `CONNECTORY_*`, each with a default and a description."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connectory.catalog.discovery import Selection
from connectory.checks.egress import EgressPolicy
from connectory.checks.egress_settings import NAT64_PREFIXES, NOT_NONE, RULES
from connectory.contract.settings import PREFIX, REFUSES_EMPTY, without_empty


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if re.match(r"\s*\[\s*[\"\]]", value):  # and not an IPv6 network in brackets
        return json.loads(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _origin(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    secure = host is not None and (parts.scheme == "https" or (parts.scheme == "http" and listens_on_loopback(host)))
    # Nothing but an origin: what follows it, and a user before it, would end up in links.
    if not secure or not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", value):
        message = "Must be like https://connectory.example.com, without a path; plain http on loopback only."
        raise PydanticCustomError("origin", message)
    shown = f"[{host}]" if ":" in (host or "") else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


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
    database_pool_size: int = Field(
        24,
        ge=8,
        le=200,
        description="Connections to PostgreSQL that this node has open at once, at most; half of them only read.",
    )
    keys_provider: Literal["file", "transit", "environment"] = Field(
        "file",
        description="Where the keys that secrets are sealed with come from: a key file; a key file whose keys the transit "
        "engine of HashiCorp Vault or OpenBao wraps; or, for development, the environment.",
    )
    keys_file: Annotated[Path | None, REFUSES_EMPTY] = Field(
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
    # Not imported from the vault, whose cryptography an author who runs `connectory check` need not have.
    vault_auth: Literal["token", "kubernetes", "approle"] = Field(
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
    allow_embedded: bool = Field(
        False,
        description="Whether the embedded default may be used while CONNECTORY_HOST is not a loopback address. Without it "
        "a database URL that is missing or misspelt would start a new, empty store.",
    )
    host: str = Field("127.0.0.1", description="Address that `connectory serve` listens on.")
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port that `connectory serve` listens on; 0 takes a free one."
    )
    public_url: Annotated[str | None, AfterValidator(_origin)] = Field(
        None,
        description="Where browsers find the service, like https://connectory.example.com; plain http on loopback only. Unset: "
        "where it listens.",
    )
    allowed_hosts: _List = Field(
        (),
        description="Host names that the service answers to, separated by commas, besides localhost, that of "
        "CONNECTORY_PUBLIC_URL and CONNECTORY_HOST; addresses always pass. With neither this nor CONNECTORY_PUBLIC_URL set, a "
        "service that listens on other than loopback answers to every name.",
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
    egress_allow: Annotated[_List, RULES, NOT_NONE, REFUSES_EMPTY] = Field(
        (),
        description="Rules, separated by commas, of the only networks, hosts and ports that tests may connect to. What is denied "
        "stays so. Unset: all that is not denied.",
    )
    egress_deny: Annotated[_List, RULES] = Field(
        (),
        description="Rules, separated by commas, of networks, hosts and ports that tests may not connect to, besides what is "
        "always denied; wins over the allow list.",
    )
    nat64_prefixes: Annotated[_List, NAT64_PREFIXES] = Field(
        (),
        description="Prefixes of your own NAT64, separated by commas, besides 64:ff9b::/96: addresses in them are vetted as the "
        "IPv4 addresses that they stand for.",
    )
    allow_cleartext_in_unverified_tls: bool = Field(
        False,
        description="Whether a test may send a password in clear through TLS whose certificate was not verified (ssl_mode "
        "`preferred` or `required`), where the server demands that. Whoever answers in its place then learns the password.",
    )
    probe_deadline: float = Field(10.0, ge=1, le=30, description="Seconds after which a connection test is ended.")
    discovery_deadline: float = Field(
        60.0, ge=1, le=600, description="Seconds after which a discovery of what a connection holds is ended."
    )
    probe_concurrency: int = Field(
        16,
        ge=1,
        le=256,
        description="Connection tests that run at the same time; those of one client take up to three quarters of what others "
        "leave.",
    )
    probe_queue: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Connection tests that may wait for their turn, half of them of one client; one more is answered 429.",
    )
    probe_queue_wait: float = Field(
        10.0,
        ge=0,
        le=15,
        description="Seconds that a connection test may wait for its turn; then it is answered 429. The longest that a caller "
        "waits is this, CONNECTORY_PROBE_DEADLINE, and up to 5 seconds for each write to the database.",
    )
    probe_memory: int = Field(
        2048,
        ge=256,
        le=1_048_576,
        description="MiB of memory that connection tests may take together; beyond that, the one that takes most is ended.",
    )
    schedule_concurrency: int = Field(
        4,
        ge=0,
        le=64,
        description="Tests and checks that this node runs by schedule at the same time, within the limits of those that clients "
        "ask for; 0 leaves them to other nodes.",
    )
    test_rate: float = Field(
        10.0, gt=0, le=10_000, description="Connection tests a second that one client may go on with."
    )
    test_burst: int = Field(100, ge=1, le=100_000, description="Connection tests that one client may ask for at once.")
    login_failure_rate: float = Field(
        1.0, gt=0, le=1000, description="Failed logins a second, of one client from one address, that are answered."
    )
    login_failure_burst: int = Field(
        20, ge=1, le=10_000, description="Failed logins at once, of one client from one address, that are answered."
    )
    probe_spares: int = Field(
        1,
        ge=0,
        le=4,
        description="Processes that wait ahead, for each connector in use, for its next connection test; 0 saves their memory.",
    )
    consent_anywhere: bool = Field(
        False,
        description="Whether a person's consent counts in whatever browser it is given, and needs no confirmation. Then whoever "
        "may ask for consents can have somebody else's account connected, by sending that person the address.",
    )
    token_lifetime: int = Field(43_200, ge=60, le=31_536_000, description="Seconds that a bearer token works.")
    max_body_bytes: int = Field(
        1_048_576, ge=1024, le=104_857_600, description="Largest request body in bytes; a larger one is answered 413."
    )
    request_timeout: float = Field(
        30.0,
        ge=1,
        le=300,
        description="Seconds in which a request has to arrive, and for which a client may leave its answer lying; then its "
        "connection is closed.",
    )
    max_connections: int = Field(
        1000,
        ge=16,
        le=100_000,
        description="Connections of clients at the same time; one more is closed at once. The limit on open files is raised for "
        "them as far as allowed.",
    )
    data_categories: _List = Field(
        (),
        description="Data categories that datasets may name besides those of the Fides language's default taxonomy, "
        "separated by commas, like acme.loyalty.card.",
    )
    drain: float = Field(
        0.0,
        ge=0,
        le=300,
        description="Seconds between SIGTERM and the end. Meanwhile /ready answers 503, tests that run may finish and new ones "
        "are refused, and everything else is answered. A second SIGTERM ends it at once.",
    )
    docs: bool = Field(
        True,
        description="Whether the API is documented at /docs and /openapi.json, to anybody who can reach the service.",
    )
    audit_retention: int = Field(
        365,
        ge=0,
        le=36_500,
        description="Days that entries of the audit trail are kept: 31 or more; 0 keeps them for ever.",
    )
    history_retention: int = Field(
        30,
        ge=0,
        le=36_500,
        description="Days that the verdicts of tests and checks are kept, but for the last on each connection and dataset; 0 "
        "keeps them for ever.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info",
        description="Least severe lines that are logged; `info` holds one line per request, but for what "
        "monitoring asks while all is well.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, given: dict[str, Any]) -> dict[str, Any]:
        return without_empty(cls, given)

    @field_validator("data_categories")
    @classmethod
    def _categories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for category in value:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", category):
                raise PydanticCustomError("category", "Each has letters, digits, '.', '_' or '-'.")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", host):
                raise PydanticCustomError("host", "Each is a name like connect.example.com, without a port.")
        return tuple(host.lower().removesuffix(".") for host in value)

    @field_validator("audit_retention")
    @classmethod
    def _retention(cls, value: int) -> int:
        # The database refuses to delete entries younger than 30 days; one more, for clocks that differ.
        if 0 < value < 31:
            raise PydanticCustomError("retention", "Must be 0, or at least 31.")
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
        return f"sqlite:///{self.database_path.absolute()}"

    @property
    def database_path(self) -> Path:
        """The database file of the embedded default."""
        return self.home / "connectory.db"

    @property
    def store_shown(self) -> str:
        """The database URL in force, without its password and parameters."""
        return without_password(self.store_url)

    @property
    def keys_path(self) -> Path:
        """The key file in force."""
        return self.keys_file or self.home / "keys.json"

    @property
    def root_client_path(self) -> Path:
        """Where the first start of the embedded default writes the root client's credentials."""
        return self.home / "root_client.json"

    @property
    def own_paths(self) -> tuple[Path, ...]:
        """The files and folders of the deployment itself, which nothing but the service and its commands may open."""
        url = urlsplit(self.store_url)
        database = (Path(unquote(url.path.removeprefix("/"))),) if url.scheme.startswith("sqlite") else ()
        credential = (self.vault_credential_file,) if self.vault_credential_file is not None else ()
        own = (self.home, self.keys_path, self.root_client_path, *database, *credential)
        return tuple(path.absolute() for path in own)

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

    @property
    def egress_policy(self) -> EgressPolicy:
        """Where tests may connect."""
        return EgressPolicy(self.loopback_allowed, self.egress_allow, self.egress_deny, self.nat64_prefixes)


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


def without_password(url: str) -> str:
    """A database URL as it may be shown: without password and parameters."""
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
