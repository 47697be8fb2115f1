"""What is special about Snowflake: key pairs, its codes, a session that opens without what was asked for, and its endpoint."""

import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

import connectory_snowflake
from connectory import FailureCode
from connectory.testing import Certificates, CheckReport, SecretsInvalid, parse_secrets, secret_json_schema
from connectory_snowflake import SnowflakeSecrets, SnowflakeSettings
from servers.snowflake.server import SnowflakeServer
from testkit import hostile
from testkit.checking import Check, outcome, protection
from testkit.loopback import LoopbackServer, Peer
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.tls_front import TlsFront

CheckAll = Callable[[list[dict[str, Any]]], list[CheckReport]]

PARTS = {"account_identifier": "acme", "user_login_name": "ann", "password": "pw", "warehouse_name": "wh"}


def pem(key: rsa.RSAPrivateKey, passphrase: str | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase is not None else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, encryption).decode()


def problems(**payload: Any) -> list[Any]:
    with pytest.raises(SecretsInvalid) as caught:
        parse_secrets(SnowflakeSecrets, payload)
    return caught.value.problems


def test_a_good_connection_passes_every_step(check: Check) -> None:
    report = check(database_name="app", schema_name="public", role_name="public")
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


def test_a_warehouse_may_be_left_out(check: Check) -> None:
    """The user's default is used then, or none: what the test asks needs none."""
    assert outcome(check(warehouse_name=None)) == ("succeeded", None, "")
    report = check(warehouse_name=None, database_name="app", schema_name="public", role_name="public")
    assert outcome(report) == ("succeeded", None, "")
    schema = secret_json_schema(SnowflakeSecrets, "snowflake", "Snowflake")
    parts = {"account_identifier": "acme", "user_login_name": "ann", "password": "pw"}
    assert jsonschema_rs.is_valid(schema, parts)
    assert parse_secrets(SnowflakeSecrets, parts).warehouse_name is None


def test_a_url_connects_like_the_parts(check_all: CheckAll, snowflake: SnowflakeServer) -> None:
    snowflake.create_user("URL_USER", "p@ss w/:rd")
    base = "snowflake://url_user:p%40ss%20w%2F%3Ard@acme"
    urls = [
        "/app/public?warehouse=compute_wh&role=public",
        "?warehouse=compute_wh",
        "/app/",
        "/nowhere",
        "/app/nowhere",
    ]
    codes = [report.code for report in check_all([{"url": base + rest} for rest in urls])]
    assert codes == [None, None, None, FailureCode.DATABASE_NOT_FOUND, FailureCode.SCHEMA_NOT_FOUND]


def test_wrong_password_and_unknown_user_get_the_same_answer(check: Check) -> None:
    reports = [check(password="wrong"), check(user_login_name="nobody")]
    assert [outcome(report) for report in reports] == [("failed", FailureCode.AUTH_FAILED, "authenticate")] * 2
    assert reports[0].reason == reports[1].reason


@pytest.mark.parametrize(
    ("changes", "code", "step", "named"),
    [
        ({"database_name": "nowhere"}, FailureCode.DATABASE_NOT_FOUND, "query", "database_name"),
        ({"database_name": "owners"}, FailureCode.DATABASE_NOT_FOUND, "query", "database_name"),
        ({"database_name": "app", "schema_name": "nowhere"}, FailureCode.SCHEMA_NOT_FOUND, "query", "schema_name"),
        ({"schema_name": "public"}, FailureCode.SCHEMA_NOT_FOUND, "query", "schema_name"),
        ({"warehouse_name": "nowhere"}, FailureCode.PERMISSION_DENIED, "query", "warehouse_name"),
        ({"warehouse_name": "owners_wh"}, FailureCode.PERMISSION_DENIED, "query", "warehouse_name"),
        ({"role_name": "nowhere"}, FailureCode.PERMISSION_DENIED, "authenticate", "role_name"),
        ({"role_name": "owner"}, FailureCode.PERMISSION_DENIED, "authenticate", "role_name"),
        ({"account_identifier": "nowhere"}, FailureCode.HTTP_4XX, "authenticate", "account_identifier"),
    ],
)
def test_what_may_not_be_used_is_named(
    check: Check, changes: dict[str, Any], code: FailureCode, step: str, named: str
) -> None:
    report = check(**changes)
    assert outcome(report) == ("failed", code, step)
    assert named in report.reason


