"""What the process of a test has, and what it cannot do."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from connectory.checks import seccomp
from connectory.checks.egress import EgressPolicy
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer

DOCUMENT = {"token": "open-sesame-4711"}


def told(report) -> str:
    """What a test said in its remedy."""
    assert report.code is FailureCode.QUERY_FAILED, report
    return report.reason


def test_the_environment_holds_the_scrubbed_set_and_nothing_else(check, connector_of, monkeypatch):
    for name in ("CONNECTORY_ENCRYPTION_KEY", "PGPASSWORD", "HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, "do-not-inherit")
    connector = connector_of(
        """
        import ctypes, os
        entries, found = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ"), []
        while entries[len(found)]:
            found.append(entries[len(found)].decode())
        names = sorted(entry.partition("=")[0] for entry in found)
        assert sorted(os.environ) == names, "what native code sees is what Python sees"
        raise CheckFailed(FailureCode.QUERY_FAILED, remedy=" ".join(names))
        """
    )
    # A policy of its own gets a runner of its own, whose fork server starts in the environment above.
    names = told(check(connector, policy=EgressPolicy(deny=("198.51.100.1/32",)))).split()
    machine = {"LD_LIBRARY_PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ"} & os.environ.keys()
    assert set(names) == {"HOME", "LC_ALL", "MALLOC_ARENA_MAX", "PATH"} | machine


def test_home_is_nowhere_and_the_current_folder_is_the_root(check):
    report = check(
        """
        import os, pathlib
        assert pathlib.Path.home() == pathlib.Path("/nonexistent")
        assert os.getcwd() == "/"
        """
    )
    assert report.status == "succeeded"


def test_it_has_no_descriptors_but_its_own(check):
    """The standard streams, the pipe that it reports to, and the line on which it asks for connections."""
    report = check(
        """
        import os
        def is_open(descriptor):
            try:
                return bool(os.fstat(descriptor))
            except OSError:
                return False
        found = [descriptor for descriptor in range(70_000) if is_open(descriptor)]
        raise CheckFailed(FailureCode.QUERY_FAILED, remedy=f"{found}")
        """
    )
    assert len(json.loads(told(report))) == 5


def test_the_standard_streams_lead_nowhere(check):
    report = check(
        """
        import os, sys
        assert sys.stdin.read() == ""
        print("x" * 10_000_000)
        os.write(1, b"x" * 10_000_000)
        os.write(2, b"x" * 10_000_000)
        """
    )
    assert report.status == "succeeded"


def test_it_can_open_256_files_and_no_more(check):
    report = check("import os\nfor _ in range(300): os.open('/dev/null', os.O_RDONLY)")
    assert report.error_type == "OSError"


def test_it_leaves_no_core_dump(check):
    assert check("import resource\nassert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)").status == "succeeded"


def test_each_test_has_a_process_of_its_own(check, connector_of):
    connector = connector_of(
        """
        import builtins
        assert not hasattr(builtins, "left_behind")
        builtins.left_behind = secrets
        """
    )
    assert [check(connector).status for _ in range(3)] == ["succeeded"] * 3


def test_the_secret_is_in_no_command_line_and_no_environment(check):
    """While a test runs, of whatever process there is."""
    secret = "z" + os.urandom(12).hex()
    with LoopbackServer(Looking(secret.encode())) as server:
        dial = (
            "connection, _ = context.connect('127.0.0.1', {port})\nwith connection: assert connection.recv(1) == b'-'"
        )
        report = check(dial.format(port=server.port), document={"token": secret})
    assert report.status == "succeeded"


class Looking:
    """A far end that searches the machine for a secret, and answers when it found none."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.__name__ = "looking"

    def __call__(self, peer: Peer) -> None:
        looked = 0
        for process in Path("/proc").glob("[0-9]*"):
            for file in ("cmdline", "environ"):
                with suppress(OSError):
                    content = (process / file).read_bytes()
                    looked += 1
                    assert self._secret not in content, process
        assert looked > 4
        peer.send(b"-")


