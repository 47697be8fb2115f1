"""Each server in `servers/` does what its docstring says."""

import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from connectory.testing.certificates import Certificates
from connectory.testing.ports import free_port, loopback_addresses
from connectory.testing.processes import ServerFailed, ServerProcess
from servers.postgres.server import PostgresServer
from servers.postgres.tls import PostgresTlsFront
from testkit import hostile
from testkit.cache import build_once
from testkit.loopback import LoopbackServer

PASSWORD = "pa55 w'ord"


def connect(server, **options):
    """psycopg2 to any of the servers below; its own defaults would depend on the caller's environment."""
    defaults = {
        "host": server.host,
        "port": server.port,
        "user": "postgres",
        "dbname": "postgres",
        "sslmode": "disable",
    }
    return psycopg2.connect(**{**defaults, "password": PASSWORD, "connect_timeout": 5, **options})


def select_one(server, **options):
    connection = connect(server, **options)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone()
    finally:
        connection.close()


class TestProcesses:
    def test_a_server_that_dies_at_its_start_is_reported_with_its_log(self, tmp_path):
        command = [sys.executable, "-c", "import sys; print('no such luck'); sys.exit(3)"]
        process = ServerProcess("Doomed", command, log=tmp_path / "log", environment={}, folder=tmp_path)
        with pytest.raises(ServerFailed, match=r"Doomed exited with code 3[^$]*no such luck"):
            process.wait_for_port(free_port())
        process.stop()

    def test_a_server_ends_when_its_owner_is_killed(self, tmp_path):
        owner_program = f"""
import os, sys
from pathlib import Path
from connectory.testing.processes import ServerProcess
folder = Path({str(tmp_path)!r})
server = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); import time; time.sleep(60)"]
process = ServerProcess("Orphan", server, log=folder / "log", environment={{}}, folder=folder)
while not (folder / "log").read_text().endswith(chr(10)):
    pass
print("started", flush=True)
sys.stdin.read()
"""
        owner = subprocess.Popen(
            [sys.executable, "-c", owner_program],
            env={"PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with owner:
            assert owner.stdout.readline() == "started\n"
            server = int((tmp_path / "log").read_text())
            os.kill(server, 0)
            owner.kill()
        deadline = time.monotonic() + 10
        while Path(f"/proc/{server}").exists():
            assert time.monotonic() < deadline, "the server outlived its owner"
            time.sleep(0.01)

    def test_a_server_that_ignores_the_request_to_stop_is_killed(self, tmp_path):
        program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
        process = ServerProcess(
            "Stubborn",
            [sys.executable, "-c", program],
            log=tmp_path / "log",
            environment={},
            folder=tmp_path,
            patience=0.1,
        )
        while not (tmp_path / "log").read_text():
            assert process.running
        process.stop()
        assert not process.running

    def test_a_cached_thing_is_built_once_per_version(self, tmp_path, monkeypatch):
        """And once more after a failure."""
        monkeypatch.setattr("testkit.cache.cache_folder", lambda: tmp_path)
        builds = []

        def build(folder):
            builds.append(folder)
            if len(builds) == 1:
                raise OSError("disk full")
            (folder / "thing").touch()

        with pytest.raises(OSError, match="disk full"):
            build_once("thing", "1", build)
        for version in ("1", "1", "2", "2"):
            assert (build_once("thing", version, build) / "thing").exists()
        assert len(builds) == 3


class TestPostgres:
    def test_it_authenticates_with_scram_on_every_loopback_address(self, postgres):
        postgres.create_role("reader", PASSWORD)
        stored = postgres.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", "reader")
        assert stored[0][0].startswith("SCRAM-SHA-256$")
        for address in loopback_addresses():
            assert select_one(postgres, host=address, user="reader") == (1,)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            connect(postgres, user="reader", password="wrong")

    def test_it_makes_databases_and_runs_statements_in_them(self, postgres):
        postgres.create_role("owner of it", PASSWORD)
        postgres.create_database("a database", owner="owner of it")
        assert select_one(postgres, user="owner of it", dbname="a database") == (1,)
        assert postgres.execute("CREATE EXTENSION pg_trgm", database="a database") == []
        assert postgres.execute("SELECT similarity(%s, %s)", "abc", "abc", database="a database") == [(1.0,)]

    def test_the_method_of_authentication_can_be_chosen(self):
        with PostgresServer(auth_host="md5", password=PASSWORD) as server:
            stored = server.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'")
            assert stored[0][0].startswith("md5")
            assert select_one(server) == (1,)

    def test_it_is_gone_after_stop(self):
        server = PostgresServer(auth_host="trust").start()
        assert select_one(server, password="anything") == (1,)
        held = connect(server)
        server.stop()
        held.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=5)

    def test_its_representation_does_not_show_its_password(self, postgres):
        assert postgres.password not in repr(postgres)


class TestPostgresTls:
    def test_a_verified_connection_is_encrypted(self, postgres, postgres_tls, certificates):
        """The server records its start-up packet."""
        options = {"password": postgres.password, "sslmode": "verify-full", "sslrootcert": str(certificates.ca_file)}
        assert select_one(postgres_tls, **options, application_name="test of the front") == (1,)
        startup = postgres_tls.startups[-1]
        assert startup.encrypted
        assert startup.parameters["application_name"] == "test of the front"

    def test_required_turns_a_plain_connection_away(self, postgres, postgres_tls):
        with pytest.raises(psycopg2.OperationalError, match="no encryption"):
            connect(postgres_tls, password=postgres.password)

    def test_a_certificate_of_another_authority_is_not_trusted(self, postgres, postgres_tls, certificates):
        options = {"sslmode": "verify-ca", "sslrootcert": str(certificates.other_ca_file)}
        with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
            connect(postgres_tls, password=postgres.password, **options)

    def test_a_certificate_for_another_host_passes_verify_ca_only(self, postgres, certificates):
        trust = {"password": postgres.password, "sslrootcert": str(certificates.ca_file)}
        with PostgresTlsFront(postgres, certificates.wrong_host) as front:
            assert select_one(front, sslmode="verify-ca", **trust) == (1,)
            with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
                connect(front, sslmode="verify-full", **trust)

    def test_offered_takes_both_and_not_offered_takes_plain_only(self, postgres, certificates):
        with PostgresTlsFront(postgres, certificates.server, mode="offered") as front:
            select_one(front, password=postgres.password, sslmode="prefer")
            select_one(front, password=postgres.password, sslmode="disable")
            assert [startup.encrypted for startup in front.startups] == [True, False]
        with PostgresTlsFront(postgres, mode="not offered") as front:
            assert select_one(front, password=postgres.password, sslmode="prefer") == (1,)
            with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
                connect(front, sslmode="require")

    def test_a_password_reaches_the_front_only_as_a_scram_proof(self, postgres, certificates):
        with PostgresTlsFront(postgres, certificates.server) as front:
            select_one(front, password=postgres.password, sslmode="require")
            assert b"SCRAM-SHA-256" in front.received
            assert postgres.password.encode() not in front.received


def read_until_closed(server: LoopbackServer, sent: bytes = b"") -> bytes:
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(4096), b""))


