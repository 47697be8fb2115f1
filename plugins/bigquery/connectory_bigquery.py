"""The BigQuery connector: Google's client over one HTTP session of our own, which follows nothing and ends in time.

Facts are from Google's documentation: "OAuth 2.0 for server to server applications" (the key file, the grant and its errors),
"BigQuery API: error messages" (statuses and reasons), and "Creating datasets" and "Creating projects" (names).
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, HttpUrl
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from connectory import (
    CheckContext,
    CheckFailed,
    DeployerSettings,
    Description,
    FailureCode,
    Grammar,
    PemPrivateKey,
    SecretGroup,
    Secrets,
    SslMode,
    UrlGrammar,
    UrlText,
    hookimpl,
    rsa_private_key,
    tls_context,
    tls_failure,
)

if TYPE_CHECKING:
    import requests
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import RefreshError
    from google.cloud.bigquery import Client
    from google.oauth2.service_account import Credentials

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M7 2h10l5 9-5 9H7l-5-9z" fill="#4386fa"/>'
    '<path d="M14 13l5 5M7 10a4 4 0 1 0 8 0 4 4 0 1 0-8 0" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)

_TOKEN_URI: Literal["https://oauth2.googleapis.com/token"] = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/bigquery"

_UNREADABLE_KEY = (
    "The private_key of keyfile_creds is no readable RSA key; download a new key file from Google Cloud's console."
)
_REJECTED_KEY = (
    "Google rejected the key: it or its service account may have been deleted, or belong to another client_email."
)
_DISABLED_ACCOUNT = (
    "Google says that the service account is disabled or deleted; enable it in the Google Cloud console."
)
_NO_PROJECT = (
    "Google knows no project of this id; check project_id of keyfile_creds, or the project that was given beside it."
)
_NO_DATASET = "The project has no dataset of this name; check dataset."
_NO_JOBS = "The service account may not run queries in the project; grant it the role BigQuery Job User."
_NO_DATASET_ACCESS = "The service account may not read the dataset; grant it the role BigQuery Data Viewer there."
_API_DISABLED = "The BigQuery API is not enabled in the project; enable it in the Google Cloud console."
_UNTRUSTED = "The certificate of Google's host was not accepted; check this service's CA certificates."

# What each member of a key file may hold. None needs an escape in JSON, but for the private key's line breaks.
_PROJECT_ID = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
_WORD = r"[A-Za-z0-9_.-]{1,128}"
_EMAIL = r"[A-Za-z0-9_.%+-]{1,200}@[A-Za-z0-9.-]{1,200}"
_ADDRESS = r"https://[A-Za-z0-9_.~:/?#@!$&'()*+,;=%-]{1,1024}"


def _text(pattern: str, expected: str) -> Grammar:
    return Grammar(pattern=pattern, expected=expected, max_length=2048)


_Word = Annotated[str, _text(_WORD, "letters, digits, '-', '_' and '.'")]
_Address = Annotated[str, _text(_ADDRESS, "an https address")]


class KeyFile(SecretGroup):
    """The content of a service account's key file. The private key signs; nothing is ever sent to an address in it."""

    type: Literal["service_account"] = Field(default="service_account", title="Type", description="Always this word.")
    project_id: Annotated[str, _text(_PROJECT_ID, "a project id")] = Field(
        title="Project ID", description="Project that runs the queries."
    )
    private_key_id: _Word | None = Field(default=None, title="Private key ID", description="Which key this is.")
    private_key: PemPrivateKey = Field(title="Private key", description="The key itself, as PEM.")
    client_email: Annotated[str, _text(_EMAIL, "an e-mail address")] = Field(
        title="Client email", description="The service account."
    )
    client_id: _Word | None = Field(default=None, title="Client ID", description="Number of the account; not used.")
    auth_uri: _Address | None = Field(default=None, title="Auth URI", description="Not used.")
    token_uri: Literal["https://oauth2.googleapis.com/token"] = Field(
        default=_TOKEN_URI, title="Token URI", description="Google's address, and no other."
    )
    auth_provider_x509_cert_url: _Address | None = Field(
        default=None, title="Auth provider X509 cert URL", description="Not used."
    )
    client_x509_cert_url: _Address | None = Field(default=None, title="Client X509 cert URL", description="Not used.")
    universe_domain: Literal["googleapis.com"] = Field(
        default="googleapis.com", title="Universe domain", description="Google's public cloud, and no other."
    )


