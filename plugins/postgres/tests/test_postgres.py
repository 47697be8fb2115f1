"""What is special to PostgreSQL: TLS, cleartext logins, schemas, the server's own libpq defaults, awkward passwords."""

import os
import secrets as random
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import Certificates, SecretsInvalid, Workbench, parse_secrets
from connectory_postgres import PostgresSecrets
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit import hostile
from testkit.checking import Check, check_of, protection
from testkit.loopback import LoopbackServer
from testkit.passwords import AWKWARD_PASSWORDS


@pytest.fixture
def good(postgres: PostgresServer) -> dict[str, Any]:
    return {
        "host": postgres.host,
        "port": postgres.port,
        "username": postgres.superuser,
        "password": postgres.password,
        "dbname": "postgres",
    }


@pytest.fixture
def role(postgres: PostgresServer) -> Iterator[tuple[str, str]]:
    """A role of no special rights, and its password."""
    name, password = f"role_{random.token_hex(4)}", random.token_urlsafe(8)
    postgres.create_role(name, password)
    yield name, password
    postgres.execute(f"DROP OWNED BY {name}")
    postgres.execute(f"DROP ROLE {name}")


def at(server: LoopbackServer, **more: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "username": "reader", "password": "marker-1f0c"} | more


def test_a_good_connection_passes_every_step(check: Check, good: dict[str, Any]) -> None:
    report = check(**good)
    assert report.status == "succeeded"
    assert [step.name for step in report.steps] == ["resolve", "connect", "tls", "authenticate", "query"]


