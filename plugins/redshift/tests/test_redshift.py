"""What is special to Redshift: the specification's url, verified TLS, IPv6 in spite of the driver, its ways of logging in."""

import secrets as random
from collections.abc import Callable
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import Certificates, SecretsInvalid, Workbench, parse_secrets, step_statuses
from connectory_redshift import RedshiftSecrets
from servers.postgres.tls import PostgresTlsFront
from servers.redshift import hostile as redshift_hostile
from servers.redshift.server import RedshiftServer, startup_for_postgres
from testkit import hostile
from testkit.checking import Check, check_of, protection
from testkit.loopback import LoopbackServer
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.url_properties import UrlProperties

Account = Callable[..., dict[str, Any]]
PASSWORD = "marker-1f0c"


def at(server: Any, **more: Any) -> dict[str, Any]:
    secrets = {"host": server.host, "port": server.port, "user": "reader", "password": PASSWORD, "database": "dev"}
    return secrets | {"ssl_mode": "preferred"} | more


class TestUrl(UrlProperties):
    model = RedshiftSecrets


def test_the_specifications_payload_is_accepted() -> None:
    payload = {
        "url": "redshift+psycopg2://username@host.amazonaws.com:5439/database",
        "db_schema": "my_test_schema",
    }
    secrets = parse_secrets(RedshiftSecrets, payload)
    assert (secrets.user, secrets.host, secrets.port) == ("username", "host.amazonaws.com", 5439)
    assert (secrets.database, secrets.db_schema, secrets.ssl_mode) == ("database", "my_test_schema", "verify-full")


def test_the_parts_need_a_password_although_a_url_does_not() -> None:
    with pytest.raises(SecretsInvalid, match="password"):
        parse_secrets(RedshiftSecrets, {"host": "h", "user": "u", "database": "d"})


@pytest.mark.parametrize(
    "more",
    [
        {"credentials_provider": "os.system"},
        {"iam": True, "profile": "prod"},
        {"ssl_ca": "/etc/passwd"},
        {"unix_sock": "/tmp/x"},
        {"endpoint_url": "http://127.0.0.1"},
        {"host": "h/dev?iam=true"},
    ],
)
def test_options_of_the_driver_are_no_fields(more: dict[str, Any]) -> None:
    with pytest.raises(SecretsInvalid):
        parse_secrets(RedshiftSecrets, {"host": "h", "user": "u", "password": "p", "database": "d"} | more)


def test_a_good_connection_passes_every_step(check: Check, account: Account) -> None:
    report = check(**account())
    assert report.status == "succeeded"
    assert [step.name for step in report.steps] == ["resolve", "connect", "tls", "authenticate", "query"]


def test_a_url_connects_like_the_parts(check: Check, account: Account, certificates: Certificates) -> None:
    mine = account("p@ss")
    for scheme in ("redshift+psycopg2", "redshift", "redshift+redshift_connector"):
        url = f"{scheme}://{mine['user']}:p%40ss@localhost:{mine['port']}/postgres"
        assert check(url=url, db_schema="public", ssl_ca=certificates.ca_pem).status == "succeeded"
        assert check(url=f"{url}?sslmode=require").status == "succeeded"