def _key_file_text() -> str:
    """A pattern for the same object as JSON text: flat, in any order, with the escapes that serializers use in key files."""
    space, slash, sign = r"[ \t\r\n]*", r"\\?/", r"\\u003[Dd]|\\u002[BbFf6]"
    address = rf"https:{slash}{slash}(?:[A-Za-z0-9_.~:?#@!$&'()*+,;=%-]|{slash}|{sign}){{1,1024}}"
    gap = r"(?: |\\[nrt])*"
    kind = r"(?:RSA |ENCRYPTED )?PRIVATE KEY-----"
    members = {
        "type": "service_account",
        "project_id": _PROJECT_ID,
        "private_key_id": _WORD,
        "private_key": rf"{gap}-----BEGIN {kind}(?:[A-Za-z0-9+= ]|{slash}|\\[nrt]|\\u003[Dd]|\\u002[BbFf])+-----END {kind}{gap}",
        "client_email": _EMAIL,
        "client_id": _WORD,
        "auth_uri": address,
        "token_uri": _TOKEN_URI.replace("/", slash).replace(".", r"\."),
        "auth_provider_x509_cert_url": address,
        "client_x509_cert_url": address,
        "universe_domain": r"googleapis\.com",
    }
    required = [name for name, field in KeyFile.model_fields.items() if field.is_required()]
    present = "".join(rf'(?=[ -~\t\r\n]*"{name}"{space}:)' for name in required)
    member = "(?:" + "|".join(rf'"{name}"{space}:{space}"{value}"' for name, value in members.items()) + ")"
    return rf"{present}{space}\{{{space}{member}(?:{space},{space}{member})*{space}\}}{space}"


