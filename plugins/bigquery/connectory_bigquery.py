"""The BigQuery connector: Google's client over one HTTP session of our own, which follows nothing and ends in time.

Facts are from Google's documentation: "OAuth 2.0 for server to server applications" (the key file, the grant and its errors),
"BigQuery API: error messages" (statuses and reasons), and "Creating datasets" and "Creating projects" (names).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, HttpUrl, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from connectory import (
    CheckContext,
    CheckFailed,
    Connector,
    DeployerSettings,
    Description,
    FailureCode,
    SecretGroup,
    Secrets,
    SslMode,
    Text,
    UrlGrammar,
)
from connectory.toolkit import (
    Failures,
    PemPrivateKeyForm,
    Role,
    failure_of_status,
    is_verified,
    rsa_private_key,
    tls_context,
    tls_failure,
    wait_in,
)

if TYPE_CHECKING:
    import requests
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import RefreshError
    from google.cloud.bigquery import Client
    from google.cloud.bigquery.dbapi import Connection
    from google.oauth2.service_account import Credentials

    from connectory.data import DataSession, SessionContext

_TOKEN_URI: Literal["https://oauth2.googleapis.com/token"] = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/bigquery"

_UNREADABLE_KEY = (
    "The private_key of keyfile_creds is not a readable RSA key; download a new key file from Google Cloud's console."
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

_Word = Annotated[str, Text("letters, digits, '-', '_' and '.'", max_length=128, pattern=r"[A-Za-z0-9_.\-]+")]
_Address = Annotated[str, Text("an https address", max_length=1032, pattern=r"https:\/\/[!-~]+")]
_Email = Annotated[
    str, Text("an e-mail address", pattern=r"[A-Za-z0-9%_+\-.]{1,200}@[A-Za-z0-9.\-]{1,200}", max_length=401)
]


class KeyFile(SecretGroup):
    """The content of a service account's key file. The private key signs; nothing is ever sent to an address in it."""

    type: Literal["service_account"] = Field(default="service_account", title="Type", description="Always this word.")
    project_id: Annotated[str, Text("a project id", max_length=128, pattern=r"[A-Za-z0-9][A-Za-z0-9:_.\-]*")] = Field(
        title="Project ID", description="Project that runs the queries."
    )
    private_key_id: _Word | None = Field(default=None, title="Private key ID", description="Which key this is.")
    # Only its form: Google's own examples of key files, which are stored as they are printed, hold no real key.
    private_key: PemPrivateKeyForm = Field(title="Private key", description="The key itself, as PEM.")
    client_email: _Email = Field(title="Client email", description="The service account.")
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


_KEY_FILE_LIMIT = 16_384
"""Characters of a key file's text. Google's have about 2,400, most of them the private key's."""