def test_a_role_opens_what_is_its_own(check: Check) -> None:
    owners = {"database_name": "owners", "schema_name": "public", "warehouse_name": "owners_wh", "role_name": "owner"}
    assert outcome(check(user_login_name="owner", **owners)) == ("succeeded", None, "")


def test_identifiers_are_compared_as_snowflake_does(check: Check) -> None:
    assert check(database_name='"APP"', schema_name="Public").status == "succeeded"
    assert check(database_name='"app"').code is FailureCode.DATABASE_NOT_FOUND


@pytest.mark.parametrize(
    ("refused_with", "code", "named"),
    [
        ("390102", FailureCode.AUTH_FAILED, "LOGIN_HISTORY"),
        ("390101", FailureCode.AUTH_FAILED, "LOGIN_HISTORY"),
        ("390422", FailureCode.PERMISSION_DENIED, "network policy"),
    ],
)
def test_a_refusal_is_told_by_its_number(
    check: Check, snowflake: SnowflakeServer, refused_with: str, code: FailureCode, named: str
) -> None:
    snowflake.create_user("REFUSED", "right", refused_with=refused_with)
    report = check(user_login_name="refused", password="right")
    assert outcome(report) == ("failed", code, "authenticate")
    assert named in report.reason


class TestKeyPair:
    def test_every_usual_form_of_a_key_logs_in(
        self, check_all: CheckAll, snowflake: SnowflakeServer, key: rsa.RSAPrivateKey
    ) -> None:
        user = {"account_identifier": "acme", "user_login_name": "ann", "warehouse_name": "compute_wh"}
        forms = [
            {"private_key": pem(key)},
            {"private_key": pem(key, form=PrivateFormat.TraditionalOpenSSL)},
            {"private_key": pem(key, "pass phrase"), "private_key_passphrase": "pass phrase"},
            {"private_key": pem(key).replace("\n", " ")},
            {"private_key": pem(key).replace("\n", "\r\n")},
        ]
        reports = check_all([user | form for form in forms])
        assert [report.status for report in reports] == ["succeeded"] * len(forms)

    def test_another_key_is_auth_failed_and_says_so(self, check: Check) -> None:
        report = check(password=None, private_key=pem(rsa.generate_private_key(65537, 2048)))
        assert outcome(report) == ("failed", FailureCode.AUTH_FAILED, "authenticate")
        assert "RSA_PUBLIC_KEY" in report.reason

    def test_a_key_that_cannot_be_read_is_told_early(self, check: Check, key: rsa.RSAPrivateKey) -> None:
        """Before anything is connected to."""
        with hostile.silent() as server:
            for credentials in (
                {"private_key": "-----BEGIN PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----"},
                {"private_key": pem(key, "right")},
                {"private_key": pem(key, "right"), "private_key_passphrase": "wrong"},
                {"private_key": pem(ec.generate_private_key(ec.SECP256R1()))},
            ):
                report = check(endpoint=f"http://127.0.0.1:{server.port}", password=None, **credentials)
                assert outcome(report) == ("failed", FailureCode.AUTH_FAILED, "authenticate")
                assert "passphrase" in report.reason
            assert server.connections == 0

    def test_a_key_that_was_cut_off_is_refused_when_it_is_stored(self, key: rsa.RSAPrivateKey) -> None:
        user = {"account_identifier": "acme", "user_login_name": "ann"}
        for text in (pem(key), pem(key, "pass phrase"), pem(key, form=PrivateFormat.TraditionalOpenSSL)):
            lines = text.splitlines()
            [problem] = problems(**user, private_key="\n".join(lines[:8] + lines[-1:]))
            assert problem["loc"] == ["private_key"]
            assert parse_secrets(SnowflakeSecrets, user | {"private_key": text})

    def test_a_key_made_to_take_hours_is_stored_at_once(self) -> None:
        """Whoever stores it opens nothing."""
        started = time.process_time()
        parse_secrets(SnowflakeSecrets, {"account_identifier": "a", "user_login_name": "b", "private_key": SLOW_KEY})
        assert time.process_time() - started < 0.5

    def test_a_key_made_to_take_hours_ends_at_the_deadline(self, check: Check) -> None:
        report = check(deadline=2, password=None, private_key=SLOW_KEY, private_key_passphrase="any")
        assert (report.status, report.code) == ("failed", FailureCode.TIMEOUT)
        assert report.elapsed_ms < 4000

    @pytest.mark.parametrize(
        "payload",
        [
            {"account_identifier": "acme", "user_login_name": "ann", "warehouse_name": "wh"},
            PARTS | {"private_key": "-----BEGIN PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----"},
            {"url": "snowflake://ann@acme/app"},
            {
                "url": "snowflake://ann:pw@acme/app",
                "private_key": "-----BEGIN PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----",
            },
        ],
    )
    def test_exactly_one_of_password_and_key_must_be_given(self, payload: dict[str, Any]) -> None:
        message = "Must be supplied exactly one of: password, private_key"
        assert problems(**payload) == [{"loc": ["password"], "msg": message, "type": "exactly_one"}]
        schema = secret_json_schema(SnowflakeSecrets, "snowflake", "Snowflake")
        if "url" not in payload:  # of a url, the schema says the scheme only
            assert not jsonschema_rs.is_valid(schema, payload)