@dataclass(frozen=True)
class _OrJsonText:
    """Accepts a key file's JSON text too. Only text that is a key file by its pattern reaches the JSON parser."""

    grammar: Grammar

    def read(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) > self.grammar.max_length or not re.fullmatch(self.grammar.pattern, value):
            raise PydanticCustomError("key_file", f"Must be {self.grammar.expected}.")
        return json.loads(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        pattern, length = f"^(?:{self.grammar.pattern})$", self.grammar.max_length
        return {"anyOf": [handler(schema), {"type": "string", "maxLength": length, "pattern": pattern}]}


_KEY_FILE = Grammar(
    pattern=_key_file_text(),
    expected="the content of a service account's key file, as a JSON object or as the file's text",
    max_length=16384,
)
# Letters, digits, `_` and `-`; letters of any script, since nothing tells them apart in both kinds of regular expression.
_NOT_IN_DATASET = " !\"#$%&'()*+,./:;<=>?@[\\]^`{|}~"
_DATASET = r"[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+"
_PROJECT = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"


class BigQuerySecrets(Secrets):
    """How to reach a BigQuery project."""

    connectory_url = UrlGrammar(
        schemes={"bigquery": {}},
        host="project",
        port=None,
        username=None,
        password=None,
        path=("dataset",),
        texts={"dataset": UrlText(max_length=1024, without=_NOT_IN_DATASET)},
        host_pattern=_PROJECT,
    )

    keyfile_creds: Annotated[KeyFile, _OrJsonText(_KEY_FILE)] = Field(
        title="Keyfile creds", description="Content of the service account's key file: the JSON object, or its text."
    )
    project: Annotated[str, _text(_PROJECT, "a project id")] | None = Field(
        default=None, title="Project", description="Project of the dataset and the queries; the key file's by default."
    )
    dataset: (
        Annotated[str, Grammar(pattern=_DATASET, expected="letters, digits, '_' and '-'", max_length=1024)] | None
    ) = Field(default=None, title="Dataset", description="Dataset that must exist; not checked when left out.")


class BigQuerySettings(DeployerSettings):
    """What the deployer may set.

    Attributes:
        bigquery_endpoint: address of the BigQuery API, for private endpoints and stand-ins.
        bigquery_token_uri: address that gives out access tokens. What is sent there opens the project for an hour: `http` is
            for loopback only.
    """

    bigquery_endpoint: HttpUrl = HttpUrl("https://bigquery.googleapis.com")
    bigquery_token_uri: HttpUrl = HttpUrl(_TOKEN_URI)


@hookimpl
def connectory_identifier() -> str:
    """The identifier."""
    return "bigquery"


@hookimpl
def connectory_type() -> str:
    """The system type."""
    return "database"


@hookimpl
def connectory_secret_schema() -> type[Secrets]:
    """The fields of a connection."""
    return BigQuerySecrets


@hookimpl
def connectory_settings() -> type[DeployerSettings]:
    """The settings of the deployer."""
    return BigQuerySettings


@hookimpl
def connectory_describe() -> Description:
    """What user interfaces show."""
    return Description(
        human_readable="BigQuery",
        icon=_ICON,
        user_guide="https://cloud.google.com/iam/docs/keys-create-delete",
        category="DATABASE",
        drivers=("google.cloud.bigquery", "google.oauth2.service_account", "google.auth.transport.requests"),
    )


@hookimpl
def connectory_test_connection(secrets: BigQuerySecrets, context: CheckContext) -> None:
    """Exchange a signed assertion for a token, run `SELECT 1` in the project, and ask for the dataset."""
    settings = context.settings(BigQuerySettings)
    key = rsa_private_key(secrets.keyfile_creds.private_key.get_secret_value(), remedy=_UNREADABLE_KEY)
    _reach(settings.bigquery_token_uri, context)
    with _session(context) as session:
        with context.step("authenticate"):
            credentials = _log_in(secrets.keyfile_creds, key, settings.bigquery_token_uri, session)
        if _address(settings.bigquery_endpoint) != _address(settings.bigquery_token_uri):
            context.resolve(*_address(settings.bigquery_endpoint))
        with context.step("query"):
            _query(_client(secrets, credentials, session, settings.bigquery_endpoint), secrets, context)


def _address(url: HttpUrl) -> tuple[str, int]:
    return (url.host or "").strip("[]"), url.port or 443


def _reach(url: HttpUrl, context: CheckContext) -> None:
    """Connect and do a TLS handshake, to know by type what fails there; the client's own connection comes after.

    It resolves the name again, which in the process of a test gives what was vetted here.
    """
    host, port = _address(url)
    connection, _ = context.connect(host, port)
    with connection:
        if url.scheme == "http":
            context.skip_step("tls")
            return
        with context.step("tls"):
            connection.settimeout(context.timeout)
            try:
                tls_context(SslMode.VERIFY_FULL, None).wrap_socket(connection, server_hostname=host).close()
            except OSError as error:
                raise _tls_failure(error) from error


def _tls_failure(error: OSError) -> CheckFailed:
    code = tls_failure(error)
    return CheckFailed(code, remedy=_UNTRUSTED if code is FailureCode.TLS_UNTRUSTED else None)


@contextmanager
def _session(context: CheckContext) -> Iterator[requests.Session]:
    """An HTTP session for tokens and calls: one deadline, no redirects, no proxies, no retries, nothing of the environment."""
    import requests
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options, ssl_context=tls_context(SslMode.VERIFY_FULL, None))

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
            try:
                response = super().send(request, **(options | {"timeout": context.timeout}))
                response.content  # noqa: B018 - read here, so that what fails while reading is told by type too
            except requests.RequestException as error:
                raise _network_failure(error) from error
            if 300 <= response.status_code < 400:
                raise CheckFailed(FailureCode.UNEXPECTED_REDIRECT)
            if response.status_code == 429:
                raise CheckFailed(FailureCode.RATE_LIMITED)
            if response.status_code >= 500:
                raise CheckFailed(FailureCode.HTTP_5XX)
            return response

    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, Guarded())
        yield session