class TestHostileServersForAnyProtocol:
    def test_a_refused_port_refuses_as_long_as_it_is_held(self):
        with hostile.refused_port() as address:
            for host in loopback_addresses():
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((host, address.port), timeout=5)
            with pytest.raises(OSError, match="in use"):
                socket.create_server(address)

    def test_silent_records_what_it_hears_and_says_nothing(self):
        with hostile.silent() as server:
            with socket.create_connection((server.host, server.port), timeout=0.2) as client:
                client.sendall(b"hello?")
                with pytest.raises(TimeoutError):
                    client.recv(1)
            server.wait_until_left()
            assert (server.connections, server.received) == (1, b"hello?")

    def test_silent_hangs_up_when_it_stops(self):
        with hostile.silent() as server:
            client = socket.create_connection((server.host, server.port), timeout=5)
            server.wait_for_connections(1)
        with client:
            assert client.recv(1) == b""

    def test_closes_at_once(self):
        with hostile.closes_at_once() as server:
            assert read_until_closed(server) == b""
            assert server.connections == 1

    def test_the_drip_keeps_every_read_short_and_never_ends(self):
        patience = 2 * hostile.DRIP_SECONDS
        with (
            hostile.slow_drip(b"HT") as server,
            socket.create_connection((server.host, server.port), timeout=patience) as client,
        ):
            assert [client.recv(100) for _ in range(4)] == [b"H", b"T", b"\0", b"\0"]

    def test_silent_after_tls_completes_the_handshake(self, certificates):
        context = ssl.create_default_context(cafile=certificates.ca_file)
        with hostile.silent_after_tls(certificates.server) as server:
            with (
                socket.create_connection((server.host, server.port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname=server.host) as client,
            ):
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
            server.wait_until_left()
            assert server.received == b"GET / HTTP/1.1\r\n\r\n"

    def test_wrong_protocols_speak_http_and_ssh(self):
        with hostile.speaks_http() as server:
            assert read_until_closed(server, b"\0\0\0\x08").startswith(b"HTTP/1.1 400 ")
        with (
            hostile.speaks_ssh() as server,
            socket.create_connection((server.host, server.port), timeout=5) as client,
        ):
            assert client.recv(100).startswith(b"SSH-2.0-")

    def test_a_defect_in_a_server_of_ours_is_not_swallowed(self):
        def handle(_):
            raise ZeroDivisionError("a defect")

        with pytest.raises(ZeroDivisionError), LoopbackServer(handle) as server:
            read_until_closed(server)


class TestHostilePostgres:
    def test_silent_after_tls_makes_libpq_wait_until_its_own_timeout(self, certificates):
        with hostile.postgres_silent_after_tls(certificates.server) as server:
            with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
                connect(server, sslmode="require", connect_timeout=2)
            server.wait_until_left()
            assert b"postgres" in server.received, "the start-up packet came through TLS"
            assert PASSWORD.encode() not in server.received

    def test_never_answers_a_query_lets_libpq_in_and_then_nothing(self):
        with hostile.postgres_never_answers_a_query() as server:
            connection = connect(server)
            wire = socket.socket(fileno=os.dup(connection.fileno()))
            with wire:
                wire.sendall(b"Q\0\0\0\x0dSELECT 1\0")
                wire.settimeout(0.2)
                with pytest.raises((TimeoutError, BlockingIOError)):
                    wire.recv(1)
            connection.close()
            server.wait_until_left()
            assert b"SELECT 1" in server.received

    def test_the_flood_is_as_long_as_asked(self):
        with hostile.postgres_floods_the_answer(limit=10 * 1024 * 1024) as server:
            connection = connect(server)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                assert sum(len(value) for (value,) in cursor.fetchall()) > 9.9 * 1024 * 1024
            connection.close()

    def test_the_flood_stops_when_the_client_dies(self):
        program = """
import psycopg2, resource
resource.setrlimit(resource.RLIMIT_AS, (256 * 1024 * 1024,) * 2)
psycopg2.connect("host=127.0.0.1 port=PORT user=u sslmode=disable").cursor().execute("SELECT 1")
"""
        with hostile.postgres_floods_the_answer() as server:
            client = subprocess.run(
                [sys.executable, "-c", program.replace("PORT", str(server.port))], capture_output=True
            )
            assert client.returncode != 0
            assert b"memory" in client.stderr
            server.wait_until_left()

    def test_the_drip_is_no_answer_to_libpq(self):
        with hostile.postgres_drips() as server, pytest.raises(psycopg2.OperationalError, match="timeout expired"):
            connect(server, sslmode="prefer", connect_timeout=2)

    @pytest.mark.parametrize("sslmode", ["disable", "require"])
    def test_the_password_comes_back_in_the_error(self, certificates, sslmode):
        with hostile.postgres_reflects_the_password(certificates.server) as server:
            with pytest.raises(psycopg2.OperationalError, match=PASSWORD):
                connect(server, sslmode=sslmode)
            assert PASSWORD.encode() in server.received

    def test_rejects_with_any_sqlstate_and_text(self):
        with (
            hostile.postgres_rejects("53300", "marker-81f3") as server,
            pytest.raises(psycopg2.OperationalError, match="marker-81f3"),
        ):
            connect(server)
        with hostile.postgres_rejects("42501", "marker-81f3", at="query") as server:
            connection = connect(server)
            connection.autocommit = True
            with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="marker-81f3"):
                connection.cursor().execute("SELECT 1")
            connection.close()


def test_certificates_are_what_their_names_say(certificates: Certificates):
    def handshake(certificate, authority):
        context = ssl.create_default_context(cafile=authority)
        with hostile.silent_after_tls(certificate) as server:
            for address in loopback_addresses():
                with socket.create_connection((address, server.port), timeout=5) as plain:
                    context.wrap_socket(plain, server_hostname=address).close()

    handshake(certificates.server, certificates.ca_file)
    handshake(certificates.untrusted, certificates.other_ca_file)
    for certificate in (certificates.untrusted, certificates.wrong_host):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(certificate, certificates.ca_file)
