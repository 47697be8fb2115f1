"""What is special to MariaDB: its own engine's answers, its TLS, its accounts. The protocol is tested by connectory-mysql."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory import FailureCode
from connectory.testing import Certificates, step_statuses
from connectory_mariadb import MariaDBSecrets
from servers.mariadb.server import MariaDBServer
from servers.mysql import hostile as mysql_hostile
from testkit.checking import Check, protection
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.url_properties import UrlProperties

Account = Callable[..., dict[str, Any]]


def at(server: Any, **more: Any) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": server.port,
        "username": "reader",
        "password": "marker-1f0c",
        "dbname": "ledger",
    } | more


class TestUrl(UrlProperties):
    model = MariaDBSecrets


def test_a_good_connection_passes_every_step(check: Check, account: Account) -> None:
    report = check(**account())
    assert report.status == "succeeded"
    assert [step.name for step in report.steps] == ["resolve", "connect", "tls", "authenticate", "query"]


@pytest.mark.parametrize("scheme", ["mariadb+pymysql", "mariadb", "mysql+pymysql", "mysql"])
def test_a_url_connects_like_the_parts(check: Check, account: Account, scheme: str) -> None:
    mine = account("p@ss")
    url = f"{scheme}://{mine['username']}:p%40ss@{mine['host']}:{mine['port']}/{mine['dbname']}"
    assert check(url=url).status == "succeeded"


def test_a_user_without_a_password_logs_in(check: Check, account: Account) -> None:
    assert check(**account("")).status == "succeeded"


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, account: Account) -> None:
    mine = account()
    wrong_user, wrong_password = check(**mine | {"username": "ghost"}), check(**mine | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason
    assert step_statuses(wrong_user)["authenticate"] == "failed"


def test_an_unknown_database_is_told_to_those_who_may_know(
    check: Check, mariadb: MariaDBServer, account: Account
) -> None:
    superuser = {"username": mariadb.superuser, "password": mariadb.password}
    for name in ("nowhere", "n" * 300):
        report = check(**account() | superuser | {"dbname": name})
        assert report.code == FailureCode.DATABASE_NOT_FOUND
        assert step_statuses(report)["query"] == "failed"


def test_a_database_without_a_grant_is_permission_denied(check: Check, account: Account) -> None:
    report = check(**account(granted=False))
    assert report.code == FailureCode.PERMISSION_DENIED
    assert "or it does not exist" in report.reason


def test_a_locked_account_says_so(check: Check, mariadb: MariaDBServer, account: Account) -> None:
    mine = account()
    mariadb.execute("ALTER USER %s@'%%' ACCOUNT LOCK", mine["username"])
    report = check(**mine)
    assert report.code == FailureCode.AUTH_FAILED
    assert "locked" in report.reason


def test_an_expired_password_says_so(check: Check, mariadb: MariaDBServer, account: Account) -> None:
    mine = account()
    mariadb.execute("ALTER USER %s@'%%' PASSWORD EXPIRE", mine["username"])
    report = check(**mine)
    assert report.code == FailureCode.AUTH_FAILED
    assert "expired" in report.reason


def test_too_many_sessions_of_a_user_are_no_wrong_password(
    check: Check, mariadb: MariaDBServer, account: Account
) -> None:
    mine = account()
    mariadb.execute("ALTER USER %s@'%%' WITH MAX_CONNECTIONS_PER_HOUR 1", mine["username"])
    assert check(**mine).status == "succeeded"
    assert check(**mine).code == FailureCode.RATE_LIMITED


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_literal_connects(check: Check, account: Account, host: str) -> None:
    assert check(**account() | {"host": host}).status == "succeeded"


@pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
def test_awkward_passwords_log_in_exactly(check: Check, account: Account, number: int) -> None:
    password = AWKWARD_PASSWORDS[number]
    mine = account(password)
    assert check(**mine).status == "succeeded"
    assert check(**mine | {"password": password + "!"}).code == FailureCode.AUTH_FAILED


class TestTls:
    @pytest.fixture
    def with_tls_only(self, certificates: Certificates) -> Iterator[MariaDBServer]:
        """A MariaDB that refuses logins without TLS, with a user and a database of the names that `at` uses."""
        with MariaDBServer(certificate=certificates.server, require_tls=True) as server:
            server.create_database("ledger")
            server.create_user("reader", "marker-1f0c", database="ledger")
            yield server

    def test_it_is_used_where_it_is_offered(self, check: Check, mariadb: MariaDBServer, account: Account) -> None:
        mine = account()
        mariadb.execute("ALTER USER %s@'%%' REQUIRE SSL", mine["username"])
        report = check(**mine)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, False)
        report = check(**mine, ssl_mode="disabled")
        assert report.code == FailureCode.AUTH_FAILED
        assert "requires TLS" in report.reason

    def test_it_is_reported_as_skipped_where_it_is_not_used(self, check: Check, account: Account) -> None:
        report = check(**account(), ssl_mode="disabled")
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)

    @pytest.mark.parametrize("mode", ["required", "verify-ca", "verify-full"])
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, account: Account, certificates: Certificates, mode: str
    ) -> None:
        mine = account() | {"host": "localhost", "ssl_mode": mode, "ssl_ca": certificates.ca_pem}
        report = check(**mine)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, mode != "required")

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_certificate_of_another_authority_is_refused(
        self, check: Check, account: Account, certificates: Certificates, mode: str
    ) -> None:
        """Before the login."""
        for more in ({"ssl_ca": certificates.other_ca_pem}, {}):  # without a CA the machine's own are trusted
            report = check(**account(), ssl_mode=mode, **more)
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert step_statuses(report)["tls"] == "failed"

    def test_a_server_that_offers_none_gets_no_login(self, check: Check) -> None:
        with mysql_hostile.chooses_login("mysql_native_password") as server:
            assert check(**at(server), ssl_mode="required").code == FailureCode.TLS_FAILED
            assert b"reader" not in server.received
            report = check(**at(server))  # `preferred`
            assert report.status == "succeeded"
            assert protection(report) == ("skipped", False, False)

    def test_a_server_that_requires_it_refuses_a_plain_login(self, check: Check, with_tls_only: MariaDBServer) -> None:
        assert check(**at(with_tls_only)).status == "succeeded"
        report = check(**at(with_tls_only), ssl_mode="disabled")
        assert report.code == FailureCode.AUTH_FAILED
        assert "requires TLS" in report.reason


class TestHostileServers:
    @pytest.mark.parametrize("method", ["mysql_clear_password", "dialog"])
    def test_a_method_that_gives_the_password_away_is_refused(self, check: Check, method: str) -> None:
        with mysql_hostile.chooses_login(method) as server:
            assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED
            assert b"marker-1f0c" not in server.received

    def test_no_file_is_sent(self, check: Check) -> None:
        with mysql_hostile.asks_for_file("/etc/passwd") as server:
            assert check(**at(server)).code == FailureCode.PROTOCOL_MISMATCH
            assert b"root:" not in server.received