def _network_failure(error: BaseException | None) -> CheckFailed:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return _tls_failure(error)
        if isinstance(error, ConnectionRefusedError):
            return CheckFailed(FailureCode.CONNECT_REFUSED)
        if isinstance(error, TimeoutError):
            return CheckFailed(FailureCode.TIMEOUT)
        error = error.__cause__ or error.__context__
    return CheckFailed(FailureCode.PROTOCOL_MISMATCH)


def _log_in(key_file: KeyFile, key: RSAPrivateKey, token_uri: HttpUrl, session: requests.Session) -> Credentials:
    """Exchange an assertion for a token. Of the key file only the key and whose it is are used; nothing leads elsewhere."""
    from google.auth.crypt import RSASigner
    from google.auth.exceptions import RefreshError
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    signer = RSASigner(key, key_file.private_key_id)  # type: ignore[no-untyped-call]
    credentials = Credentials(signer, key_file.client_email, str(token_uri), scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    try:
        credentials.refresh(Request(session))  # type: ignore[no-untyped-call]
    except RefreshError as error:
        raise _token_failure(error) from error
    except (ValueError, TypeError, KeyError) as error:
        # An answer that is no token: Google's client takes its form for granted.
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
    session.headers["Authorization"] = f"Bearer {credentials.token}"
    return credentials


def _token_failure(error: RefreshError) -> CheckFailed:
    """By the `error` member of the answer (RFC 6749 §5.2), which Google's client keeps as the second argument."""
    answer = error.args[1] if len(error.args) > 1 else None
    code = answer.get("error") if isinstance(answer, Mapping) else None
    if code in {"disabled_client", "deleted_client"}:
        return CheckFailed(FailureCode.AUTH_FAILED, remedy=_DISABLED_ACCOUNT)
    if isinstance(code, str):
        return CheckFailed(FailureCode.AUTH_FAILED, remedy=_REJECTED_KEY)
    return CheckFailed(FailureCode.PROTOCOL_MISMATCH)


def _client(secrets: BigQuerySecrets, credentials: Credentials, session: requests.Session, endpoint: HttpUrl) -> Client:
    from google.cloud import bigquery

    return bigquery.Client(
        project=secrets.project or secrets.keyfile_creds.project_id,
        credentials=credentials,
        client_options={"api_endpoint": str(endpoint).rstrip("/")},
        _http=session,
    )


def _query(client: Client, secrets: BigQuerySecrets, context: CheckContext) -> None:
    from google.api_core.exceptions import GoogleAPICallError
    from google.api_core.retry import Retry

    once = Retry(predicate=lambda _: False)
    not_found, no_access = CheckFailed(FailureCode.DATABASE_NOT_FOUND, remedy=_NO_PROJECT), _NO_JOBS
    try:
        seconds = context.timeout
        rows = client.query_and_wait("SELECT 1", retry=once, job_retry=once, api_timeout=seconds, wait_timeout=seconds)
        list(rows)
        if secrets.dataset is not None:
            not_found, no_access = CheckFailed(FailureCode.SCHEMA_NOT_FOUND, remedy=_NO_DATASET), _NO_DATASET_ACCESS
            client.get_dataset(f"{client.project}.{secrets.dataset}", retry=once, timeout=context.timeout)
    except GoogleAPICallError as error:
        raise _call_failure(error, not_found, no_access) from error
    except ValueError as error:
        # Google's client takes it for granted that an answer is JSON.
        raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error


def _call_failure(error: GoogleAPICallError, not_found: CheckFailed, no_access: str) -> CheckFailed:
    reasons = {entry.get("reason") for entry in error.errors if isinstance(entry, Mapping)}
    if not reasons:
        # Not an error of Google's APIs, all of which give reasons.
        return CheckFailed(FailureCode.HTTP_4XX)
    if error.code == 404:
        return not_found
    if error.code == 401:
        return CheckFailed(FailureCode.AUTH_FAILED)
    if reasons & {"rateLimitExceeded", "quotaExceeded"}:
        return CheckFailed(FailureCode.RATE_LIMITED)
    if error.code == 403:
        remedy = _API_DISABLED if error.reason == "SERVICE_DISABLED" else no_access
        return CheckFailed(FailureCode.PERMISSION_DENIED, remedy=remedy)
    return CheckFailed(FailureCode.QUERY_FAILED)
