"""What is special to MySQL: its ways of logging in, TLS from the greeting on, files of the client, its error numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectory import FailureCode
from connectory.testing import Certificates, SecretsInvalid, Workbench, parse_secrets, step_statuses
from connectory_mysql import MySQLSecrets
from servers.mariadb.server import MariaDBServer
from servers.mysql import hostile as mysql_hostile
from servers.mysql.server import MySQL8Front
from testkit import hostile
from testkit.checking import Check, check_of, protection
from testkit.loopback import LoopbackServer
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.url_properties import UrlProperties

Account = Callable[..., dict[str, Any]]
PASSWORD = "marker-1f0c"


def at(server: Any, **more: Any) -> dict[str, Any]:
    secrets = {"host": server.host, "port": server.port, "username": "reader", "password": PASSWORD, "dbname": "app"}
    return secrets | more


class TestUrl(UrlProperties):
    model = MySQLSecrets


def test_a_good_connection_passes_every_step(check: Check, mysql: MySQL8Front, account: Account) -> None:
    report = check(**account(mysql))
    assert report.status == "succeeded"
    assert [step.name for step in report.steps] == ["resolve", "connect", "tls", "authenticate", "query"]


def test_a_url_connects_like_the_parts(check: Check, mysql: MySQL8Front, account: Account) -> None:
    mine = account(mysql, "p@ss")
    for scheme in ("mysql+pymysql", "mysql"):
        url = f"{scheme}://{mine['username']}:p%40ss@localhost:{mysql.port}/app?charset=utf8mb4&ssl_mode=verify-full"
        assert check(url=url, ssl_ca=mine["ssl_ca"]).status == "succeeded"


def test_a_user_without_a_password_logs_in(check: Check, mysql: MySQL8Front, account: Account) -> None:
    assert check(**account(mysql, "")).status == "succeeded"


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, mysql: MySQL8Front, account: Account) -> None:
    mine = account(mysql)
    wrong_user, wrong_password = check(**mine | {"username": "ghost"}), check(**mine | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason
    assert step_statuses(wrong_user)["authenticate"] == "failed"


def test_a_missing_user_name_says_so_and_is_not_made_up(check: Check, mysql: MySQL8Front) -> None:
    report = check(host=mysql.host, port=mysql.port, password="any", dbname="app")
    assert report.code == FailureCode.AUTH_FAILED
    assert "set username" in report.reason


def test_an_unknown_database_is_told_to_those_who_may_know(check: Check, mysql: MySQL8Front, account: Account) -> None:
    superuser = {"username": mysql.superuser, "password": mysql.password}
    for name in ("nowhere", "n" * 300):
        report = check(**account(mysql) | superuser | {"dbname": name})
        assert report.code == FailureCode.DATABASE_NOT_FOUND
        assert step_statuses(report)["query"] == "failed"


def test_a_database_without_a_grant_is_permission_denied(check: Check, mysql: MySQL8Front, account: Account) -> None:
    report = check(**account(mysql, database=None))
    assert report.code == FailureCode.PERMISSION_DENIED
    assert "or it does not exist" in report.reason


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_literal_connects(check: Check, mysql: MySQL8Front, account: Account, host: str) -> None:
    assert check(**account(mysql) | {"host": host}).status == "succeeded"


@pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
def test_awkward_passwords_log_in_exactly(check: Check, mysql: MySQL8Front, account: Account, number: int) -> None:
    password = AWKWARD_PASSWORDS[number]
    mine = account(mysql, password)
    assert check(**mine).status == "succeeded"  # the first login sends the password through TLS
    assert check(**mine).status == "succeeded"  # the second one proves that it is known
    assert check(**mine | {"password": password + "!"}).code == FailureCode.AUTH_FAILED


@pytest.mark.parametrize(
    "more",
    [
        {"local_infile": 1},
        {"client_flag": 128},
        {"unix_socket": "/var/run/mysqld/mysqld.sock"},
        {"ssl_ca": "/etc/passwd"},
        {"read_default_file": "/etc/my.cnf"},
        {"host": "/var/run/mysqld/mysqld.sock"},
        {"host": "h;local_infile=1"},
        {"ssl_mode": "preferred\0"},
    ],
)
def test_options_of_the_driver_are_no_fields(check: Check, mysql: MySQL8Front, more: dict[str, Any]) -> None:
    with pytest.raises(SecretsInvalid):
        check(**at(mysql) | more)


class TestTls:
    def test_it_is_used_where_it_is_offered(self, check: Check, mysql: MySQL8Front, account: Account) -> None:
        mine = account(mysql)
        check(**mine)  # makes the user known, so that a proof without the password is enough
        report = check(**mine | {"ssl_mode": "preferred"})
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, False)
        assert mysql.logins[-1].user == mine["username"]
        assert mysql.logins[-1].encrypted

    def test_where_it_is_only_preferred_a_plain_server_is_reported_as_such(
        self, check: Check, mysql_without_tls: MySQL8Front, account: Account
    ) -> None:
        report = check(**account(mysql_without_tls, "") | {"ssl_mode": "preferred"})
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)
        assert [step.reason for step in report.steps if step.name == "tls"] == ["not_offered"]

    def test_it_is_reported_as_skipped_where_it_is_not_used(
        self, check: Check, mysql: MySQL8Front, account: Account
    ) -> None:
        mine = account(mysql)
        check(**mine)
        report = check(**mine | {"ssl_mode": "disabled"})
        assert report.status == "succeeded"
        assert protection(report) == ("skipped", False, False)
        assert not mysql.logins[-1].encrypted

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, mysql: MySQL8Front, account: Account, mode: str
    ) -> None:
        report = check(**account(mysql) | {"host": "localhost", "ssl_mode": mode})
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, True)

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_machines_own_authorities_are_trusted(
        self, check: Check, mysql: MySQL8Front, account: Account, trusting_machine: None, mode: str
    ) -> None:
        assert check(**account(mysql) | {"host": "localhost", "ssl_mode": mode, "ssl_ca": None}).status == "succeeded"

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_certificate_of_another_authority_is_refused(
        self, check: Check, mysql: MySQL8Front, account: Account, certificates: Certificates, mode: str
    ) -> None:
        """Before the login."""
        for ca in (certificates.other_ca_pem, None):  # without a CA the machine's own are trusted
            report = check(**account(mysql) | {"ssl_mode": mode, "ssl_ca": ca})
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert protection(report) == ("failed", None, None)

    def test_a_certificate_for_another_name_passes_verify_ca_only(
        self, check: Check, mysql: MySQL8Front, mariadb: MariaDBServer, account: Account, certificates: Certificates
    ) -> None:
        with MySQL8Front(mariadb, certificate=certificates.wrong_host) as front:
            mine = account(front) | {"host": "localhost", "ssl_ca": certificates.ca_pem}
            assert check(**mine | {"ssl_mode": "verify-ca"}).status == "succeeded"
            assert check(**mine | {"ssl_mode": "verify-full"}).code == FailureCode.TLS_UNTRUSTED

    def test_text_that_only_looks_like_a_certificate_is_refused_when_it_is_stored(self) -> None:
        broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
        with pytest.raises(SecretsInvalid, match="ssl_ca: Must be one or more PEM certificates"):
            parse_secrets(MySQLSecrets, {"host": "h", "ssl_ca": broken})

    @pytest.mark.parametrize("mode", ["required", "verify-ca", "verify-full"])
    def test_a_server_that_offers_none_gets_no_login(self, check: Check, mode: str) -> None:
        with mysql_hostile.chooses_login("mysql_native_password") as server:
            report = check(**at(server), ssl_mode=mode)
            assert report.code == FailureCode.TLS_FAILED
            assert step_statuses(report)["tls"] == "failed"
            assert b"reader" not in server.received

    def test_a_server_that_requires_it_refuses_a_plain_login(
        self, check: Check, mysql_with_tls_only: MySQL8Front, account: Account
    ) -> None:
        mine = account(mysql_with_tls_only)
        assert check(**mine).status == "succeeded"
        report = check(**mine | {"ssl_mode": "disabled"})
        assert report.code == FailureCode.TLS_FAILED
        assert "set ssl_mode" in report.reason


class TestLogin:
    def test_the_servers_rsa_key_is_not_trusted_without_tls(
        self, check: Check, mysql_without_tls: MySQL8Front, account: Account
    ) -> None:
        mine = account(mysql_without_tls)
        for mode in ("preferred", "disabled"):
            before = len(mysql_without_tls.logins)
            report = check(**mine | {"ssl_mode": mode})
            assert report.code == FailureCode.INSECURE_AUTH_REFUSED
            assert step_statuses(report)["authenticate"] == "failed"
            assert len(mysql_without_tls.logins) == before

    @pytest.mark.parametrize("mode", ["preferred", "required"])
    def test_a_password_is_not_sent_to_whoever_answers_with_a_certificate(
        self,
        check: Check,
        lenient_workbench: Workbench,
        mariadb: MariaDBServer,
        account: Account,
        certificates: Certificates,
        mode: str,
    ) -> None:
        """Unless the deployer allows it. A user whom the server knows by now proves the password without sending it."""
        with MySQL8Front(mariadb, certificate=certificates.untrusted) as front:
            mine = account(front, PASSWORD) | {"ssl_mode": mode}
            report = check(**mine)
            assert report.code == FailureCode.INSECURE_AUTH_REFUSED
            assert "set ssl_mode to verify-full" in report.reason
            assert protection(report) == ("passed", True, False)
            assert PASSWORD.encode() not in front.received
            assert check_of(lenient_workbench, "mysql", "connectory-mysql")(**mine).status == "succeeded"
            assert front.logins[-1].path == "full, TLS"
            assert check(**mine).status == "succeeded"
            assert front.logins[-1].path == "fast"

    def test_sha256_password_sends_it_as_well(self, check: Check, certificates: Certificates) -> None:
        verified = {"host": "localhost", "ssl_mode": "verify-full", "ssl_ca": certificates.ca_pem}
        with mysql_hostile.chooses_login("sha256_password", certificate=certificates.server) as server:
            assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED
            assert PASSWORD.encode() not in server.received
            assert check(**at(server) | verified).status == "succeeded"
            assert PASSWORD.encode() in server.received

    def test_a_known_user_logs_in_without_tls_by_proof(
        self, check: Check, mysql: MySQL8Front, account: Account
    ) -> None:
        mine = account(mysql)
        check(**mine)
        assert check(**mine | {"ssl_mode": "disabled"}).status == "succeeded"
        assert (mysql.logins[-1].path, mysql.logins[-1].encrypted) == ("fast", False)

    @pytest.mark.parametrize("encrypted", [False, True])
    @pytest.mark.parametrize("method", ["mysql_clear_password", "dialog", "mysql_old_password"])
    def test_a_method_that_gives_the_password_away_is_refused(
        self, check: Check, certificates: Certificates, method: str, encrypted: bool
    ) -> None:
        certificate = certificates.server if encrypted else None
        for data in (b"", b"\2Password: ", b"0123456789abcdefghij\0"):
            with mysql_hostile.chooses_login(method, data, certificate=certificate) as server:
                report = check(**at(server))
                assert report.code == FailureCode.INSECURE_AUTH_REFUSED
                assert PASSWORD.encode() not in server.received
                # An account with an empty password must not become a way around it either.
                assert "in clear" in report.reason

    def test_a_default_method_that_gives_the_password_away(self, check: Check) -> None:
        """It is refused as the default of the server too."""
        for method in ("mysql_clear_password", "dialog"):
            with mysql_hostile.greets_with(method, b"Password: ") as server:
                assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED
                assert PASSWORD.encode() not in server.received

    def test_a_key_that_the_server_sends_unasked_is_not_used(self, check: Check) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for method, data in (("sha256_password", pem), ("caching_sha2_password", b"\4")):
            with mysql_hostile.greets_with(method, data) as server:
                assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED
        with mysql_hostile.chooses_login("sha256_password") as server:
            assert check(**at(server)).code == FailureCode.INSECURE_AUTH_REFUSED

    def test_an_unsupported_method_is_named_as_such(self, check: Check) -> None:
        for method in ("client_ed25519", "auth_gssapi_client", "authentication_webauthn_client", "\u00e9"):
            with mysql_hostile.chooses_login(method) as server:
                report = check(**at(server))
            assert report.code in {FailureCode.AUTH_FAILED, FailureCode.PROTOCOL_MISMATCH}
            assert report.code == FailureCode.PROTOCOL_MISMATCH or "does not support" in report.reason


class TestHostileServers:
    @pytest.mark.parametrize("place", ["login", "query"])
    def test_no_file_is_sent(self, check: Check, place: str) -> None:
        content = Path("/etc/hostname").read_bytes().strip()
        with mysql_hostile.asks_for_file("/etc/hostname", at=place) as server:
            report = check(**at(server))
            assert report.code == FailureCode.PROTOCOL_MISMATCH
            assert content not in server.received

    def test_more_rows_than_were_asked_for_are_no_answer(self, check: Check) -> None:
        with mysql_hostile.floods_the_answer(10 * 1024**2) as server:
            assert check(**at(server)).code == FailureCode.QUERY_FAILED

    @pytest.mark.parametrize("far_end", [hostile.speaks_ssh, hostile.closes_at_once, mysql_hostile.greets_and_hangs_up])
    def test_another_protocol_is_told_apart(self, check: Check, far_end: Callable[[], LoopbackServer]) -> None:
        with far_end() as server:
            report = check(**at(server))
            assert report.code == FailureCode.PROTOCOL_MISMATCH
            assert PASSWORD.encode() not in server.received

    def test_a_server_that_waits_for_the_client_is_silent(self, check: Check) -> None:
        """In this protocol the server speaks first."""
        with hostile.speaks_http() as server:
            assert check(**at(server), deadline=2).code == FailureCode.TIMEOUT

    @pytest.mark.parametrize("answer", [b"", b"\xfb", b"\xfc", b"\xff", b"\x00", b"\x01\x02\x03"])
    def test_a_malformed_answer_is_a_failed_test(self, check: Check, answer: bytes) -> None:
        with mysql_hostile.malformed_answer(answer) as server:
            report = check(**at(server), deadline=5)
        assert report.code in {FailureCode.PROTOCOL_MISMATCH, FailureCode.TIMEOUT}
        assert step_statuses(report)["query"] == "failed"

    @pytest.mark.parametrize("place", ["greeting", "login", "query"])
    @pytest.mark.parametrize(
        ("number", "code"),
        [
            (1040, FailureCode.RATE_LIMITED),
            (1044, FailureCode.PERMISSION_DENIED),
            (1045, FailureCode.AUTH_FAILED),
            (1049, FailureCode.DATABASE_NOT_FOUND),
            (1129, FailureCode.AUTH_FAILED),
            (1130, FailureCode.AUTH_FAILED),
            (3118, FailureCode.AUTH_FAILED),
            (3159, FailureCode.TLS_FAILED),
            (1105, FailureCode.QUERY_FAILED),
            (31000, FailureCode.QUERY_FAILED),
        ],
    )
    def test_a_refusal_is_read_from_its_number_alone(
        self, check: Check, number: int, code: FailureCode, place: str
    ) -> None:
        with mysql_hostile.rejects(number, text="Access denied for user: marker-77aa", at=place) as server:
            report = check(**at(server))
        assert report.code == code
        assert "marker-77aa" not in repr(report)

    @pytest.mark.parametrize("number", [2003, 2013])
    def test_a_server_that_answers_with_a_number_of_the_drivers_own_is_no_mysql(
        self, check: Check, number: int
    ) -> None:
        with mysql_hostile.rejects(number) as server:
            assert check(**at(server)).code == FailureCode.PROTOCOL_MISMATCH


def test_the_services_own_account_and_files_are_not_used(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "MYSQL_PWD", "MYSQL_TEST_LOGIN_FILE"):
        monkeypatch.setenv(name, "marker-environment")
    with mysql_hostile.chooses_login("mysql_native_password") as server:
        check(host=server.host, port=server.port, dbname="app")
        assert b"marker-environment" not in server.received
        assert b"root" not in server.received