def test_the_url_connects_like_the_parts(check: Check, postgres: PostgresServer) -> None:
    url = f"postgresql://{postgres.superuser}:{postgres.password}@{postgres.host}:{postgres.port}/postgres?sslmode=disable"
    assert check(url=url, db_schema="public").status == "succeeded"


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, good: dict[str, Any]) -> None:
    wrong_user, wrong_password = check(**good | {"username": "ghost"}), check(**good | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason


def test_a_missing_user_name_says_so(check: Check, postgres: PostgresServer) -> None:
    report = check(host=postgres.host, port=postgres.port)
    assert report.code == FailureCode.AUTH_FAILED
    assert report.reason is not None
    assert "set username" in report.reason


def test_a_database_that_may_not_be_opened_is_no_missing_database(
    check: Check, postgres: PostgresServer, good: dict[str, Any], role: tuple[str, str]
) -> None:
    name = f"closed_{random.token_hex(4)}"
    postgres.create_database(name)
    postgres.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    report = check(**good | {"username": role[0], "password": role[1], "dbname": name})
    assert report.code == FailureCode.PERMISSION_DENIED
    assert report.steps[-1].name == "authenticate"


def test_a_schema_that_may_not_be_used_is_no_missing_schema(
    check: Check, postgres: PostgresServer, good: dict[str, Any], role: tuple[str, str]
) -> None:
    schema = f"closed_{random.token_hex(4)}"
    postgres.execute(f"CREATE SCHEMA {schema}")
    report = check(**good | {"username": role[0], "password": role[1], "db_schema": schema})
    assert report.code == FailureCode.PERMISSION_DENIED
    assert check(**good, db_schema=schema).status == "succeeded"


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_literal_connects(check: Check, good: dict[str, Any], host: str) -> None:
    assert check(**good | {"host": host}).status == "succeeded"


@pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
def test_awkward_passwords_log_in_exactly(
    check: Check, postgres: PostgresServer, good: dict[str, Any], number: int
) -> None:
    name, password = f"awkward_{number}", AWKWARD_PASSWORDS[number]
    postgres.create_role(name, password)
    mine = good | {"username": name, "password": password}
    assert check(**mine).status == "succeeded"
    assert check(**mine | {"password": password + "!"}).code == FailureCode.AUTH_FAILED


class TestTls:
    @pytest.fixture
    def behind_tls(self, good: dict[str, Any], postgres_tls: PostgresTlsFront) -> dict[str, Any]:
        return good | {"host": "localhost", "port": postgres_tls.port}

    def test_it_is_used_where_it_is_offered(self, check: Check, behind_tls: dict[str, Any]) -> None:
        report = check(**behind_tls)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, False)

    @pytest.mark.parametrize(("mode", "reason"), [("preferred", "not_offered"), ("disabled", "not_requested")])
    def test_it_is_reported_as_skipped_where_it_is_not_used(
        self, check: Check, good: dict[str, Any], mode: str, reason: str
    ) -> None:
        report = check(**good | {"ssl_mode": mode})
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)
        assert [step.reason for step in report.steps if step.name == "tls"] == [reason]

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, behind_tls: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        report = check(**behind_tls, ssl_mode=mode, ssl_ca=certificates.ca_pem)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, True)

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_certificate_of_another_authority_is_refused(
        self, check: Check, behind_tls: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        """Before the login."""
        for more in ({"ssl_ca": certificates.other_ca_pem}, {}):  # without a CA the machine's own are trusted
            report = check(**behind_tls, ssl_mode=mode, **more)
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert protection(report) == ("failed", None, None)

    def test_a_certificate_for_another_name_passes_verify_ca_only(
        self, check: Check, good: dict[str, Any], postgres: PostgresServer, certificates: Certificates
    ) -> None:
        with PostgresTlsFront(postgres, certificates.wrong_host, mode="required") as front:
            mine = good | {"host": "localhost", "port": front.port, "ssl_ca": certificates.ca_pem}
            assert check(**mine, ssl_mode="verify-ca").status == "succeeded"
            assert check(**mine, ssl_mode="verify-full").code == FailureCode.TLS_UNTRUSTED

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_machines_own_authorities_are_trusted(
        self, check: Check, behind_tls: dict[str, Any], trusting_machine: None, mode: str
    ) -> None:
        assert check(**behind_tls, ssl_mode=mode).status == "succeeded"

    def test_text_that_only_looks_like_a_certificate_is_refused_when_it_is_stored(self) -> None:
        broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        with pytest.raises(SecretsInvalid, match="ssl_ca: Must be one or more PEM certificates"):
            parse_secrets(PostgresSecrets, {"host": "h", "ssl_ca": broken})

    def test_a_bundle_with_comments_is_trusted(
        self, check: Check, behind_tls: dict[str, Any], certificates: Certificates
    ) -> None:
        bundle = f"# Főtanúsítvány\n{certificates.other_ca_pem}\n# Ours\n{certificates.ca_pem}"
        assert check(**behind_tls, ssl_mode="verify-full", ssl_ca=bundle).status == "succeeded"

    def test_a_server_that_requires_it_refuses_a_plain_login(self, check: Check, behind_tls: dict[str, Any]) -> None:
        report = check(**behind_tls, ssl_mode="disabled")
        assert report.code == FailureCode.AUTH_FAILED
        assert report.reason is not None
        assert "pg_hba.conf" in report.reason


class TestHostileServers:
    def test_a_password_is_not_sent_in_clear(self, check: Check) -> None:
        for mode in ("preferred", "disabled"):
            with hostile.postgres_reflects_the_password() as server:
                assert check(**at(server), ssl_mode=mode).code == FailureCode.INSECURE_AUTH_REFUSED
                assert b"marker-1f0c" not in server.received

    @pytest.mark.parametrize("mode", ["preferred", "required"])
    def test_a_password_is_not_sent_in_clear_to_whoever_answers_with_a_certificate(
        self, check: Check, certificates: Certificates, mode: str
    ) -> None:
        with hostile.postgres_reflects_the_password(certificates.untrusted) as server:
            report = check(**at(server), ssl_mode=mode)
            assert b"marker-1f0c" not in server.received
        assert report.code == FailureCode.INSECURE_AUTH_REFUSED
        assert "set ssl_mode to verify-full" in report.reason
        assert protection(report) == ("passed", True, False)

    def test_it_is_where_the_deployer_allows_that(
        self, lenient_workbench: Workbench, certificates: Certificates
    ) -> None:
        check = check_of(lenient_workbench, "postgres", "connectory-postgres")
        with hostile.postgres_reflects_the_password(certificates.untrusted) as server:
            report = check(**at(server))
            assert b"marker-1f0c" in server.received
        assert (report.code, protection(report)) == (FailureCode.AUTH_FAILED, ("passed", True, False))
        with hostile.postgres_reflects_the_password() as server:
            assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED  # there is no TLS at all
            assert b"marker-1f0c" not in server.received

    def test_a_password_sent_through_verified_tls_and_reflected_is_not_shown(
        self, check: Check, certificates: Certificates
    ) -> None:
        with hostile.postgres_reflects_the_password(certificates.server) as server:
            report = check(**at(server, host="localhost", ssl_mode="verify-full", ssl_ca=certificates.ca_pem))
            assert b"marker-1f0c" in server.received  # the login is as the server wants it
            assert report.code == FailureCode.AUTH_FAILED
            assert "marker-1f0c" not in repr(report)

    def test_a_hash_of_the_password_is_sent_without_tls_and_the_report_says_so(self, check: Check) -> None:
        """md5, which servers on private networks still ask for."""
        with hostile.postgres_asks_for_md5(b"salt") as server:
            report = check(**at(server))
            received = server.received
        assert (report.code, protection(report)) == (FailureCode.AUTH_FAILED, ("skipped", False, False))
        assert b"marker-1f0c" not in received
        inner = md5(b"marker-1f0creader").hexdigest()
        assert md5(inner.encode() + b"salt").hexdigest().encode() in received

    @pytest.mark.parametrize("far_end", [hostile.speaks_http, hostile.speaks_ssh, hostile.closes_at_once])
    def test_another_protocol_is_told_apart(self, check: Check, far_end: Callable[[], LoopbackServer]) -> None:
        with far_end() as server:
            report = check(**at(server))
            assert report.code == FailureCode.PROTOCOL_MISMATCH
            assert b"marker-1f0c" not in server.received

    @pytest.mark.parametrize(
        ("sqlstate", "code"),
        [
            ("28P01", FailureCode.AUTH_FAILED),
            ("3D000", FailureCode.DATABASE_NOT_FOUND),
            ("42501", FailureCode.PERMISSION_DENIED),
            ("53300", FailureCode.QUERY_FAILED),
            ("XX000", FailureCode.QUERY_FAILED),
        ],
    )
    def test_a_refusal_is_read_from_its_sqlstate_alone(self, check: Check, sqlstate: str, code: FailureCode) -> None:
        with hostile.postgres_rejects(sqlstate, "password authentication failed: marker-77aa") as server:
            report = check(**at(server))
        assert report.code == code
        assert "marker-77aa" not in repr(report)


def test_the_services_own_environment_is_not_used(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "marker-environment")
    monkeypatch.setenv("PGUSER", "marker-environment")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=marker-environment")
    with hostile.postgres_reflects_the_password() as server:
        check(host=server.host, port=server.port, username="reader")
        assert b"marker-environment" not in server.received
    assert os.environ["PGPASSWORD"] == "marker-environment"