def wait_until_gone(pid: int) -> None:
    """A test is answered when it is over; what it started is killed right after that."""
    give_up = time.monotonic() + 10
    while psutil.pid_exists(pid):
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.mark.parametrize("escape", ["pass", "os.setsid()", "os.setsid(); os.fork() and os._exit(0)"])
def test_what_a_test_forks_ends_with_it(check, escape: str):
    said = told(
        check(
            f"""
            import os, time
            reader, writer = os.pipe()
            if os.fork() == 0:
                {escape}
                os.write(writer, str(os.getpid()).encode())
                time.sleep(600)
            raise CheckFailed(FailureCode.QUERY_FAILED, remedy=os.read(reader, 20).decode())
            """
        )
    )
    wait_until_gone(int(said))


# Where it can connect.

DIAL = """
import socket
with context.step("connect"):
    socket.create_connection(({host!r}, {port}), timeout=5).close()
"""


@pytest.fixture
def server():
    with LoopbackServer(Peer.drain) as server:
        yield server


def test_it_can_connect_to_what_its_context_resolved(check, server):
    report = check(f"context.resolve('127.0.0.1', {server.port})" + DIAL.format(host="127.0.0.1", port=server.port))
    assert report.status == "succeeded"
    server.wait_for_connections(1)


def test_it_cannot_connect_to_an_address_that_was_not_vetted(check, server):
    report = check(DIAL.format(host="127.0.0.1", port=server.port))
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert server.connections == 0


def test_it_cannot_connect_to_another_port_of_a_vetted_address(check, server):
    report = check(f"context.resolve('127.0.0.1', {server.port + 1})" + DIAL.format(host="127.0.0.1", port=server.port))
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert server.connections == 0


def test_a_driver_that_resolves_a_name_itself_is_let_through_to_what_is_allowed(check, server):
    assert check(DIAL.format(host="localhost", port=server.port)).status == "succeeded"
    assert check(DIAL.format(host="LocalHost", port=server.port)).status == "succeeded"


def test_a_driver_that_resolves_a_name_itself_is_kept_from_what_is_not_allowed(check, server):
    report = check(DIAL.format(host="localhost", port=server.port), policy=EgressPolicy())
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert server.connections == 0


def test_a_vetted_name_resolves_again_to_the_same_addresses(check, server):
    """For whatever port the driver asks."""
    report = check(f"context.resolve('localhost', {server.port + 1})" + DIAL.format(host="localhost", port=server.port))
    assert report.status == "succeeded"


@pytest.mark.parametrize(
    "dial",
    [
        "socket.socket().connect(('localhost', {port}))",
        "socket.socket().connect((socket.gethostbyname('localhost'), {port}))",
    ],
)
def test_a_name_that_python_does_not_see_resolved_is_kept_out(check, server, dial: str):
    """Even where the policy allows its address."""
    report = check(f"import socket\ncontext.resolve('localhost', 1)\n{dial.format(port=server.port)}")
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert server.connections == 0


def test_a_driver_that_kept_the_resolver_is_kept_from_it_too(check, connector_of, server):
    """One that imported the function by name, for instance."""
    driver = (
        "from socket import getaddrinfo, socket\ndef dial(*place):\n    socket().connect(getaddrinfo(*place)[0][4])"
    )
    connector = connector_of(
        f"import eager_driver\neager_driver.dial('localhost', {server.port})", drivers={"eager_driver": driver}
    )
    assert check(connector, policy=EgressPolicy()).code is FailureCode.ADDRESS_NOT_ALLOWED


@pytest.mark.parametrize("rule", ["127.0.0.0/8:{port}", "localhost:{port}"])
def test_a_driver_that_resolves_a_name_itself_is_kept_from_what_rules_deny(check, server, rule: str):
    """By port or by name; a far end that sends it elsewhere does not get round them by the spelling."""
    report = check(
        f"""
        import socket
        for host in ("localhost", "LocalHost", "localhost.", "\\uff4cocalhost"):
            try: socket.create_connection((host, {server.port}))
            except OSError: continue
            raise AssertionError
        socket.create_connection(("localhost", {server.port}))
        """,
        policy=EgressPolicy(allow_loopback=True, deny=(rule.format(port=server.port),)),
    )
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert server.connections == 0