def test_a_url_without_a_password_is_told_that_one_is_needed(
    check: Check, account: Account, certificates: Certificates
) -> None:
    mine = account()
    report = check(url=f"redshift://{mine['user']}@localhost:{mine['port']}/postgres", ssl_ca=certificates.ca_pem)
    assert report.code == FailureCode.AUTH_FAILED
    assert "set password" in report.reason


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, account: Account) -> None:
    mine = account()
    wrong_user, wrong_password = check(**mine | {"user": "ghost"}), check(**mine | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason
    assert step_statuses(wrong_user)["authenticate"] == "failed"


def test_a_database_that_may_not_be_opened_is_no_missing_database(
    check: Check, redshift: RedshiftServer, account: Account
) -> None:
    name = f"closed_{random.token_hex(4)}"
    redshift.create_database(name)
    redshift.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    assert check(**account() | {"database": name}).code == FailureCode.PERMISSION_DENIED
    assert check(**account() | {"database": "nowhere"}).code == FailureCode.DATABASE_NOT_FOUND


def test_a_schema_that_may_not_be_used_is_no_missing_schema(
    check: Check, redshift: RedshiftServer, account: Account
) -> None:
    schema = f"closed_{random.token_hex(4)}"
    redshift.execute(f"CREATE SCHEMA {schema}")
    mine = account()
    report = check(**mine, db_schema=schema)
    assert report.code == FailureCode.PERMISSION_DENIED
    assert step_statuses(report)["query"] == "failed"
    redshift.execute(f"GRANT USAGE ON SCHEMA {schema} TO {mine['user']}")
    for spelling in (schema, schema.upper()):  # Redshift folds names, quoted ones too
        assert check(**mine, db_schema=spelling).status == "succeeded"
    assert check(**mine, db_schema="x'; DROP SCHEMA public; --").code == FailureCode.SCHEMA_NOT_FOUND


@pytest.mark.parametrize("mode", ["disabled", "preferred", "verify-full"])
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_literal_connects(check: Check, account: Account, host: str, mode: str) -> None:
    """Although the driver knows IPv4 only."""
    assert check(**account() | {"host": host}, ssl_mode=mode).status == "succeeded"


@pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
def test_awkward_passwords_log_in_exactly(check: Check, account: Account, number: int) -> None:
    password = AWKWARD_PASSWORDS[number]
    mine = account(password)
    assert check(**mine).status == "succeeded"
    assert check(**mine | {"password": password + "!"}).code == FailureCode.AUTH_FAILED


class TestTls:
    def test_it_is_verified_unless_asked_otherwise(
        self, check: Check, redshift: RedshiftServer, account: Account, certificates: Certificates
    ) -> None:
        mine = account()
        without_ca = {name: value for name, value in mine.items() if name != "ssl_ca"}
        for untrusted in (without_ca, mine | {"ssl_ca": certificates.other_ca_pem}):
            seen = len(redshift.front.startups)
            report = check(**untrusted)
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert step_statuses(report)["tls"] == "failed"
            assert len(redshift.front.startups) == seen  # nobody tried to log in

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_machines_own_authorities_are_trusted(
        self, check: Check, account: Account, trusting_machine: None, mode: str
    ) -> None:
        assert check(**account() | {"ssl_ca": None, "ssl_mode": mode}).status == "succeeded"

    def test_it_is_reported_as_skipped_where_it_is_not_used(
        self, check: Check, redshift: RedshiftServer, account: Account
    ) -> None:
        report = check(**account(), ssl_mode="disabled")
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)
        assert not redshift.front.startups[-1].encrypted

    @pytest.mark.parametrize("mode", ["preferred", "required", "verify-ca", "verify-full"])
    def test_every_other_mode_uses_it(
        self, check: Check, redshift: RedshiftServer, account: Account, mode: str
    ) -> None:
        report = check(**account(), ssl_mode=mode)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, mode.startswith("verify"))
        assert redshift.front.startups[-1].encrypted

    def test_a_server_that_offers_none_is_reported_as_plain(
        self, check: Check, redshift: RedshiftServer, account: Account
    ) -> None:
        with PostgresTlsFront(redshift.backend, mode="not offered", rewrite=startup_for_postgres) as front:
            report = check(**account() | {"port": front.port}, ssl_mode="preferred")
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)

    def test_a_certificate_for_another_name_passes_verify_ca_only(
        self, check: Check, redshift: RedshiftServer, account: Account, certificates: Certificates
    ) -> None:
        front = PostgresTlsFront(redshift.backend, certificates.wrong_host, rewrite=startup_for_postgres)
        with front:
            mine = account() | {"port": front.port}
            assert check(**mine, ssl_mode="verify-ca").status == "succeeded"
            assert check(**mine).code == FailureCode.TLS_UNTRUSTED

    def test_a_server_that_offers_none_gets_no_login(self, check: Check) -> None:
        with redshift_hostile.answers_query(b"1") as server:
            for mode in ("required", "verify-ca", "verify-full"):
                report = check(**at(server, ssl_mode=mode))
                assert report.code == FailureCode.TLS_FAILED
                assert step_statuses(report)["tls"] == "failed"
            assert b"reader" not in server.received

    def test_a_server_that_requires_it_refuses_a_plain_login(
        self, check: Check, redshift: RedshiftServer, account: Account, certificates: Certificates
    ) -> None:
        front = PostgresTlsFront(redshift.backend, certificates.server, mode="required", rewrite=startup_for_postgres)
        with front:
            mine = account() | {"port": front.port}
            assert check(**mine).status == "succeeded"
            assert check(**mine, ssl_mode="disabled").code == FailureCode.AUTH_FAILED