# An encrypted PKCS#8 key of three bytes, whose PBKDF2 (RFC 8018 §5.2) asks for 2^31 - 1 rounds.
SLOW_KEY = (
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MGUwXwYJKoZIhvcNAQUNMFIwMQYJKoZIhvcNAQUMMCQEEAAAAAAAAAAAAAAAAAAAAAACBH////8wCgYIKoZIhvcN\n"
    "AgkwHQYJYIZIAWUDBAEqBBAAAAAAAAAAAAAAAAAAAAAABAIAAA==\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n"
)


def test_awkward_passwords_log_in_exactly(check_all: CheckAll, snowflake: SnowflakeServer) -> None:
    for number, password in enumerate(AWKWARD_PASSWORDS):
        snowflake.create_user(f"AWKWARD_{number}", password)
    users = [PARTS | {"user_login_name": f"awkward_{number}"} for number in range(len(AWKWARD_PASSWORDS))]
    users = [user | {"account_identifier": "acme", "warehouse_name": "compute_wh"} for user in users]
    reports = check_all([user | {"password": text} for user, text in zip(users, AWKWARD_PASSWORDS, strict=True)])
    refused = [text for text, report in zip(AWKWARD_PASSWORDS, reports, strict=True) if report.status != "succeeded"]
    assert not refused
    close = check_all(
        [user | {"password": text + " "} for user, text in zip(users, AWKWARD_PASSWORDS, strict=True)][:3]
    )
    assert {report.code for report in close} == {FailureCode.AUTH_FAILED}


@pytest.mark.parametrize(
    "account",
    [
        "127.0.0.1:8080/x?",
        "evil.example#",
        "evil.example/",
        "a@b",
        "a b",
        "a\\b",
        "a..b",
        ".a",
        "a.",
        "a%2eb",
        "[::1]",
        "",
        "é",
        "a\u0000b",
        "a" * 201,
    ],
)
def test_an_account_cannot_lead_elsewhere(account: str) -> None:
    assert {tuple(problem["loc"]) for problem in problems(**PARTS | {"account_identifier": account})} == {
        ("account_identifier",)
    }


@pytest.mark.parametrize(
    "more",
    [
        {"host": "127.0.0.1", "port": 8080, "protocol": "http"},
        {"authenticator": "https://x.okta.com"},
        {"private_key_file": "/etc/shadow"},
        {"connection_name": "prod"},
        {"ocsp_response_cache_filename": "/srv/app/main.py"},
        {"snowflake_endpoint": "http://127.0.0.1:8080"},
        {"session_parameters": {"A": "b"}},
    ],
)
def test_options_of_the_driver_are_no_fields(more: dict[str, Any]) -> None:
    assert {problem["type"] for problem in problems(**PARTS, **more)} == {"extra_forbidden"}


@pytest.mark.parametrize(
    "url",
    [
        "snowflake://ann:pw@acme/app?authenticator=externalbrowser",
        "snowflake://ann:pw@acme/app?host=127.0.0.1",
        "snowflake://ann:pw@acme:8080/app",
        "snowflake://ann:pw@acme/app/public/more",
        "snowflake://ann:pw@127.0.0.1:8080%2f/app",
        "snowflake://ann:p@ss@acme/app",
        "snowflake://ann:pw@acme/app?role=a&role=b",
        "https://ann:pw@acme/app",
        "snowflake://:pw@acme/app",
    ],
)
def test_a_url_holds_nothing_but_the_parts(url: str) -> None:
    assert {problem["type"] for problem in problems(url=url)} <= {"url_invalid"}


