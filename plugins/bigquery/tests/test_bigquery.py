"""What is special about BigQuery: the key file in its two forms, tokens, Google's reasons, and two hosts in one test."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from connectory import FailureCode
from connectory.testing import (
    MASK,
    Certificates,
    SecretsInvalid,
    mask_document,
    parse_secrets,
    secret_json_schema,
    secrets_document,
)
from connectory_bigquery import BigQuerySecrets, BigQuerySettings, KeyFile
from servers.bigquery.server import BigQueryServer, ServiceAccount
from testkit import hostile
from testkit.checking import Check, outcome, protection
from testkit.loopback import LoopbackServer
from testkit.tls_front import TlsFront

# The payload that the specification prints.
SPECIFICATION = {
    "dataset": "some-dataset",
    "keyfile_creds": {
        "type": "service_account",
        "project_id": "project-12345",
        "private_key_id": "qo28cy4nlwu",
        "private_key": "-----BEGIN PRIVATE KEY-----\nqi2unhflhncflkjas\nkqiu34c\n-----END PRIVATE KEY-----\n",
        "client_email": "something@project-12345.iam.gserviceaccount.com",
        "client_id": "287345028734538",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": (
            "https://www.googleapis.com/robot/v1/metadata/x509/something%40project-12345.iam.gserviceaccount.com"
        ),
    },
}
KEY_FILE = SPECIFICATION["keyfile_creds"]
SCHEMA = jsonschema_rs.validator_for(secret_json_schema(BigQuerySecrets, "bigquery", "BigQuery"))


def accepts(payload: Any) -> bool:
    """Whether the validator accepts it. The schema must say the same; of a text it shows less than the validator checks."""
    try:
        parse_secrets(BigQuerySecrets, payload)
        accepted = True
    except SecretsInvalid:
        accepted = False
    if accepted or not ("url" in payload or isinstance(payload["keyfile_creds"], str)):
        assert SCHEMA.is_valid(payload) == accepted, payload
    return accepted


class TestKeyFile:
    def test_the_specifications_payload_is_accepted(self, check: Check) -> None:
        """Its key is not a real one, and that is for the test to find out."""
        assert accepts(SPECIFICATION)
        with hostile.silent() as server:
            report = check(**SPECIFICATION, token_uri=f"http://127.0.0.1:{server.port}/token")
            assert outcome(report) == ("failed", FailureCode.AUTH_FAILED, "authenticate")
            assert "private_key" in report.reason
            assert server.connections == 0

    @pytest.mark.parametrize(
        "write",
        [
            json.dumps,
            lambda key_file: json.dumps(key_file, indent=2, sort_keys=True) + "\n",
            lambda key_file: json.dumps(key_file, separators=(",", ":")),
            lambda key_file: json.dumps(key_file).replace("/", "\\/"),
            lambda key_file: json.dumps(key_file).replace("=", "\\u003d").replace("+", "\\u002B"),
        ],
    )
    def test_the_files_text_is_the_same_as_the_object(
        self, check: Check, account: ServiceAccount, write: Callable[[Any], str]
    ) -> None:
        key_file = account.key_file()
        assert accepts({"keyfile_creds": write(key_file)})
        assert secrets_document(BigQuerySecrets, {"keyfile_creds": write(key_file)}) == {"keyfile_creds": key_file}
        assert check(keyfile_creds=write(key_file)).status == "succeeded"

    def test_three_members_are_enough(self, check: Check, account: ServiceAccount) -> None:
        needed = {name: account.key_file()[name] for name in ("project_id", "private_key", "client_email")}
        assert accepts({"keyfile_creds": needed})
        assert check(keyfile_creds=needed).status == "succeeded"
        for name in needed:
            lacking = {other: value for other, value in needed.items() if other != name}
            assert not accepts({"keyfile_creds": lacking})
            assert not accepts({"keyfile_creds": json.dumps(lacking)})

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 200_000,
            "[" * 200_000 + "]" * 200_000,
            '{"a":' * 200_000,
            "[]",
            "null",
            "{}",
            "",
            " " * 100_000,
            '{"private_key": "S3cret",}',
            json.dumps(KEY_FILE)[:-1],
            json.dumps(KEY_FILE) + "x",
            json.dumps(KEY_FILE | {"project_id": ["project"]}),
            json.dumps(KEY_FILE | {"more": "x"}),
            json.dumps(KEY_FILE | {"client_id": 5}),
            json.dumps(KEY_FILE | {"client_id": None}),
            json.dumps(json.dumps(KEY_FILE)),
            json.dumps(KEY_FILE).replace("project-12345", "\\u0022project"),
            "\ufeff" + json.dumps(KEY_FILE),
            "/etc/shadow",
        ],
    )
    def test_any_other_text_is_refused_and_not_repeated(self, text: str) -> None:
        assert not accepts({"keyfile_creds": text})
        with pytest.raises(SecretsInvalid) as caught:
            parse_secrets(BigQuerySecrets, {"keyfile_creds": text})
        assert [problem["loc"] for problem in caught.value.problems] == [["keyfile_creds"]]
        assert "S3cret" not in str(caught.value)

    @pytest.mark.parametrize(
        "change",
        [
            {"token_uri": "http://127.0.0.1:8080/latest/meta-data/"},
            {"token_uri": "https://oauth2.googleapis.com/token/"},
            {"token_uri": "https://oauth2.googleapis.com.evil.example/token"},
            {"type": "external_account"},
            {"type": "authorized_user"},
            {"credential_source": {"url": "http://169.254.169.254/"}},
            {"credential_source": {"executable": {"command": "/bin/sh"}}},
            {"universe_domain": "evil.example"},
            {"auth_uri": "file:///etc/passwd"},
            {"project_id": "../x"},
            {"project_id": "a/b"},
            {"client_email": "nobody"},
            {"private_key": "/etc/shadow"},
            {"private_key": ""},
        ],
    )
    def test_a_member_that_could_lead_elsewhere_is_refused(self, change: dict[str, Any]) -> None:
        """Both as an object and as text."""
        assert not accepts({"keyfile_creds": KEY_FILE | change})
        assert not accepts({"keyfile_creds": json.dumps(KEY_FILE | change)})

    def test_the_whole_object_is_secret(self) -> None:
        shown = mask_document(BigQuerySecrets, secrets_document(BigQuerySecrets, SPECIFICATION))
        assert shown == {"keyfile_creds": MASK, "dataset": "some-dataset"}
        schema = secret_json_schema(BigQuerySecrets, "bigquery", "BigQuery")
        assert schema["properties"]["keyfile_creds"]["sensitive"] is True

    @settings(max_examples=400)
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.one_of(
                    st.just(KEY_FILE.get(name, "googleapis.com")),
                    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
                    st.from_regex(r"(https://)?[A-Za-z0-9_.:/@-]{0,9}", fullmatch=True),
                    st.integers(),
                )
                for name in KeyFile.model_fields
            },
        ),
        st.sampled_from([None, 1]),
    )
    def test_object_and_text_are_accepted_alike(self, changes: dict[str, Any], indent: int | None) -> None:
        needed = {name: KEY_FILE[name] for name in ("project_id", "private_key", "client_email")}
        key_file = needed | changes
        assert accepts({"keyfile_creds": key_file}) == accepts({"keyfile_creds": json.dumps(key_file, indent=indent)})

    def test_a_key_that_cannot_sign_is_told_apart(self, check: Check, account: ServiceAccount) -> None:
        elliptic = ec.generate_private_key(ec.SECP256R1())
        encrypted = account.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))
        for pem in (elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), encrypted):
            report = check(keyfile_creds=account.key_file(private_key=pem.decode()))
            assert outcome(report) == ("failed", FailureCode.AUTH_FAILED, "authenticate")
            assert "private_key" in report.reason


def test_a_good_connection_passes_every_step(check: Check, bigquery: BigQueryServer) -> None:
    report = check(dataset=bigquery.dataset)
    assert outcome(report) == ("succeeded", None, "")
    assert protection(report) == ("skipped", False, False)
    steps = [(step.name, step.status) for step in report.steps]
    assert steps == [
        ("resolve", "passed"),
        ("connect", "passed"),
        ("tls", "skipped"),
        ("authenticate", "passed"),
        ("query", "passed"),
    ]


def test_a_url_gives_project_and_dataset(check: Check, bigquery: BigQueryServer, account: ServiceAccount) -> None:
    elsewhere = account.key_file(project_id="project-of-the-key")
    assert check(keyfile_creds=elsewhere).code is FailureCode.DATABASE_NOT_FOUND
    assert check(keyfile_creds=elsewhere, url="bigquery://demo-project/app").status == "succeeded"
    assert check(url="bigquery://demo-project/nowhere").code is FailureCode.SCHEMA_NOT_FOUND
    assert check(url="bigquery://nowhere").code is FailureCode.DATABASE_NOT_FOUND


def test_wrong_keys_and_wrong_accounts_are_refused(
    check: Check, bigquery: BigQueryServer, account: ServiceAccount
) -> None:
    """An unknown account too, and one that is disabled."""
    other_key = bigquery.create_account("other").key_file()["private_key"]
    disabled = bigquery.create_account("disabled", disabled=True)
    reports = [
        check(keyfile_creds=account.key_file(private_key=other_key)),
        check(keyfile_creds=account.key_file(client_email="nobody@demo-project.iam.gserviceaccount.com")),
        check(keyfile_creds=disabled.key_file()),
    ]
    assert [outcome(report) for report in reports] == [("failed", FailureCode.AUTH_FAILED, "authenticate")] * 3
    assert reports[0].reason == reports[1].reason
    assert "disabled" in reports[2].reason


def test_a_missing_permission_is_named(check: Check, bigquery: BigQueryServer) -> None:
    no_jobs = bigquery.create_account("no-jobs", runs_queries=False)
    no_data = bigquery.create_account("no-data", reads_datasets=False)
    reports = [
        check(keyfile_creds=no_jobs.key_file()),
        check(keyfile_creds=no_data.key_file(), dataset=bigquery.dataset),
    ]
    assert [outcome(report) for report in reports] == [("failed", FailureCode.PERMISSION_DENIED, "query")] * 2
    assert ["Job User" in reports[0].reason, "Data Viewer" in reports[1].reason] == [True, True]
    assert check(keyfile_creds=no_data.key_file()).status == "succeeded"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"errors": [{"reason": "invalid"}]}, FailureCode.QUERY_FAILED),
        (401, {"errors": [{"reason": "authError"}]}, FailureCode.AUTH_FAILED),
        (403, {"errors": [{"reason": "quotaExceeded"}]}, FailureCode.RATE_LIMITED),
        (403, {"errors": [{"reason": "accessDenied"}]}, FailureCode.PERMISSION_DENIED),
        (404, {"errors": [{"reason": "notFound"}]}, FailureCode.DATABASE_NOT_FOUND),
        (404, {}, FailureCode.HTTP_4XX),
        (429, {}, FailureCode.RATE_LIMITED),
        (500, {}, FailureCode.HTTP_5XX),
        (503, {"errors": [{"reason": "backendError"}]}, FailureCode.HTTP_5XX),
        (302, {}, FailureCode.UNEXPECTED_REDIRECT),
        (307, {}, FailureCode.UNEXPECTED_REDIRECT),
        (200, None, FailureCode.PROTOCOL_MISMATCH),
    ],
)
def test_an_answer_of_the_api_is_told_by_status_and_reason(
    check: Check, status: int, body: dict[str, Any] | None, code: FailureCode
) -> None:
    """Once: nothing is tried again, and no redirect is followed."""
    content = b"<html>" if body is None else json.dumps({"error": {"code": status, "message": "m", **body}}).encode()
    with hostile.silent() as elsewhere, answering(status, content, f"http://127.0.0.1:{elsewhere.port}/") as server:
        report = check(endpoint=server.url)
        assert outcome(report) == ("failed", code, "query")
        assert report.retry_after == (17 if code is FailureCode.RATE_LIMITED else None)
        assert len(server.authorizations) == 1
        assert elsewhere.connections == 0


def test_an_api_that_is_not_enabled_is_named(check: Check) -> None:
    """Google's ErrorInfo (AIP-193) has the reason by its name."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com"}
    ]
    error = {"code": 403, "message": "m", "errors": [{"reason": "accessNotConfigured"}], "details": details}
    with answering(403, json.dumps({"error": error}).encode(), "") as server:
        report = check(endpoint=server.url)
    assert outcome(report) == ("failed", FailureCode.PERMISSION_DENIED, "query")
    assert "not enabled" in report.reason


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (302, b"", FailureCode.UNEXPECTED_REDIRECT),
        (307, b"", FailureCode.UNEXPECTED_REDIRECT),
        (429, b"", FailureCode.RATE_LIMITED),
        (503, b"", FailureCode.HTTP_5XX),
        (400, b'{"error": "invalid_grant"}', FailureCode.AUTH_FAILED),
        (401, b'{"error": "deleted_client"}', FailureCode.AUTH_FAILED),
        (400, b"INTERNAL SERVICE BODY", FailureCode.PROTOCOL_MISMATCH),
        (400, b"[1]", FailureCode.PROTOCOL_MISMATCH),
        (200, b"INTERNAL SERVICE BODY", FailureCode.PROTOCOL_MISMATCH),
        (200, b"{}", FailureCode.PROTOCOL_MISMATCH),
        (200, b"[]", FailureCode.PROTOCOL_MISMATCH),
        (200, b'{"access_token": "t", "expires_in": "soon"}', FailureCode.PROTOCOL_MISMATCH),
        (200, b'{"access_token": "a\\nb", "expires_in": 1}', FailureCode.PROTOCOL_MISMATCH),
    ],
)
def test_an_answer_of_the_token_endpoint_is_not_shown(
    check: Check, status: int, content: bytes, code: FailureCode
) -> None:
    """It is told by its form."""
    with hostile.silent() as elsewhere, answering(status, content, f"http://127.0.0.1:{elsewhere.port}/") as server:
        report = check(token_uri=f"{server.url}/token")
        assert (report.status, report.code) == ("failed", code)
        assert report.retry_after == (17 if code is FailureCode.RATE_LIMITED else None)
        assert "INTERNAL" not in report.reason
        assert len(server.authorizations) == 1
        assert elsewhere.connections == 0