def test_a_driver_that_resolves_a_name_itself_is_kept_to_what_rules_allow(check, server):
    elsewhere = DIAL.format(host="localhost", port=server.port + 1)
    policy = EgressPolicy(allow_loopback=True, allow=(f"localhost:{server.port}",))
    report = check(DIAL.format(host="localhost", port=server.port) + elsewhere, policy=policy)
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    server.wait_for_connections(1)


def test_an_address_in_a_rare_spelling_is_one_and_not_a_name(check, server):
    """A far end that names it must not choose where in the network the driver goes."""
    report = check(
        f"""
        import socket
        for host in ("127.1", "2130706433", "0x7f.0.0.1"):
            try: socket.create_connection((host, {server.port}))
            except PermissionError: continue
            raise AssertionError
        """
    )
    assert (report.status, server.connections) == ("succeeded", 0)


@pytest.mark.parametrize("port", ["'https'", "b'443'", "'443'", "443"])
def test_a_driver_may_name_a_service_for_the_port(check, port: str):
    report = check(
        f"""
        import socket
        [*found] = socket.getaddrinfo("localhost", {port}, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        assert {{entry[4][1] for entry in found}} == {{443}}
        assert {{entry[1] for entry in found}} == {{socket.SOCK_STREAM}}
        """
    )
    assert report.status == "succeeded"


def test_a_host_that_has_no_address_is_that_to_a_driver_too(check):
    report = check(
        """
        import socket
        for host in ("no-such-host.invalid", "x" * 300, "a\\0b"):
            try:
                socket.getaddrinfo(host, 443)
            except socket.gaierror as error:
                assert error.errno == socket.EAI_NONAME or host.endswith("invalid")
            else:
                raise AssertionError
        """
    )
    assert report.status == "succeeded"


@pytest.mark.parametrize("name", ["{path}", "\\0abstract"])
def test_it_cannot_connect_to_a_unix_socket(check, tmp_path, name: str):
    tmp_path.chmod(0o755)
    path = str(tmp_path / "s") if name == "{path}" else "\0connectory-" + tmp_path.name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        report = check(f"import socket\nsocket.socket(socket.AF_UNIX).connect({path!r})")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    # The kernel refuses the socket itself; where it cannot, the interpreter the connection.
    assert report.code in {FailureCode.INTERNAL_DRIVER_ERROR, FailureCode.ADDRESS_NOT_ALLOWED}


@pytest.mark.parametrize("call", ["sendto(b'x', {place})", "sendmsg([b'x'], [], 0, {place})", "connect({place})"])
def test_who_asks_name_servers_sends_datagrams_to_nobody_else(check, asking, call: str):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        attempt = f"socket.socket(socket.AF_INET, socket.SOCK_DGRAM).{call.format(place=listener.getsockname())}"
        script = f"import socket\ndef test(secrets, context):\n    {attempt}"
        report = check(asking, document=DOCUMENT | {"script": script})
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1)
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED


def test_who_asks_name_servers_reaches_the_systems_own(check, asking):
    script = """
import socket
from connectory.checks.addresses import nameservers
def test(secrets, context):
    for ip in nameservers():
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as query:
            query.connect((ip, 53))
"""
    assert check(asking, document=DOCUMENT | {"script": script}).status == "succeeded"