@pytest.mark.parametrize(
    ("account", "host"),
    [
        ("myorg-account", "myorg-account.snowflakecomputing.com"),
        ("myorg-my_account", "myorg-my-account.snowflakecomputing.com"),
        ("xy12345.eu-central-1.aws", "xy12345.eu-central-1.aws.snowflakecomputing.com"),
        ("xy12345.cn-northwest-1.aws", "xy12345.cn-northwest-1.aws.snowflakecomputing.cn"),
    ],
)
def test_an_account_has_its_host_at_snowflake(account: str, host: str) -> None:
    assert connectory_snowflake._server(account, None) == ("https", host, 443)


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
some_parts = st.fixed_dictionaries(
    {
        "account_identifier": st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{1,10}){0,2}", fullmatch=True),
        "user_login_name": words,
        "password": words,
    },
    optional={"database_name": words, "warehouse_name": words, "role_name": words},
).flatmap(
    lambda parts: (
        st.just(parts) if "database_name" not in parts else words.map(lambda name: parts | {"schema_name": name})
    )
)


@settings(max_examples=200)
@given(some_parts)
def test_the_url_of_some_parts_gives_the_same_parts(parts: dict[str, Any]) -> None:
    url = SnowflakeSecrets.connectory_url.render(parts)
    given_parts = parse_secrets(SnowflakeSecrets, {"url": url}).model_dump(exclude_none=True)
    assert given_parts.pop("password").get_secret_value() == parts["password"]
    assert given_parts == {name: value for name, value in parts.items() if name != "password"}


@settings(max_examples=400)
@given(some_parts, st.data())
def test_a_mutated_url_is_refused_or_holds_vetted_parts(parts: dict[str, Any], data: st.DataObject) -> None:
    """It gives only parts that could have been sent as parts."""
    url = SnowflakeSecrets.connectory_url.render(parts)
    at = data.draw(st.integers(0, len(url)))
    more = data.draw(
        st.sampled_from(["", "@", "/", ":", "?", "#", "&", "%", "%00", "\0", " ", "\\", "=", "é", "//", ".."])
    )
    url = url[:at] + more + url[at + data.draw(st.integers(0, 2)) :]
    try:
        found = parse_secrets(SnowflakeSecrets, {"url": url})
    except SecretsInvalid:
        return
    dumped = found.model_dump(exclude_none=True) | {"password": found.password.get_secret_value()}
    assert parse_secrets(SnowflakeSecrets, dumped)
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", found.account_identifier)