class TestTls:
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, bigquery: BigQueryServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        with TlsFront(bigquery, certificates.server) as front:
            address = f"https://localhost:{front.port}"
            report = check(endpoint=address, token_uri=f"{address}/token")
            assert outcome(report) == ("succeeded", None, "")
            assert protection(report) == ("passed", True, True)

    @pytest.mark.parametrize("plain", ["token_uri", "endpoint"])
    def test_one_plain_address_of_two_is_not_encrypted(
        self,
        check: Check,
        bigquery: BigQueryServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        plain: str,
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        with TlsFront(bigquery, certificates.server) as front:
            address = f"https://localhost:{front.port}"
            encrypted = {"endpoint": address, "token_uri": f"{address}/token"}
            report = check(**{name: where for name, where in encrypted.items() if name != plain})
        assert outcome(report) == ("succeeded", None, "")
        assert (report.encrypted, report.verified) == (False, False)

    @pytest.mark.parametrize("kind", ["untrusted", "wrong_host"])
    @pytest.mark.parametrize(("which", "step"), [("token_uri", "tls"), ("endpoint", "query")])
    def test_a_certificate_that_is_not_googles_is_refused(
        self,
        check: Check,
        bigquery: BigQueryServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        which: str,
        step: str,
    ) -> None:
        """Nothing has been sent by then."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        with TlsFront(bigquery, getattr(certificates, kind)) as front:
            report = check(**{which: f"https://127.0.0.1:{front.port}/token"})
            assert outcome(report) == ("failed", FailureCode.TLS_UNTRUSTED, step)
            assert b"HTTP" not in front.received

    def test_a_server_without_tls_gets_nothing(self, check: Check) -> None:
        with hostile.speaks_http() as server:
            report = check(token_uri=f"https://127.0.0.1:{server.port}/token")
            assert outcome(report) == ("failed", FailureCode.PROTOCOL_MISMATCH, "tls")
            assert b"POST" not in server.received


class TestFarEnds:
    def test_an_ipv6_literal_connects(self, check: Check, bigquery: BigQueryServer) -> None:
        with TlsFront(bigquery) as front:
            address = f"http://[::1]:{front.port}"
            assert outcome(check(endpoint=address, token_uri=f"{address}/token")) == ("succeeded", None, "")

    @pytest.mark.parametrize(("which", "step"), [("token_uri", "authenticate"), ("endpoint", "query")])
    @pytest.mark.parametrize("far_end", [hostile.speaks_ssh, hostile.closes_at_once])
    def test_what_answers_something_else_is_told_by_its_step(
        self, check: Check, which: str, step: str, far_end: Callable[[], LoopbackServer]
    ) -> None:
        with far_end() as server:
            report = check(**{which: f"http://127.0.0.1:{server.port}/token"})
        assert outcome(report) == ("failed", FailureCode.PROTOCOL_MISMATCH, step)

    def test_an_endpoint_that_no_resolver_knows_is_told_apart(self, check: Check) -> None:
        report = check(endpoint="http://connectory-nowhere.invalid")
        assert outcome(report) in {
            ("failed", code, "resolve") for code in (FailureCode.DNS_FAILED, FailureCode.DNS_TIMEOUT)
        }

    def test_proxies_and_credentials_of_the_environment_are_not_used(
        self, check: Check, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with hostile.silent() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "BIGQUERY_EMULATOR_HOST"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/hostname")
            assert check(deadline=9).status == "succeeded"
            assert proxy.connections == 0


class WebServer(http.server.ThreadingHTTPServer):
    """Where it listens, and the Authorization of every request."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.authorizations: list[str | None] = []


@contextmanager
def answering(status: int, content: bytes, location: str) -> Iterator[WebServer]:
    """A web server that gives every request this answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.authorizations.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Location", location)
            self.send_header("Retry-After", "17")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

    server = WebServer(Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "bigquery://user@project/dataset",
        "bigquery://project:443/dataset",
        "bigquery://project/a/b",
        "bigquery://project/dataset?credentials_path=/etc/passwd",
        "bigquery://project/dataset?credentials_base64=x",
        "bigquery:///dataset",
        "bigquery://../dataset",
        "https://project/dataset",
        "bigquery://project/data.set",
        "bigquery://project/data%2Fset",
    ],
)
def test_a_url_holds_nothing_but_project_and_dataset(url: str) -> None:
    assert not accepts({"keyfile_creds": KEY_FILE, "url": url})


projects = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}", fullmatch=True)
datasets = st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True)


@settings(max_examples=200)
@given(st.fixed_dictionaries({"project": projects}, optional={"dataset": datasets}))
def test_the_url_of_some_parts_gives_the_same_parts(parts: dict[str, Any]) -> None:
    url = BigQuerySecrets.connectory_url.render(parts)
    by_url = parse_secrets(BigQuerySecrets, {"keyfile_creds": KEY_FILE, "url": url})
    assert by_url == parse_secrets(BigQuerySecrets, {"keyfile_creds": KEY_FILE} | parts)


@settings(max_examples=400)
@given(st.fixed_dictionaries({"project": projects}, optional={"dataset": datasets}), st.data())
def test_a_mutated_url_is_refused_or_holds_vetted_parts(parts: dict[str, Any], data: st.DataObject) -> None:
    """It gives only parts that could have been sent as parts."""
    url = BigQuerySecrets.connectory_url.render(parts)
    at = data.draw(st.integers(0, len(url)))
    more = data.draw(
        st.sampled_from(["", "@", "/", ":", "?", "#", "&", "%", "%00", "\0", " ", "\\", "=", "é", "//", ".."])
    )
    url = url[:at] + more + url[at + data.draw(st.integers(0, 2)) :]
    if accepts({"keyfile_creds": KEY_FILE, "url": url}):
        found = parse_secrets(BigQuerySecrets, {"keyfile_creds": KEY_FILE, "url": url})
        given_parts = {"project": found.project, "dataset": found.dataset}
        assert accepts(
            {"keyfile_creds": KEY_FILE} | {name: value for name, value in given_parts.items() if value is not None}
        )


def test_endpoints_are_the_deployers_alone_and_googles_by_default() -> None:
    assert str(BigQuerySettings().bigquery_token_uri) == "https://oauth2.googleapis.com/token"
    assert str(BigQuerySettings().bigquery_endpoint) == "https://bigquery.googleapis.com/"
    for name in ("bigquery_endpoint", "bigquery_token_uri", "token_uri", "credentials_path"):
        assert not accepts({"keyfile_creds": KEY_FILE, name: "http://127.0.0.1:8080"})


def test_a_driver_that_does_not_load_says_what_to_install(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "__init__.py").write_text("raise ImportError(name='google')")
    monkeypatch.syspath_prepend(tmp_path)
    report = check(deadline=9)
    assert (report.status, report.code) == ("failed", FailureCode.DRIVER_MISSING)
    assert "pip install" in report.reason
    assert "connectory-bigquery" in report.reason