class TestLogin:
    def test_a_password_is_not_sent_in_clear(self, check: Check) -> None:
        for mode in ("preferred", "disabled"):
            with hostile.postgres_reflects_the_password() as server:
                assert check(**at(server, ssl_mode=mode)).code == FailureCode.INSECURE_AUTH_REFUSED
                assert PASSWORD.encode() not in server.received

    @pytest.mark.parametrize("mode", ["preferred", "required"])
    def test_a_password_is_not_sent_in_clear_to_whoever_answers_with_a_certificate(
        self, check: Check, lenient_workbench: Workbench, certificates: Certificates, mode: str
    ) -> None:
        """Unless the deployer allows it."""
        with hostile.postgres_reflects_the_password(certificates.untrusted) as server:
            report = check(**at(server, ssl_mode=mode))
            assert PASSWORD.encode() not in server.received
            assert report.code == FailureCode.INSECURE_AUTH_REFUSED
            assert "set ssl_mode to verify-full" in report.reason
            lenient = check_of(lenient_workbench, "redshift", "connectory-redshift")
            assert lenient(**at(server, ssl_mode=mode)).code == FailureCode.AUTH_FAILED
            assert PASSWORD.encode() in server.received

    def test_a_password_sent_through_verified_tls_and_reflected_is_not_shown(
        self, check: Check, certificates: Certificates
    ) -> None:
        with hostile.postgres_reflects_the_password(certificates.server) as server:
            report = check(**at(server, host="localhost", ssl_mode="verify-full", ssl_ca=certificates.ca_pem))
            assert PASSWORD.encode() in server.received  # the login is as the server wants it
            assert report.code == FailureCode.AUTH_FAILED
            assert PASSWORD not in repr(report)

    def test_a_login_through_an_identity_provider_says_so(self, check: Check) -> None:
        with redshift_hostile.asks_for_login(14) as server:
            report = check(**at(server))
        assert report.code == FailureCode.AUTH_FAILED
        assert "identity provider" in report.reason

    @pytest.mark.parametrize("method", [2, 6, 7, 9, 10, 99])
    def test_a_method_that_redshift_does_not_have_is_another_server(self, check: Check, method: int) -> None:
        with redshift_hostile.asks_for_login(method, b"SCRAM-SHA-256\0\0") as server:
            assert check(**at(server)).code == FailureCode.PROTOCOL_MISMATCH

    def test_the_services_own_aws_account_is_not_used(
        self, check: Check, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            monkeypatch.setenv(name, "marker-environment")
        assert check(**account()).status == "succeeded"
        with redshift_hostile.asks_for_login(14) as server:
            check(**at(server))
            assert b"marker-environment" not in server.received


class TestHostileServers:
    def test_an_answer_is_never_run_as_code(self, check: Check) -> None:
        with LoopbackServer(lambda peer: peer.drain(), name="canary") as canary:
            code = f"__import__('socket').create_connection(('127.0.0.1', {canary.port}))"
            with redshift_hostile.answers_query(code.encode(), kind=redshift_hostile.INT2VECTOR) as server:
                report = check(**at(server))
            assert report.code == FailureCode.PROTOCOL_MISMATCH
            assert not canary.connections

    def test_more_rows_than_were_asked_for_are_no_answer(self, check: Check) -> None:
        with redshift_hostile.floods_the_answer(10 * 1024**2) as server:
            assert check(**at(server)).code == FailureCode.QUERY_FAILED

    @pytest.mark.parametrize("far_end", [hostile.speaks_http, hostile.speaks_ssh, hostile.closes_at_once])
    def test_another_protocol_is_told_apart(self, check: Check, far_end: Callable[[], LoopbackServer]) -> None:
        with far_end() as server:
            report = check(**at(server))
            assert report.code == FailureCode.PROTOCOL_MISMATCH
            assert PASSWORD.encode() not in server.received

    @pytest.mark.parametrize(
        "reply",
        [b"", b"R", b"Q\0\0\0\4", b"R\0\0\0\4", b"E\0\0\0\5\0", b"T\0\0\0\6\0\1", b"D\0\0\0\6\0\1", b"S\0\0\0\5x"],
    )
    def test_a_malformed_login_is_a_failed_test(self, check: Check, reply: bytes) -> None:
        with redshift_hostile.malformed(reply) as server:
            assert check(**at(server)).code == FailureCode.PROTOCOL_MISMATCH

    @pytest.mark.parametrize(
        ("sqlstate", "code"),
        [
            ("28000", FailureCode.AUTH_FAILED),
            ("28P01", FailureCode.AUTH_FAILED),
            ("3D000", FailureCode.DATABASE_NOT_FOUND),
            ("42501", FailureCode.PERMISSION_DENIED),
            ("53300", FailureCode.RATE_LIMITED),
            ("XX000", FailureCode.QUERY_FAILED),
        ],
    )
    def test_a_refusal_is_read_from_its_sqlstate_alone(self, check: Check, sqlstate: str, code: FailureCode) -> None:
        with hostile.postgres_rejects(sqlstate, "password authentication failed: marker-77aa") as server:
            report = check(**at(server))
        assert report.code == code
        assert "marker-77aa" not in repr(report)
