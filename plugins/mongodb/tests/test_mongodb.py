"""What is special to MongoDB: where users live, databases that hold nothing, TLS, far ends that point elsewhere."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dns.resolver
import pytest

from connectory import CheckFailed, FailureCode, SslMode
from connectory.testing import Certificates, SecretsInvalid, Workbench, parse_secrets, step_statuses
from connectory.toolkit import Address, Failures
from connectory_mongodb import MongoDB, MongoDBSecrets
from servers.mongodb import hostile as mongodb_hostile
from servers.mongodb.server import MongoDBServer
from testkit import hostile
from testkit.checking import Check, protection
from testkit.dns import NameServer
from testkit.loopback import LoopbackServer
from testkit.passwords import AWKWARD_PASSWORDS
from testkit.url_properties import UrlProperties

PASSWORD = "pw1-of-the-reader"


@pytest.fixture
def reader(mongodb: MongoDBServer) -> dict[str, Any]:
    return {
        "host": mongodb.host,
        "port": mongodb.port,
        "username": "reader",
        "password": PASSWORD,
        "defaultauthdb": "shop",
        "ssl_mode": "disabled",
    }


@pytest.fixture
def root(mongodb: MongoDBServer, reader: dict[str, Any]) -> dict[str, Any]:
    return reader | {"username": mongodb.superuser, "password": mongodb.password, "auth_source": "admin"}


def at(server: LoopbackServer, **more: Any) -> dict[str, Any]:
    secrets = {"username": "reader", "password": "marker-77d0", "defaultauthdb": "shop", "ssl_mode": "disabled"}
    return {"host": server.host, "port": server.port} | secrets | more


class TestUrl(UrlProperties):
    model = MongoDBSecrets

    def test_the_url_of_the_specification_is_taken(self) -> None:
        secrets = parse_secrets(MongoDBSecrets, {"url": "mongodb://mongo_user:mongo_pass@mongodb_example/mongo_test"})
        assert (secrets.host, secrets.username, secrets.defaultauthdb) == (
            "mongodb_example",
            "mongo_user",
            "mongo_test",
        )

    def test_a_url_copied_from_atlas_is_taken(self) -> None:
        url = "mongodb+srv://me:pw@cluster0.ab1cd.mongodb.net/?retryWrites=true&w=majority&appName=Cluster0"
        secrets = parse_secrets(MongoDBSecrets, {"url": url})
        assert secrets.use_srv
        assert secrets.defaultauthdb is None

    @pytest.mark.parametrize("key", ["tls", "ssl"])
    def test_tls_in_a_url_means_verified_tls_as_drivers_read_it(self, key: str) -> None:
        for value, mode in (("true", SslMode.VERIFY_FULL), ("false", SslMode.DISABLED)):
            assert parse_secrets(MongoDBSecrets, {"url": f"mongodb://h/d?{key}={value}"}).ssl_mode is mode

    @pytest.mark.parametrize(
        "query",
        [
            "authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:azure,TOKEN_RESOURCE:x",
            "authMechanism=PLAIN",
            "tlsCAFile=/etc/shadow",
            "tlsCertificateKeyFile=/etc/hostname",
            "compressors=zlib",
            "tls=true&ssl=true",
            "proxyHost=127.0.0.1",
            "directConnection=maybe",
        ],
    )
    def test_a_query_key_that_reaches_further_is_refused(self, query: str) -> None:
        with pytest.raises(SecretsInvalid):
            parse_secrets(MongoDBSecrets, {"url": f"mongodb://u:p@h/d?{query}"})

    @pytest.mark.parametrize(
        "url", ["mongodb://a,127.0.0.1/d", "mongodb://a:1,b:2/d", "mongodb://%2Ftmp%2Fmongodb.sock/d"]
    )
    def test_a_url_names_one_host(self, url: str) -> None:
        with pytest.raises(SecretsInvalid):
            parse_secrets(MongoDBSecrets, {"url": url})


@pytest.mark.parametrize("host", ["a,127.0.0.1", "/tmp/mongodb-27017.sock", "mongodb://h", "h/?replicaSet=x"])
def test_a_host_is_one_host(host: str) -> None:
    with pytest.raises(SecretsInvalid, match="host"):
        parse_secrets(MongoDBSecrets, {"host": host, "username": "u", "password": "p", "defaultauthdb": "d"})


def test_a_good_connection_passes_every_step(check: Check, reader: dict[str, Any]) -> None:
    report = check(**reader)
    assert report.status == "succeeded"
    steps = ["resolve", "connect", "tls", "authenticate", "query"]
    assert step_statuses(report) == dict.fromkeys(steps, "passed") | {"tls": "skipped"}


def test_the_url_connects_like_the_parts(check: Check, mongodb: MongoDBServer) -> None:
    here = f"{mongodb.host}:{mongodb.port}"
    assert check(url=f"mongodb://reader:{PASSWORD}@{here}/shop?tls=false").status == "succeeded"
    as_root = f"mongodb://{mongodb.superuser}:{mongodb.password}@{here}/shop?authSource=admin&tls=false"
    assert check(url=as_root).status == "succeeded"


def test_an_unknown_user_fails_like_a_wrong_password(check: Check, reader: dict[str, Any]) -> None:
    wrong_user, wrong_password = check(**reader | {"username": "ghost"}), check(**reader | {"password": "wrong"})
    assert wrong_user.code == wrong_password.code == FailureCode.AUTH_FAILED
    assert wrong_user.reason == wrong_password.reason


def test_a_user_is_looked_for_in_its_own_database(check: Check, reader: dict[str, Any]) -> None:
    report = check(**reader | {"defaultauthdb": "vault"})
    assert report.code == FailureCode.AUTH_FAILED
    assert report.reason is not None
    assert "auth_source" in report.reason


def test_an_unknown_database_and_a_missing_grant_are_told_apart(
    check: Check, reader: dict[str, Any], root: dict[str, Any]
) -> None:
    unknown = check(**root | {"defaultauthdb": "nowhere"})
    assert unknown.code == FailureCode.DATABASE_NOT_FOUND
    not_granted = check(**reader | {"defaultauthdb": "vault", "auth_source": "shop"})
    assert not_granted.code == FailureCode.PERMISSION_DENIED
    without_roles = check(**reader | {"username": "nobody"})
    assert without_roles.code == FailureCode.PERMISSION_DENIED
    for report in (unknown, not_granted, without_roles):
        assert report.steps[-1].name == "query"


def test_a_users_own_database_may_be_empty(check: Check, mongodb: MongoDBServer, reader: dict[str, Any]) -> None:
    mongodb.create_user("newcomer", PASSWORD, database="empty")
    assert check(**reader | {"username": "newcomer", "defaultauthdb": "empty"}).status == "succeeded"


def test_a_server_that_wants_a_login_says_so_to_nobody(check: Check, mongodb: MongoDBServer) -> None:
    for database in ("", "shop"):
        report = check(url=f"mongodb://{mongodb.host}:{mongodb.port}/{database}?tls=false")
        assert report.code == FailureCode.AUTH_FAILED
        assert report.reason is not None
        assert "set username" in report.reason


def test_a_user_without_a_password_is_told_so(check: Check, mongodb: MongoDBServer) -> None:
    report = check(url=f"mongodb://reader@{mongodb.host}:{mongodb.port}/shop?tls=false")
    assert report.code == FailureCode.AUTH_FAILED
    assert report.reason is not None
    assert "needs its password" in report.reason


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost"])
def test_other_spellings_of_the_host_connect(check: Check, reader: dict[str, Any], host: str) -> None:
    assert check(**reader | {"host": host}).status == "succeeded"


@pytest.mark.parametrize("number", range(len(AWKWARD_PASSWORDS)))
def test_awkward_passwords_log_in_exactly_or_say_why_not(
    check: Check, mongodb: MongoDBServer, reader: dict[str, Any], number: int
) -> None:
    name, password = f"awkward_{number}", AWKWARD_PASSWORDS[number]
    mine = reader | {"username": name, "password": password}
    if any(character > "\uffff" for character in password):
        with pytest.raises(SecretsInvalid, match=r"password: Must be .* SCRAM-SHA-256"):
            check(**mine)
        return
    mongodb.create_user(name, password, database="shop")
    assert check(**mine).status == "succeeded"
    assert check(**mine | {"password": password + "!"}).code == FailureCode.AUTH_FAILED


def test_a_password_that_scram_does_not_allow_is_not_this_users(check: Check, reader: dict[str, Any]) -> None:
    report = check(**reader | {"password": "private use \ue000"})
    assert report.code == FailureCode.AUTH_FAILED
    assert report.reason is not None
    assert "RFC 4013" in report.reason


class TestTls:
    @pytest.fixture
    def behind_tls(self, reader: dict[str, Any], mongodb_tls: MongoDBServer) -> dict[str, Any]:
        return {name: value for name, value in reader.items() if name != "ssl_mode"} | {
            "host": "localhost",
            "port": mongodb_tls.port,
        }

    def test_it_is_used_where_it_is_offered(self, check: Check, behind_tls: dict[str, Any]) -> None:
        report = check(**behind_tls)
        assert report.status == "succeeded"
        assert protection(report) == ("passed", True, False)

    def test_where_it_is_only_preferred_a_plain_server_will_do(self, check: Check, reader: dict[str, Any]) -> None:
        """And the report says that it is one."""
        for mode, reason in (("preferred", "not_offered"), ("disabled", "not_requested")):
            report = check(**reader | {"ssl_mode": mode})
            assert report.status == "succeeded"
            assert protection(report) == ("skipped", False, False)
            assert [step.reason for step in report.steps if step.name == "tls"] == [reason]

    @pytest.mark.parametrize("mode", ["required", "verify-full"])
    def test_a_server_without_it_will_not_do_where_it_is_required(
        self, check: Check, reader: dict[str, Any], mode: str
    ) -> None:
        report = check(**reader | {"ssl_mode": mode})
        assert report.code == FailureCode.TLS_FAILED
        assert report.steps[-1].name == "tls"

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_trusted_certificate_is_accepted(
        self, check: Check, behind_tls: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        for host in ("localhost", "127.0.0.1", "::1"):
            report = check(**behind_tls | {"host": host}, ssl_mode=mode, ssl_ca=certificates.ca_pem)
            assert report.status == "succeeded"
            assert protection(report) == ("passed", True, True)

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_the_machines_own_authorities_are_trusted(
        self, check: Check, behind_tls: dict[str, Any], trusting_machine: None, mode: str
    ) -> None:
        assert check(**behind_tls, ssl_mode=mode).status == "succeeded"

    @pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
    def test_a_certificate_of_another_authority_is_refused(
        self, check: Check, behind_tls: dict[str, Any], certificates: Certificates, mode: str
    ) -> None:
        """Before the login."""
        for more in ({"ssl_ca": certificates.other_ca_pem}, {}):  # without a CA the machine's own are trusted
            report = check(**behind_tls, ssl_mode=mode, **more)
            assert report.code == FailureCode.TLS_UNTRUSTED
            assert report.steps[-1].name == "tls"

    def test_a_certificate_for_another_name_passes_verify_ca_only(
        self, check: Check, reader: dict[str, Any], certificates: Certificates
    ) -> None:
        with MongoDBServer(certificate=certificates.wrong_host) as server:
            server.create_user("reader", PASSWORD, database="shop")
            mine = reader | {"host": "localhost", "port": server.port, "ssl_ca": certificates.ca_pem}
            assert check(**mine | {"ssl_mode": "verify-ca"}).status == "succeeded"
            assert check(**mine | {"ssl_mode": "verify-full"}).code == FailureCode.TLS_UNTRUSTED

    def test_a_server_that_requires_it_is_named_as_the_reason(self, check: Check, behind_tls: dict[str, Any]) -> None:
        report = check(**behind_tls, ssl_mode="disabled")
        assert report.code == FailureCode.TLS_FAILED
        assert report.reason is not None
        assert "set ssl_mode" in report.reason


class TestHostileServers:
    def test_other_members_that_a_server_names_are_never_connected_to(self, check: Check) -> None:
        with hostile.silent() as canary:
            members = [(canary.host, canary.port), ("127.0.0.2", canary.port)]
            for more in ({}, {"replica_set": "rs0"}):
                with mongodb_hostile.names_other_members(members) as server:
                    assert check(**at(server, **more)).code == FailureCode.AUTH_FAILED
            assert canary.connections == 0

    def test_a_server_of_another_replica_set_is_refused(self, check: Check) -> None:
        with mongodb_hostile.names_other_members([("127.0.0.1", 1)], set_name="rs1") as server:
            report = check(**at(server, replica_set="rs0"))
        assert report.code == FailureCode.PROTOCOL_MISMATCH
        assert report.reason is not None
        assert "replica_set" in report.reason

    def test_the_password_is_never_sent_as_it_is(self, check: Check) -> None:
        with mongodb_hostile.knows_plain_logins_only() as server:
            assert check(**at(server)).code == FailureCode.AUTH_FAILED
            assert b"marker-77d0" not in server.received

    @pytest.mark.parametrize("claimed", [mongodb_hostile.BOMB_BYTES, 1000])
    def test_a_compressed_flood_ends_the_test_and_nothing_else(self, check: Check, claimed: int) -> None:
        with mongodb_hostile.sends_a_bomb(claimed) as server:
            assert check(**at(server), deadline=20).code == FailureCode.PROTOCOL_MISMATCH

    def test_an_incomplete_answer_is_a_protocol_mismatch(self, check: Check) -> None:
        """It lacks what was asked for."""
        with mongodb_hostile.answers_nothing_useful() as server:
            report = check(url=f"mongodb://{server.host}:{server.port}/shop?tls=false")
        assert report.code == FailureCode.PROTOCOL_MISMATCH
        assert report.steps[-1].name == "query"

    def test_an_old_server_is_told_to_be_upgraded(self, check: Check) -> None:
        with mongodb_hostile.is_old() as server:
            report = check(**at(server))
        assert report.code == FailureCode.PROTOCOL_MISMATCH
        assert report.reason is not None
        assert "MongoDB 4.4" in report.reason

    @pytest.mark.parametrize(
        ("number", "code"),
        [(18, FailureCode.AUTH_FAILED), (8000, FailureCode.AUTH_FAILED), (999, FailureCode.QUERY_FAILED)],
    )
    def test_errors_are_told_apart_by_number(self, check: Check, number: int, code: FailureCode) -> None:
        """Their text is not shown."""
        with mongodb_hostile.rejects(number, "marker-4e1a Authentication failed not authorized") as server:
            report = check(**at(server))
        assert report.code == code
        assert "marker-4e1a" not in repr(report)

    @pytest.mark.parametrize("far_end", [hostile.speaks_http, hostile.speaks_ssh, hostile.closes_at_once])
    @pytest.mark.parametrize("mode", ["disabled", "preferred"])
    def test_another_protocol_is_recognised(self, check: Check, far_end: Any, mode: str) -> None:
        with far_end() as server:
            assert check(**at(server, ssl_mode=mode)).code == FailureCode.PROTOCOL_MISMATCH


class _Context:
    """A CheckContext in this process, so that the test can say which name server is asked; names resolve to loopback."""

    timeout = 3.0

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.asked: list[str] = []
        self.vetted: list[tuple[str, int | None]] = []

    @contextmanager
    def step(self, name: str, failures: Failures | None = None) -> Iterator[None]:
        self.steps.append(name)
        known = failures or {}
        try:
            yield
        except tuple(known) as error:
            found = next(known[kind] for kind in type(error).__mro__ if kind in known)
            raise found if isinstance(found, CheckFailed) else CheckFailed(found) from error

    def skip_step(self, name: str) -> None:
        self.steps.append(f"no {name}")

    def report_tls(self, *, verified: bool) -> None:
        self.steps.append("verified" if verified else "not verified")

    def vet(self, host: str, port: int | None = None) -> None:
        self.vetted.append((host, port))

    def resolve(self, host: str, port: int) -> tuple[Address, ...]:
        self.asked.append(f"{host}:{port}")
        return (Address("127.0.0.1", port),)

    def connect(self, host: str, port: int) -> tuple[socket.socket, Address]:
        (address,) = self.resolve(host, port)
        try:
            return socket.create_connection(address, timeout=self.timeout), address
        except ConnectionRefusedError as error:
            raise CheckFailed(FailureCode.CONNECT_REFUSED) from error

    def settings(self, model: Any) -> Any:
        raise NotImplementedError


class TestServiceRecords:
    """`mongodb+srv`: the DNS names the servers."""

    SERVICE = "_mongodb._tcp.cluster0.shop.example"

    @contextmanager
    def answering(self, monkeypatch: pytest.MonkeyPatch, records: Any) -> Iterator[NameServer]:
        with NameServer(records) as server:
            resolver = dns.resolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = [server.host], server.port
            monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
            yield server

    def run(self, **more: Any) -> _Context:
        secrets = {"host": "cluster0.shop.example", "username": "reader", "password": PASSWORD, "defaultauthdb": "shop"}
        parsed = parse_secrets(MongoDBSecrets, secrets | {"use_srv": True} | more)
        context = _Context()
        MongoDB().test(parsed, context)
        return context

    def test_the_first_server_that_accepts_is_used(
        self, monkeypatch: pytest.MonkeyPatch, mongodb: MongoDBServer
    ) -> None:
        with hostile.refused_port() as refused:
            records = {
                (self.SERVICE, "SRV"): [
                    f"20 0 {mongodb.port} db2.shop.example.",
                    f"10 0 {refused.port} db1.shop.example.",
                ]
            }
            with self.answering(monkeypatch, records):
                context = self.run(ssl_mode="disabled")
        assert context.asked == [f"db1.shop.example:{refused.port}", f"db2.shop.example:{mongodb.port}"]
        assert context.steps == ["discover", "no tls", "authenticate", "query"]
        ports = (None, refused.port, mongodb.port)
        assert context.vetted == [("cluster0.shop.example", port) for port in ports]

    def test_the_text_record_may_say_where_users_live(
        self, monkeypatch: pytest.MonkeyPatch, mongodb: MongoDBServer
    ) -> None:
        records = {
            (self.SERVICE, "SRV"): [f"0 0 {mongodb.port} db1.shop.example."],
            ("cluster0.shop.example", "TXT"): ['"authSource=shop"'],
        }
        with self.answering(monkeypatch, records), pytest.raises(CheckFailed) as failed:
            self.run(ssl_mode="disabled", defaultauthdb="vault")
        assert failed.value.code is FailureCode.PERMISSION_DENIED  # the login worked, in another database

    def test_tls_is_verified_unless_it_is_asked_for_less(
        self, monkeypatch: pytest.MonkeyPatch, mongodb_tls: MongoDBServer
    ) -> None:
        records = {(self.SERVICE, "SRV"): [f"0 0 {mongodb_tls.port} db1.shop.example."]}
        with self.answering(monkeypatch, records), pytest.raises(CheckFailed) as failed:
            self.run()
        assert failed.value.code is FailureCode.TLS_UNTRUSTED

    @pytest.mark.parametrize("target", ["elsewhere.example.", "shop.example.", "evilshop.example.", "127.0.0.1."])
    def test_a_server_of_another_domain_is_not_asked(self, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
        records = {(self.SERVICE, "SRV"): [f"0 0 1 {target}"]}
        with self.answering(monkeypatch, records), pytest.raises(CheckFailed) as failed:
            self.run()
        assert failed.value.code is FailureCode.DNS_FAILED

    def test_a_missing_record_is_dns_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with self.answering(monkeypatch, {}) as server, pytest.raises(CheckFailed) as failed:
            self.run()
        assert failed.value.code is FailureCode.DNS_FAILED
        assert failed.value.remedy is not None
        assert server.questions == [f"{self.SERVICE} SRV"]

    def test_a_silent_name_server_is_dns_timeout_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        started = time.monotonic()
        with self.answering(monkeypatch, None), pytest.raises(CheckFailed) as failed:
            self.run()
        assert failed.value.code is FailureCode.DNS_TIMEOUT
        assert time.monotonic() - started < _Context.timeout + 2

    def test_a_rule_for_the_records_name_refuses_its_servers(self) -> None:
        secrets = {"url": f"mongodb+srv://reader:{PASSWORD}@cluster0.connectory.invalid/shop"}
        with Workbench(deny=["cluster0.connectory.invalid"]) as workbench:
            report, _ = workbench.test("mongodb", "connectory-mongodb", secrets)
        assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
        assert [step.name for step in report.steps] == ["discover"]

    def test_the_service_finds_no_record_for_a_name_that_nobody_knows(self, check: Check) -> None:
        url = f"mongodb+srv://reader:{PASSWORD}@cluster0.connectory.invalid/shop"
        report = check(url=url, deadline=6)
        assert report.code in {FailureCode.DNS_FAILED, FailureCode.DNS_TIMEOUT}
        assert report.steps[-1].name == "discover"