def _read_key_file(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """The key file that a text holds. A text that holds none is refused as a whole: to name its members would be to quote it."""
    if not isinstance(value, str):
        return validate(value)
    try:
        members = json.loads(value) if len(value) <= _KEY_FILE_LIMIT else None
        if (
            isinstance(members, dict) and None not in members.values()
        ):  # no key file holds `null`, which means absent elsewhere
            return validate(members)
    except (ValueError, RecursionError):
        pass
    raise PydanticCustomError(
        "key_file", "Must be the content of a service account's key file, as a JSON object or as the file's text."
    )


_KeyFileText = Annotated[
    str,
    Field(
        description="The text of the file, which holds this object as JSON.",
        max_length=_KEY_FILE_LIMIT,
        pattern=r"^[ \t\r\n]*\{",
    ),
]
_PROJECT = r"[A-Za-z0-9][A-Za-z0-9_.\-]*"
# Letters, digits, `_` and `-`; letters of any script, since nothing tells them apart in both kinds of regular expression.
_Dataset = Annotated[
    str, Text("letters, digits, '_' and '-'", pattern=r"[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+")
]


class BigQuerySecrets(Secrets):
    """How to reach a BigQuery project."""

    connectory_url = UrlGrammar(
        schemes={"bigquery": {}},
        host="project",
        port=None,
        username=None,
        password=None,
        path=("dataset",),
        host_pattern=_PROJECT,
    )

    keyfile_creds: Annotated[KeyFile, WrapValidator(_read_key_file, json_schema_input_type=KeyFile | _KeyFileText)] = (
        Field(
            title="Keyfile creds",
            description="Content of the service account's key file: the JSON object, or the file's text, which must hold it.",
        )
    )
    project: Annotated[str, Text("a project id", max_length=128, pattern=_PROJECT), Role("database")] | None = Field(
        default=None, title="Project", description="Project of the dataset and the queries; the key file's by default."
    )
    dataset: _Dataset | None = Field(
        default=None, title="Dataset", description="Dataset that must exist; not checked when left out."
    )


class BigQuerySettings(DeployerSettings):
    """What the deployer may set.

    Attributes:
        bigquery_endpoint: address of the BigQuery API, for private endpoints and stand-ins.
        bigquery_token_uri: address that gives out access tokens. What is sent there opens the project for an hour: `http` is
            for loopback only.
    """

    bigquery_endpoint: HttpUrl = HttpUrl("https://bigquery.googleapis.com")
    bigquery_token_uri: HttpUrl = HttpUrl(_TOKEN_URI)


class BigQuery(Connector[BigQuerySecrets]):
    """Google BigQuery."""

    identifier = "bigquery"
    type = "database"
    description = Description(
        human_readable="BigQuery",
        user_guide="https://cloud.google.com/iam/docs/keys-create-delete",
        category="DATABASE",
        drivers=("google.cloud.bigquery", "google.oauth2.service_account", "google.auth.transport.requests"),
        session_modules=("connectory_sql.bigquery",),
    )
    settings = BigQuerySettings

    def test(self, secrets: BigQuerySecrets, context: CheckContext) -> None:
        """Exchange a signed assertion for a token, run `SELECT 1` in the project, and ask for the dataset."""
        with ExitStack() as opened:
            client = _open(secrets, context, opened)
            with context.step("query", _NO_JSON):
                _query(client, secrets, context)

    def open_session(self, secrets: BigQuerySecrets, context: SessionContext) -> DataSession:
        """Log in as the test does, and run the same queries, so that what is wrong is told as there."""
        from google.cloud.bigquery import dbapi

        from connectory_sql import SqlSession
        from connectory_sql.bigquery import BIGQUERY

        def log_in() -> Connection:
            client = _open(secrets, context, opened)
            with context.step("query", _NO_JSON):
                _query(client, secrets, context)
            # By Google's Storage API it would connect elsewhere.
            return dbapi.Connection(client, prefer_bqstorage_client=False)  # type: ignore[no-untyped-call]

        opened = ExitStack()
        try:
            return SqlSession(BIGQUERY, log_in, context, schema=secrets.dataset, afterwards=opened.close)
        except BaseException:
            opened.close()
            raise


def _open(secrets: BigQuerySecrets, context: CheckContext, opened: ExitStack) -> Client:
    """Google's client, with a token, for as long as `opened` is."""
    settings = context.settings(BigQuerySettings)
    endpoint, token_uri = settings.bigquery_endpoint, settings.bigquery_token_uri
    key = rsa_private_key(secrets.keyfile_creds.private_key.get_secret_value(), remedy=_UNREADABLE_KEY)
    # To know by type what fails here. The client's own connection comes after; it resolves the name again, which in the
    # process of a test gives what was vetted here.
    tls = SslMode.VERIFY_FULL if token_uri.scheme == "https" else SslMode.DISABLED
    with context.open(*_address(token_uri), tls=tls, untrusted=_UNTRUSTED):
        pass
    session = opened.enter_context(_session(context))
    # Google's client takes it for granted that an answer is JSON, and holds a token of the right form.
    with context.step("authenticate", _NO_TOKEN):
        credentials = _log_in(secrets.keyfile_creds, key, token_uri, session)
    client = _client(secrets, credentials, session, endpoint)
    if _address(endpoint) != _address(token_uri):
        context.resolve(*_address(endpoint))
        if endpoint.scheme == "http":
            context.skip_step("tls")
    return client


_NO_JSON: Failures = {ValueError: FailureCode.PROTOCOL_MISMATCH}
_NO_TOKEN: Failures = {**_NO_JSON, TypeError: FailureCode.PROTOCOL_MISMATCH, KeyError: FailureCode.PROTOCOL_MISMATCH}


def _address(url: HttpUrl) -> tuple[str, int]:
    return (url.host or "").strip("[]"), url.port or 443


@contextmanager
def _session(context: CheckContext) -> Iterator[requests.Session]:
    """An HTTP session for tokens and calls: one deadline, no redirects, no proxies, no retries, nothing of the environment."""
    import requests
    from requests.adapters import HTTPAdapter

    class Told(ssl.SSLSocket):
        """A socket that reports what was agreed on."""

        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            context.report_tls(verified=is_verified(self))

    class Guarded(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            settings = tls_context(SslMode.VERIFY_FULL, None)
            settings.sslsocket_class = Told
            super().init_poolmanager(*arguments, **options, ssl_context=settings)

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
            try:
                response = super().send(request, **(options | {"timeout": context.timeout}))
                response.content  # noqa: B018 - read here, so that what fails while reading is told by type too
            except requests.RequestException as error:
                raise _cause(error) from error
            code = failure_of_status(response.status_code)
            if code in _TOLD_BY_STATUS:
                raise CheckFailed(code, retry_after=_wait(response))
            return response

    with requests.Session() as session:
        session.trust_env = False
        for scheme in ("https://", "http://"):
            session.mount(scheme, Guarded())
        yield session


# Google's client would follow the first and try again after the others; what other statuses mean, Google's reasons tell.
_TOLD_BY_STATUS = {FailureCode.UNEXPECTED_REDIRECT, FailureCode.RATE_LIMITED, FailureCode.HTTP_5XX}


def _wait(response: requests.Response | None) -> int | None:
    return wait_in(response.headers.get("Retry-After")) if response is not None else None


def _cause(error: BaseException | None) -> Exception:
    """What requests and urllib3 have wrapped into `error`, for the service to tell by its type."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            code = tls_failure(error)
            return CheckFailed(code, remedy=_UNTRUSTED if code is FailureCode.TLS_UNTRUSTED else None)
        if isinstance(error, ConnectionRefusedError | TimeoutError):
            return error
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
    from google.api_core.retry import Retry

    once = Retry(predicate=lambda _: False)
    with _judged(CheckFailed(FailureCode.DATABASE_NOT_FOUND, remedy=_NO_PROJECT), _NO_JOBS):
        seconds = context.timeout
        rows = client.query_and_wait("SELECT 1", retry=once, job_retry=once, api_timeout=seconds, wait_timeout=seconds)
        list(rows)
    if secrets.dataset is not None:
        with _judged(CheckFailed(FailureCode.SCHEMA_NOT_FOUND, remedy=_NO_DATASET), _NO_DATASET_ACCESS):
            client.get_dataset(f"{client.project}.{secrets.dataset}", retry=once, timeout=context.timeout)


@contextmanager
def _judged(not_found: CheckFailed, no_access: str) -> Iterator[None]:
    """Tell what an error of Google's means for the call inside, by its status and reasons."""
    from google.api_core.exceptions import GoogleAPICallError

    try:
        yield
    except GoogleAPICallError as error:
        raise _call_failure(error, not_found, no_access) from error


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
        return CheckFailed(FailureCode.RATE_LIMITED, retry_after=_wait(error.response))
    if error.code == 403:
        remedy = _API_DISABLED if error.reason == "SERVICE_DISABLED" else no_access
        return CheckFailed(FailureCode.PERMISSION_DENIED, remedy=remedy)
    return CheckFailed(FailureCode.QUERY_FAILED)