class TestTls:
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, snowflake: SnowflakeServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        with TlsFront(snowflake, certificates.server) as front:
            for host in ("localhost", "127.0.0.1"):
                report = check(endpoint=f"https://{host}:{front.port}")
                assert outcome(report) == ("succeeded", None, "")
                assert protection(report) == ("passed", True, True)

    def test_the_driver_verifies_too(
        self, check: Check, snowflake: SnowflakeServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A far end that shows its right certificate first and another one to the driver gets no password."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        contexts = [certificates.server.server_context(), certificates.untrusted.server_context()]

        def change(peer: Peer) -> None:
            peer.start_tls(contexts.pop(0) if len(contexts) > 1 else contexts[0])
            peer.drain()

        with LoopbackServer(change) as server:
            report = check(endpoint=f"https://127.0.0.1:{server.port}", deadline=8)
            assert report.status == "failed"
            assert server.connections == 2
            assert b"p@ss" not in server.received

    @pytest.mark.parametrize("kind", ["untrusted", "wrong_host"])
    def test_a_certificate_that_is_not_snowflakes_is_refused(
        self,
        check: Check,
        snowflake: SnowflakeServer,
        certificates: Certificates,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
    ) -> None:
        """Before the login."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
        with TlsFront(snowflake, getattr(certificates, kind)) as front:
            report = check(endpoint=f"https://127.0.0.1:{front.port}")
            assert outcome(report) == ("failed", FailureCode.TLS_UNTRUSTED, "tls")
            assert b"POST" not in front.received

    def test_a_server_without_tls_gets_no_login(self, check: Check) -> None:
        with hostile.speaks_http() as server:
            report = check(endpoint=f"https://127.0.0.1:{server.port}")
            assert outcome(report) in {
                ("failed", code, "tls") for code in (FailureCode.TLS_FAILED, FailureCode.PROTOCOL_MISMATCH)
            }
            assert b"POST" not in server.received


class TestFarEnds:
    def test_an_ipv6_literal_connects(self, check: Check, snowflake: SnowflakeServer) -> None:
        with TlsFront(snowflake) as front:
            assert outcome(check(endpoint=f"http://[::1]:{front.port}")) == ("succeeded", None, "")

    def test_only_a_login_a_query_and_a_logout_are_sent(self, check: Check, snowflake: SnowflakeServer) -> None:
        """No telemetry, no configuration, and nothing about the machine that the cloud would have to be asked for."""
        with TlsFront(snowflake) as front:
            assert check(endpoint=f"http://127.0.0.1:{front.port}").status == "succeeded"
            paths = re.findall(rb"(?:GET|POST|PUT|HEAD) (/[^ ?]*)", front.received)
            assert paths == [b"/session/v1/login-request", b"/queries/v1/query-request", b"/session"]
            assert b'"PLATFORM"' not in front.received

    def test_another_protocol_is_told_apart(self, check: Check) -> None:
        with hostile.speaks_ssh() as server:
            report = check(endpoint=f"http://127.0.0.1:{server.port}", deadline=8)
        assert outcome(report) == ("failed", FailureCode.PROTOCOL_MISMATCH, "authenticate")

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (302, FailureCode.UNEXPECTED_REDIRECT),
            (307, FailureCode.UNEXPECTED_REDIRECT),
            (400, FailureCode.HTTP_4XX),
            (403, FailureCode.HTTP_4XX),
            (429, FailureCode.RATE_LIMITED),
            (503, FailureCode.HTTP_5XX),
        ],
    )
    def test_an_answer_that_is_not_snowflakes_is_told_by_its_status(
        self, check: Check, status: int, code: FailureCode
    ) -> None:
        """And a redirect is not followed, with or without the password."""
        with hostile.silent() as elsewhere, answering(status, f"http://127.0.0.1:{elsewhere.port}/") as server:
            report = check(endpoint=server.url)
            assert outcome(report) == ("failed", code, "authenticate")
            assert report.retry_after == (17 if code is FailureCode.RATE_LIMITED else None)
            assert elsewhere.connections == 0
        assert [b"p@ss" in body for body in server.bodies] == [True, False]

    def test_an_error_of_the_query_is_a_failed_query(self, check: Check) -> None:
        with answering(200, "", login_succeeds=True) as server:
            report = check(endpoint=server.url)
        assert outcome(report) == ("failed", FailureCode.QUERY_FAILED, "query")


SESSION = {
    "token": "t",
    "masterToken": "m",
    "validityInSeconds": 60,
    "masterValidityInSeconds": 60,
    "displayUserName": "ANN",
    "serverVersion": "9",
    "sessionId": 1,
    "healthCheckInterval": 45,
    "firstLogin": False,
    "parameters": [],
    "sessionInfo": {"databaseName": None, "schemaName": None, "warehouseName": None, "roleName": "PUBLIC"},
}


class WebServer(http.server.ThreadingHTTPServer):
    """Where it listens, and the bodies it received."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.host, self.port = "127.0.0.1", self.server_port
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.bodies: list[bytes] = []


@contextmanager
def answering(status: int, location: str, *, login_succeeds: bool = False) -> Iterator[WebServer]:
    """A web server that gives every request this status and location."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            answer: dict[str, Any] = {"success": False, "code": "000603", "message": "m", "data": {"sqlState": "XX000"}}
            if login_succeeds and "login" in self.path:
                answer = {"success": True, "code": None, "message": None, "data": SESSION}
            content = json.dumps(answer).encode() if status == 200 else b""
            self.send_response(status)
            self.send_header("Location", location)
            self.send_header("Retry-After", "17")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = WebServer(Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_endpoint_is_the_deployers_alone() -> None:
    assert SnowflakeSettings().snowflake_endpoint is None
    assert "endpoint" not in json.dumps(secret_json_schema(SnowflakeSecrets, "snowflake", "Snowflake"))


@pytest.mark.parametrize("content", ["raise ImportError(name='snowflake')", "raise RuntimeError('no native library')"])
def test_a_driver_that_does_not_load_says_what_to_install(
    check: Check, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snowflake").mkdir()
    (tmp_path / "snowflake" / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    report = check(deadline=9)
    assert outcome(report) == ("failed", FailureCode.DRIVER_MISSING, "authenticate")
    assert "pip install" in report.reason
    assert "connectory-snowflake" in report.reason
