"""What is special to SQL Server: what an ODBC string cannot carry, encryption, servers that point elsewhere, finding a driver."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import connectory_mssql
from connectory import CheckFailed, FailureCode, SslMode
from connectory.testing import (
    MASK,
    Certificates,
    SecretsInvalid,
    Workbench,
    parse_secrets,
    read_settings,
    step_statuses,
)
from connectory_mssql import MSSQLSecrets, MSSQLSettings
from servers.mssql import hostile as mssql_hostile
from servers.mssql import odbc
from servers.mssql import wire as tds
from servers.mssql.server import MSSQLServer
from testkit import hostile
from testkit.checking import Check, check_of, protection
from testkit.loopback import LoopbackServer
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.url_properties import UrlProperties

PASSWORD = "pw1-of-the-reader"
UNCARRIED = set(";{}[]")


@pytest.fixture
def reader(mssql: MSSQLServer, certificates: Certificates) -> dict[str, Any]:
    return {
        "host": mssql.host,
        "port": mssql.port,
        "username": "reader",
        "password": PASSWORD,
        "dbname": "shop",
        "ssl_ca": certificates.ca_pem,
    }


@pytest.fixture(scope="session")
def check_with_microsofts_driver(odbc_settings: None, workbench: Workbench) -> Check:
    """As `check`, with the driver that the package mssql-python-odbc brings."""
    package = importlib.util.find_spec("mssql_python_odbc")
    assert package is not None, "The package mssql-python-odbc is not installed: run `make install`."
    assert package.origin is not None
    libraries = Path(package.origin).parent / "libs/linux/debian_ubuntu/x86_64/lib"
    settings = {"CONNECTORY_MSSQL_ODBC_DRIVER": str(next(libraries.glob("libmsodbcsql-18*.so*")))}
    return check_of(workbench, "mssql", "connectory-mssql", settings)


def at(server: LoopbackServer, **more: Any) -> dict[str, Any]:
    return {"host": server.host, "port": server.port, "username": "reader", "password": "marker-5b02"} | more


class TestUrl(UrlProperties):
    model = MSSQLSecrets

    @pytest.mark.parametrize(
        "url",
        [
            "mssql+pyodbc://u:pw@h:1433/shop?driver=ODBC+Driver+17+for+SQL+Server",
            "mssql+pyodbc://u:pw@h:1433/shop?driver=ODBC%20Driver%2018%20for%20SQL%20Server&Encrypt=yes",
            "mssql+pymssql://u:pw@h:1433/shop",
            "mssql://u:pw@h/shop",
        ],
    )
    def test_urls_of_sqlalchemy_are_taken(self, url: str) -> None:
        secrets = parse_secrets(MSSQLSecrets, {"url": url})
        assert (secrets.host, secrets.port, secrets.username, secrets.dbname) == ("h", 1433, "u", "shop")

    def test_what_a_url_says_of_reading_and_trust_is_understood(self) -> None:
        secrets = parse_secrets(MSSQLSecrets, {"url": "mssql://u:pw@h/d?read_only=True&TrustServerCertificate=no"})
        assert secrets.read_only_connection
        assert secrets.ssl_mode is SslMode.VERIFY_FULL

    @pytest.mark.parametrize(
        "url",
        [
            "mssql+pyodbc://u:pw@h/d?driver=/path/evil.so",
            "mssql+pyodbc:///?odbc_connect=DRIVER%3D%2Fpath%2Fevil.so",
            "mssql://u:pw@h/d?Trusted_Connection=yes",
            "mssql://u:pw@h/d?DumpFile=/tmp/f",
            "mssql://u:x%3BPORT%3D1%3BSERVER%3D127.0.0.1@h/d",
            "mssql://u:pw;x@h/d",
            "mssql://u:pw@h/d%7D",
            "mssql://u:pw@h%5CI/d",
        ],
    )
    def test_what_would_reach_the_driver_unvetted_is_refused(self, url: str) -> None:
        with pytest.raises(SecretsInvalid):
            parse_secrets(MSSQLSecrets, {"url": url})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dbname", "d;DRIVER=/path/evil.so"),
        ("dbname", "d}"),
        ("password", "x;PORT=1;SERVER=127.0.0.1"),
        ("password", "x};DumpFile=/path/f;Y={"),
        ("password", "a}b"),
        ("password", "{a}"),
        ("password", "[x]"),
        ("password", "x\0y"),
        ("username", "u;PWD=x"),
        ("username", "DOMAIN\\user"),
        ("host", "127.0.0.1\\I"),
        ("host", "127.0.0.1,1434"),
        ("host", "tcp:127.0.0.1"),
        ("host", "h;DRIVER=x"),
        ("driver", "/path/evil.so"),
    ],
)
def test_what_an_odbc_string_cannot_carry_is_refused_at_its_field(field: str, value: str) -> None:
    secrets = {"host": "h", "username": "u", "password": "p", "dbname": "d"}
    with pytest.raises(SecretsInvalid) as refused:
        parse_secrets(MSSQLSecrets, secrets | {field: value})
    (problem,) = refused.value.problems
    assert problem["loc"] == [MASK if field == "driver" else field]
    assert value not in problem["msg"]
    if UNCARRIED & set(value) and field != "host":
        assert "ODBC connection string" in problem["msg"]


def test_a_good_connection_passes_every_step(check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
    report = check(**reader)
    assert report.status == "succeeded"
    assert step_statuses(report) == dict.fromkeys(["resolve", "connect", "tls", "authenticate", "query"], "passed")
    assert mssql.logins[-1].encrypted == "yes"
    assert mssql.logins[-1].database == "shop"
    assert protection(report) == ("passed", True, True)


@pytest.mark.parametrize("mode", ["preferred", "required"])
def test_without_a_verified_certificate_there_is_no_login(
    check: Check, lenient_workbench: Workbench, mssql: MSSQLServer, reader: dict[str, Any], mode: str
) -> None:
    """Unless the deployer allows it: a login sends the password itself."""
    before = len(mssql.logins)
    report = check(**reader, ssl_mode=mode)
    assert report.code == FailureCode.INSECURE_AUTH_REFUSED
    assert report.reason is not None
    assert "set ssl_mode to verify-full" in report.reason
    assert "self-signed" in report.reason
    assert protection(report) == ("passed", True, False)
    assert len(mssql.logins) == before
    report = check_of(lenient_workbench, "mssql", "connectory-mssql")(**reader, ssl_mode=mode)
    assert report.status == "succeeded"
    assert protection(report) == ("passed", True, False)
    assert mssql.logins[-1].encrypted == "yes"


def test_the_url_connects_like_the_parts(check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
    url = f"mssql+pyodbc://reader:{PASSWORD}@{mssql.host}:{mssql.port}/shop?driver=FreeTDS"
    assert check(url=url, read_only_connection=True, ssl_ca=reader["ssl_ca"]).status == "succeeded"


def test_the_login_names_the_server_as_the_consumer_does(
    check: Check, mssql: MSSQLServer, reader: dict[str, Any]
) -> None:
    check(**reader | {"host": "localhost"})
    assert "localhost".encode("utf-16-le") in mssql.received


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, reader: dict[str, Any]) -> None:
    wrong_user, wrong_password = check(**reader | {"username": "ghost"}), check(**reader | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason


def test_a_wrong_password_is_tried_once(check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
    before = len(mssql.logins)
    assert check(**reader | {"password": "wrong"}).code == FailureCode.AUTH_FAILED
    assert len(mssql.logins) == before + 1


def test_an_unknown_database_and_a_missing_grant_are_told_apart(check: Check, reader: dict[str, Any]) -> None:
    unknown = check(**reader | {"dbname": "nowhere"})
    not_granted = check(**reader | {"dbname": "vault"})
    assert (unknown.code, not_granted.code) == (FailureCode.DATABASE_NOT_FOUND, FailureCode.PERMISSION_DENIED)
    assert unknown.steps[-1].name == not_granted.steps[-1].name == "authenticate"


def test_a_missing_user_name_says_so(check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
    report = check(url=f"mssql://{mssql.host}:{mssql.port}/shop", ssl_ca=reader["ssl_ca"])
    assert report.code == FailureCode.AUTH_FAILED
    assert report.reason is not None
    assert "user name and a password" in report.reason


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_other_spellings_of_the_host_connect(check: Check, reader: dict[str, Any], host: str) -> None:
    assert check(**reader | {"host": host}).status == "succeeded"


class TestAwkwardPasswords:
    def try_one(self, check: Check, mssql: MSSQLServer, reader: dict[str, Any], name: str, password: str) -> None:
        mine = reader | {"username": name, "password": password}
        if UNCARRIED & set(password) or len(password) > 128:
            reason = "ODBC connection string" if len(password) <= 128 else "1 to 128 characters"
            with pytest.raises(SecretsInvalid, match=f"password: .*{reason}"):
                check(**mine)
            return
        mssql.create_user(name, password, databases=["shop"])
        assert check(**mine).status == "succeeded"
        assert check(**mine | {"password": (password + "!")[-128:]}).code == FailureCode.AUTH_FAILED

    @pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
    def test_they_log_in_exactly_or_are_refused_with_the_reason(
        self, check: Check, mssql: MSSQLServer, reader: dict[str, Any], number: int
    ) -> None:
        self.try_one(check, mssql, reader, f"awkward_{number}", AWKWARD_PASSWORDS[number])

    def test_a_password_of_the_greatest_length_logs_in(
        self, check: Check, mssql: MSSQLServer, reader: dict[str, Any]
    ) -> None:
        self.try_one(check, mssql, reader, "longest", "p" * 127 + "é")


class TestMicrosoftsDriver:
    """Whichever driver is there, the answers are the same."""

    @pytest.fixture
    def check(self, check_with_microsofts_driver: Check) -> Check:
        return check_with_microsofts_driver

    def test_good_and_bad_secrets(self, check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
        assert check(**reader).status == "succeeded"
        assert mssql.logins[-1].encrypted == "yes"
        expected = {
            FailureCode.AUTH_FAILED: {"password": "wrong"},
            FailureCode.DATABASE_NOT_FOUND: {"dbname": "nowhere"},
            FailureCode.PERMISSION_DENIED: {"dbname": "vault"},
            FailureCode.TLS_UNTRUSTED: {"ssl_ca": None},
        }
        for code, change in expected.items():
            assert check(**reader | change).code == code

    def test_awkward_passwords(self, check: Check, mssql: MSSQLServer, reader: dict[str, Any]) -> None:
        for number, password in enumerate(AWKWARD_PASSWORDS):
            TestAwkwardPasswords().try_one(check, mssql, reader, f"awkward_m{number}", password)

    def test_a_server_that_points_elsewhere(self, check: Check, certificates: Certificates) -> None:
        with (
            hostile.silent() as canary,
            mssql_hostile.redirects_logins(certificates.server, "127.0.0.1", canary.port) as server,
        ):
            assert check(**at(server, ssl_ca=certificates.ca_pem)).code == FailureCode.UNEXPECTED_REDIRECT
            assert canary.connections == 0


class TestTls:
    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, reader: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        for host in ("localhost", "127.0.0.1", "::1"):
            report = check(**reader | {"host": host}, ssl_mode=mode)
            assert report.status == "succeeded"
            assert protection(report) == ("passed", True, True)

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_machines_own_authorities_are_trusted(
        self, check: Check, reader: dict[str, Any], trusting_machine: None, mode: str
    ) -> None:
        assert check(**reader | {"ssl_ca": None}, ssl_mode=mode).status == "succeeded"

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_certificate_of_another_authority_is_refused(
        self, check: Check, mssql: MSSQLServer, reader: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        """Before the login."""
        before = len(mssql.logins)
        for ca in (certificates.other_ca_pem, None):  # without a CA the machine's own are trusted
            report = check(**reader | {"ssl_ca": ca}, ssl_mode=mode)
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert report.reason is not None
            assert "self-signed" in report.reason
            assert protection(report) == ("failed", None, None)
        assert len(mssql.logins) == before

    def test_a_certificate_for_another_name_passes_verify_ca_only(
        self, check: Check, certificates: Certificates
    ) -> None:
        with mssql_hostile.rejects_logins(certificates.wrong_host, 18456, text="no") as server:
            mine = at(server, host="localhost", ssl_ca=certificates.ca_pem)
            assert check(**mine, ssl_mode="verify-ca").code == FailureCode.AUTH_FAILED
            assert check(**mine, ssl_mode="verify-full").code == FailureCode.TLS_UNTRUSTED

    def test_a_server_that_requires_encryption_gets_it(self, check: Check, certificates: Certificates) -> None:
        with MSSQLServer(certificate=certificates.server, encryption="required") as server:
            mine = {"host": server.host, "port": server.port, "username": "sa", "password": server.password}
            assert check(**mine, ssl_ca=certificates.ca_pem).status == "succeeded"

    @pytest.mark.parametrize("encryption", [tds.ENCRYPT_OFF, tds.ENCRYPT_NOT_SUPPORTED])
    def test_no_login_is_sent_to_a_server_that_will_not_encrypt(self, check: Check, encryption: int) -> None:
        expected = {
            "required": FailureCode.TLS_FAILED,
            "preferred": FailureCode.INSECURE_AUTH_REFUSED,
            "disabled": FailureCode.INSECURE_AUTH_REFUSED,
        }
        for mode, code in expected.items():
            with mssql_hostile.encrypts_nothing(encryption) as server:
                report = check(**at(server), ssl_mode=mode)
                assert report.code == code
                assert report.steps[-1].name == "tls"
                assert "reader".encode("utf-16-le") not in server.received


class TestHostileServers:
    def test_a_server_that_points_elsewhere_is_not_followed(self, check: Check, certificates: Certificates) -> None:
        with hostile.silent() as canary:
            for host in ("127.0.0.1", "127.0.0.2", "localhost"):
                with mssql_hostile.redirects_logins(certificates.server, host, canary.port) as server:
                    report = check(**at(server, ssl_ca=certificates.ca_pem))
                assert report.code == FailureCode.UNEXPECTED_REDIRECT
                assert report.steps[-1].name == "authenticate"
            assert canary.connections == 0

    @pytest.mark.parametrize(
        ("numbers", "code"),
        [
            ([18456], FailureCode.AUTH_FAILED),
            ([18487], FailureCode.AUTH_FAILED),
            ([40615], FailureCode.PERMISSION_DENIED),
            ([4060, 18456], FailureCode.DATABASE_NOT_FOUND),
            ([99999], FailureCode.QUERY_FAILED),
        ],
    )
    def test_errors_are_told_apart_by_number(
        self, check: Check, certificates: Certificates, numbers: list[int], code: FailureCode
    ) -> None:
        """Their text is not shown."""
        text = "marker-90cd Cannot open database. Login failed. (4060) (SQLDriverConnect)"
        with mssql_hostile.rejects_logins(certificates.server, *numbers, text=text) as server:
            report = check(**at(server, ssl_ca=certificates.ca_pem, dbname="d"))
        assert report.code == code
        assert "marker-90cd" not in repr(report)

    @pytest.mark.parametrize("answers", [mssql_hostile.answers_nonsense, mssql_hostile.floods_the_login_answer])
    def test_an_answer_that_is_none_is_a_protocol_mismatch(
        self, check: Check, certificates: Certificates, answers: Any
    ) -> None:
        with answers(certificates.server) as server:
            report = check(**at(server, ssl_ca=certificates.ca_pem))
        assert report.code == FailureCode.PROTOCOL_MISMATCH
        assert report.steps[-1].name == "authenticate"

    @pytest.mark.parametrize("far_end", [hostile.speaks_http, hostile.speaks_ssh, hostile.closes_at_once])
    def test_another_protocol_is_recognised(self, check: Check, far_end: Any) -> None:
        with far_end() as server:
            assert check(**at(server)).code == FailureCode.PROTOCOL_MISMATCH


class TestFindingADriver:
    def settings(self, **values: str) -> MSSQLSettings:
        return read_settings(
            MSSQLSettings, {f"CONNECTORY_MSSQL_ODBC_{name.upper()}": each for name, each in values.items()}
        )

    def find(self, monkeypatch: pytest.MonkeyPatch, listed: list[str], files: tuple[str, ...] = ()) -> str:
        monkeypatch.setitem(sys.modules, "pyodbc", SimpleNamespace(drivers=lambda: listed))
        monkeypatch.setattr(connectory_mssql, "_DRIVER_FILES", files)
        return connectory_mssql._find_driver(self.settings())

    def test_microsofts_newest_comes_first_then_freetds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listed = ["SQLite3", "FreeTDS", "ODBC Driver 17 for SQL Server", "ODBC Driver 18 for SQL Server"]
        assert self.find(monkeypatch, listed) == "ODBC Driver 18 for SQL Server"
        assert self.find(monkeypatch, listed[:3]) == "ODBC Driver 17 for SQL Server"
        assert self.find(monkeypatch, listed[:2]) == "FreeTDS"

    def test_a_driver_that_is_not_listed_is_found(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Where packages put it."""
        library = tmp_path / "libtdsodbc.so"
        library.touch()
        assert self.find(monkeypatch, [], (str(tmp_path)[1:] + "/libtds*.so",)) == str(library)

    def test_without_any_the_answer_names_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(CheckFailed) as failed:
            self.find(monkeypatch, ["SQLite3"])
        self.expect_both_named(failed.value)

    def test_without_unixodbc_the_answer_names_both(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "pyodbc.py").write_text('raise ImportError("libodbc.so.2: cannot open shared object file")')
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
        with pytest.raises(CheckFailed) as failed:
            connectory_mssql._find_driver(self.settings())
        self.expect_both_named(failed.value)

    def expect_both_named(self, failure: CheckFailed) -> None:
        assert failure.code is FailureCode.DRIVER_MISSING
        assert failure.remedy is not None
        for name in ("FreeTDS", "Microsoft's ODBC Driver 18", "CONNECTORY_MSSQL_ODBC_DRIVER"):
            assert name in failure.remedy

    def test_a_driver_that_cannot_be_loaded_is_driver_missing(
        self, workbench: Workbench, reader: dict[str, Any]
    ) -> None:
        settings = {"CONNECTORY_MSSQL_ODBC_DRIVER": "/nonexistent/libtdsodbc.so"}
        report = check_of(workbench, "mssql", "connectory-mssql", settings)(**reader)
        assert report.code == FailureCode.DRIVER_MISSING
        assert report.reason is not None
        assert "FreeTDS" in report.reason

    def test_a_deployers_choice_is_vetted_too(self) -> None:
        with pytest.raises(ValueError, match="mssql_odbc_driver"):
            self.settings(driver="x;Server=elsewhere")
        assert self.settings(driver=str(odbc.driver_library())).mssql_odbc_driver