@pytest.mark.skipif(not seccomp.available(), reason="there is no filter for this machine")
def test_others_have_no_datagrams_and_their_names_are_looked_up_for_them(check, connector_of, server):
    """In a fork of what the test was forked from, where datagrams are to be had; it is gone once it has answered."""
    looking = connector_of(
        """
        import ctypes, errno, os, socket
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.socket(2, 2, 0) < 0 and ctypes.get_errno() == errno.EACCES
        assert {entry[4][0] for entry in socket.getaddrinfo("db.example", PORT)} == {"127.0.0.1"}
        context.connect("db.example", PORT)[0].close()
        for name in ("none.example", "death.example"):
            try:
                socket.getaddrinfo(name, PORT)
            except socket.gaierror as error:
                assert error.errno == {"none": socket.EAI_NONAME, "death": socket.EAI_AGAIN}[name[:-8]]
            else:
                raise AssertionError(name)
        context.resolve("closed.example", PORT)
        """.replace("PORT", str(server.port)),
        top="""
        import os, socket
        from connectory.checks import lookups
        from connectory.checks.addresses import Found

        def look_up(host):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
            if host == "death.example":
                os._exit(1)
            if host == "none.example":
                raise socket.gaierror(socket.EAI_NONAME, "none")
            return Found(("127.0.0.1",) if host == "db.example" else ("169.254.169.254",), host)

        lookups.look_up = look_up
        """,
    )
    report = check(looking)
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED, report
    assert [(step.name, step.status) for step in report.steps][-1] == ("resolve", "failed")


@pytest.mark.parametrize(
    "hidden",
    [
        "except OSError: raise RuntimeError('driver failed') from None",
        "except OSError as error: raise CheckFailed(FailureCode.CONNECT_REFUSED) from error",
        "except OSError: pass\nraise CheckFailed(FailureCode.CONNECT_TIMEOUT)",
        "except OSError as error: raise CheckFailed(FailureCode.AUTH_FAILED) from error",
    ],
)
def test_a_denial_shows_whatever_the_driver_makes_of_it(check, server, hidden: str):
    dial = f"import socket\ntry: socket.create_connection(('127.0.0.1', {server.port}))\n{hidden}"
    report = check(dial)
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert "CONNECTORY_EGRESS" in report.reason


def test_a_denial_shows_where_the_driver_tries_again_until_it_is_ended(check, server):
    report = check(
        f"""
        import socket, time
        while True:
            try: socket.create_connection(("127.0.0.1", {server.port}))
            except OSError: time.sleep(0.01)
        """,
        deadline=0.7,
    )
    assert report.code is FailureCode.ADDRESS_NOT_ALLOWED


def test_a_denial_in_passing_does_not_hide_what_the_server_answered(check, server):
    report = check(
        f"""
        import socket
        try: socket.create_connection(("127.0.0.1", {server.port}))
        except OSError: pass
        raise CheckFailed(FailureCode.AUTH_FAILED)
        """
    )
    assert report.code is FailureCode.AUTH_FAILED


# Settings of the deployer.


def test_the_deployers_settings_reach_the_test_without_the_environment(site, connector_of, check):
    from connectory.catalog.catalog import find_connector

    hooks = (
        "class LedgerSettings(DeployerSettings):\n"
        "    ledger_endpoint: str = 'https://ledger.example'\n"
        "    ledger_hosts: tuple[str, ...] = ()\n"
        "    ledger_retries: int = 3\n"
        "@hookimpl\ndef connectory_settings():\n    return LedgerSettings\n"
    )
    made = connector_of(
        """
        found = context.settings(LedgerSettings)
        assert type(found) is LedgerSettings
        raise CheckFailed(FailureCode.QUERY_FAILED, remedy=f"{found.ledger_endpoint} {found.ledger_retries}")
        """,
        hooks=hooks,
    )
    assert told(check(made)) == "https://ledger.example 3"
    environment = {"CONNECTORY_LEDGER_ENDPOINT": "http://127.0.0.1:9", "CONNECTORY_LEDGER_RETRIES": "7"}
    configured = find_connector(made.identifier, made.record.distribution, environment)
    assert told(check(configured)) == "http://127.0.0.1:9 7"


def test_nothing_heavy_is_imported_for_it():
    heavy = {"fastapi", "sqlalchemy", "cryptography", "uvicorn", "psycopg2"}
    program = (
        "import json, sys, connectory.checks.runner, connectory.checks.forkserver\nprint(json.dumps(list(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not heavy & {name.partition(".")[0] for name in json.loads(printed)}
