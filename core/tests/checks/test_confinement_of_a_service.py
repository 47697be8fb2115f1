"""What a hostile test can do to a real service, with a real key file, root client's file and database: cost one failed test.

Each attack is code in the test's own process, as a bug in a driver would let a server run it. It runs against a service that
root has started and one that an ordinary user has, with Landlock, and as on a kernel that lacks it.
"""

import json
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

import testkit.launch
from testkit.distribution import install, plugin_source
from testkit.loopback import LoopbackServer, Peer
from testkit.processes import remove_folder, temporary_folder
from testkit.service import RunningService, running_service

ORDINARY = 12_345
DEADLINE = 4
SECRET = "s3cret-of-another-test-5d1c"

# Its test does what its secrets say. `done` is how it tells that an attack went through; a refusal is an exception.
IMPORTS = "import ctypes, os, signal, socket, sys, time\nfrom typing import Annotated\nfrom connectory import Text\n"
HOOKS = {
    "connectory_secret_schema": """
class Scripted(Secrets):
    token: SecretText
    script: Annotated[str, Text(max_length=100_000, pattern=r"[\\s\\S]*")]

@hookimpl
def connectory_secret_schema():
    return Scripted
""",
    "connectory_test_connection": """
libc = ctypes.CDLL(None, use_errno=True)

def done(what):
    raise CheckFailed(FailureCode.QUERY_FAILED, remedy=f"went through: {what}")

def native(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

@hookimpl
def connectory_test_connection(secrets, context):
    exec(secrets.script, dict(globals()) | {"context": context, "secrets": secrets})
""",
}


class Kind(NamedTuple):
    """How a service is started, and what its tests are confined by."""

    user: int
    landlock: bool
    level: str


KINDS = {
    "root": Kind(0, True, "landlock"),
    "root-without-landlock": Kind(0, False, "uid"),
    "ordinary": Kind(ORDINARY, True, "landlock"),
    "ordinary-without-landlock": Kind(ORDINARY, False, "none"),
}


class Deployment:
    """A running service with a hostile connector, and what it must keep."""

    def __init__(self, kind: Kind, service: RunningService, home: Path) -> None:
        self.kind, self.service, self.home = kind, service, home
        self.pid = service.process.pid
        credentials = json.loads((home / "root_client.json").read_text())
        self.client = httpx.Client(base_url=f"{service.url}/api/v1", timeout=60)
        given = {"grant_type": "client_credentials"} | credentials
        token = self.client.post("/oauth/token", data=given).raise_for_status().json()["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"
        self.kept = self.files()

    def files(self) -> dict[str, tuple[bytes, int, int]]:
        """Content, mode and owner of the files that only the deployment's administrator changes."""
        names = ("keys.json", "root_client.json")
        found = {name: ((self.home / name).read_bytes(), (self.home / name).stat()) for name in names}
        return {name: (content, seen.st_mode, seen.st_uid) for name, (content, seen) in found.items()}

    def store(self, key: str, script: str, secret: str = "t0ken") -> None:
        secrets = {"token": secret, "script": textwrap.dedent(script)}
        item = {"name": key, "key": key, "connection_type": "hostile", "access": "read", "secrets": secrets}
        answer = self.client.patch("/connection", json=[item])
        assert answer.status_code == 200, answer.text
        assert [saved["key"] for saved in answer.json()["succeeded"]] == [key], answer.text

    def test(self, key: str) -> dict[str, Any]:
        return self.client.get(f"/connection/{key}/test").raise_for_status().json()

    def attack(self, script: str, within: float = DEADLINE + 3) -> dict[str, Any]:
        """Run `script` as a test; return its answer once it is shown that nothing else suffered."""
        self.store("attack", script)
        began = time.monotonic()
        answer = self.test("attack")
        assert time.monotonic() - began < within, answer
        assert answer["test_status"] == "failed", answer
        assert self.test("sound")["test_status"] == "succeeded"
        assert self.service.process.poll() is None
        assert self.files() == self.kept
        return answer


def went_through(answer: dict[str, Any]) -> bool:
    return "went through" in (answer["failure_reason"] or "")


def give_to(user: int, folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, user, user)


@pytest.fixture(scope="module", params=KINDS)
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    kind = KINDS[request.param]
    if os.geteuid() != 0 and kind.user == 0:
        pytest.skip("only root can start a service as root")
    folder = temporary_folder("confined")
    try:
        home, site = folder / "home", folder / "site"
        home.mkdir(mode=0o700)
        (home / "empty").mkdir()
        source = plugin_source("hostile", before=IMPORTS, hooks=HOOKS)
        install(site, "acme-hostile", entry_points={"hostile": "hostile_plugin"}, modules={"hostile_plugin": source})
        launcher = [sys.executable, "-I", testkit.launch.__file__]
        launcher += [] if kind.landlock else ["--without-landlock"]
        if os.geteuid() == 0:
            launcher += ["--user", str(kind.user)]
            give_to(kind.user, home)
        settings = {
            "PYTHONPATH": str(site),
            "CONNECTORY_PROBE_DEADLINE": str(DEADLINE),
            "CONNECTORY_PLUGINS_ALLOW": "hostile",
        }
        with running_service(home, settings, launcher) as service:
            found = Deployment(kind, service, home)
            with closing(found.client):
                found.store("sound", "pass")
                yield found
            assert found.files() == found.kept
            assert service.end()[0] == 0
        with sqlite3.connect(home / "connectory.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        remove_folder(folder)


def test_what_confines_tests_is_said(deployment):
    status = deployment.client.get("/status").json()
    assert status["confinement"] == deployment.kind.level
    assert status["native_connections"] == ("limited" if deployment.kind.landlock else "open")
    lines = deployment.service.log.read_text().splitlines()
    for about in ("does not offer Landlock", "does not limit TCP"):
        assert sum(about in line for line in lines) == (0 if deployment.kind.landlock else 1), about


def test_a_test_has_given_up_what_it_does_not_need(deployment):
    """Seen from inside: dumps, tracing, privileges, groups, capabilities; at most the right to read what belongs to others."""
    script = """
    import resource
    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))
    capabilities = (ctypes.c_uint32 * 6)()
    assert libc.capget(ctypes.byref(Header(0x20080522, 0)), capabilities) == 0
    found = {
        "dumpable": libc.prctl(3, 0, 0, 0, 0),
        "may gain privileges": 1 - libc.prctl(39, 0, 0, 0, 0),
        "groups": os.getgroups(),
        "root": 0 in os.getresuid() + os.getresgid(),
        "capabilities": any(capabilities[1:]) or capabilities[0] & ~4,
        "core dumps": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "may grow files": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    }
    if any(found.values()):
        done(found)
    raise PermissionError
    """
    assert not went_through(deployment.attack(script))


def test_the_kernel_ends_tests_and_not_the_service_when_memory_runs_out(deployment):
    """And where root starts the service, each of its tests is a user of its own."""
    with a_test_that_runs(deployment):
        below = psutil.Process(deployment.pid).children(recursive=True)
        priorities = {Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() for process in below}
        users = [process.uids().real for process in below]
    assert priorities == {"1000"}
    assert int(Path(f"/proc/{deployment.pid}/oom_score_adj").read_text()) < 1000
    assert len(set(users)) == (2 if deployment.kind.user == 0 else 1), users


READS = {
    "key file": "open({home!r} + '/keys.json', 'rb').read()",
    "root client": "open({home!r} + '/root_client.json', 'rb').read()",
    "database": "open({home!r} + '/connectory.db', 'rb').read()",
    "write-ahead log": "open({home!r} + '/connectory.db-wal', 'rb').read()",
    "home": "os.listdir({home!r})",
    "native": "native(libc.open(({home!r} + '/keys.json').encode(), 0))",
    "mmap": "__import__('mmap').mmap(os.open({home!r} + '/keys.json', os.O_RDONLY), 0, prot=1).read(9)",
    "memory": "open('/proc/{pid}/mem', 'rb')",
    "environment": "open('/proc/{pid}/environ', 'rb').read()",
    "fork server's memory": "open('/proc/%d/mem' % {parent}, 'rb')",
    "fork server's descriptors": "os.listdir('/proc/%d/fd' % {parent})",
    "root of the service": "os.listdir('/proc/{pid}/root')",
}
CHANGES = {
    "write": "open({home!r} + '/keys.json', 'r+b').write(b'x')",
    "open to truncate": "os.open({home!r} + '/keys.json', os.O_WRONLY | os.O_TRUNC)",
    "truncate": "os.truncate({home!r} + '/keys.json', 0)",
    "rename": "os.rename({home!r} + '/keys.json', {home!r} + '/other')",
    "replace": "os.rename({home!r} + '/root_client.json', {home!r} + '/keys.json')",
    "unlink": "os.unlink({home!r} + '/connectory.db')",
    "link": "os.link({home!r} + '/keys.json', {home!r} + '/mine')",
    "symbolic link": "os.symlink('/', {home!r} + '/mine')",
    "create": "os.open({home!r} + '/mine', os.O_CREAT | os.O_WRONLY)",
    "make a folder": "os.mkdir({home!r} + '/folder')",
    "remove": "os.rmdir({home!r} + '/empty')",
    "shared mapping": "__import__('mmap').mmap(os.open({home!r} + '/keys.json', os.O_RDWR), 0)",
    "watch": "native(libc.inotify_add_watch(native(libc.inotify_init()), {home!r}.encode(), 0xFFF))",
    "mode": "os.chmod({home!r} + '/keys.json', 0)",
    "times": "os.utime({home!r} + '/keys.json', (0, 0))",
    "bind": "native(libc.mount({home!r}.encode(), b'/mnt', None, 4096, None))",
}
OUTSIDE = {
    "trace the service": "native(libc.ptrace(0x4206, {pid}, 0, 0))",
    "trace the fork server": "native(libc.ptrace(0x4206, {parent}, 0, 0))",
    "signal the fork server": "os.kill({parent}, signal.SIGKILL)",
    "signal the service": "os.kill({pid}, signal.SIGTERM)",
    "listen where others are called": "socket.create_server(('127.0.0.1', {free}))",
    "connect to an abstract socket": (
        "[end := socket.socket(socket.AF_UNIX), native("
        "libc.connect(end.fileno(), b'\\1\\0\\0' + {abstract!r}.encode(), {length}))]"
    ),
    "connect to a socket in a folder": (
        "[end := native(libc.socket(1, 1, 0)), native(libc.connect(end, b'\\1\\0' + {path!r}.encode(), 2 + len({path!r})))]"
    ),
    "send to a socket in a folder": (
        "[ends := socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM), ends[0].sendto(b'x', {datagrams!r})]"
    ),
    "run a program": "os.posix_spawn('/usr/bin/env', ['env'], {{}})",
    "take the service's descriptors": "__import__('resource').prlimit({pid}, 7, (3, 3))",
    "slow the service down": "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
    "keep the service to a processor": "os.sched_setaffinity({pid}, {{0}})",
    "leave memory behind": "[left := native(libc.shmget(0, 4096, 0o1600)), libc.shmctl(left, 0, None)]",
    "read the service's memory": "native(libc.process_vm_readv({pid}, None, 0, None, 0, 0))",
    "connect elsewhere": "native(libc.connect(native(libc.socket(2, 1, 0)), {elsewhere!r}, 16))",
    "connect elsewhere by a thread": (
        "[held := [], one := __import__('threading').Thread("
        "target=lambda: held.append(libc.connect(libc.socket(2, 1, 0), {elsewhere!r}, 16))), "
        "one.start(), one.join(), native(held[0])]"
    ),
    "connect elsewhere by sending": "native(libc.sendto(native(libc.socket(2, 1, 0)), b'x', 1, 0x20000000, {elsewhere!r}, 16))",
    "connect elsewhere by MPTCP": "native(libc.connect(native(libc.socket(2, 1, 262)), {elsewhere!r}, 16))",
    "send a datagram": "native(libc.sendto(native(libc.socket(2, 2, 0)), b'x', 1, 0, {elsewhere!r}, 16))",
    "open a socket of pings": "native(libc.socket(2, 2, 1))",
    "open io_uring": "native(libc.syscall(425, 1, ctypes.create_string_buffer(120)))",
    "enter a user namespace": "native(libc.unshare(0x10000000))",
}
ONLY_LANDLOCK = {
    "listen where others are called",
    "run a program",
    "connect elsewhere",
    "connect elsewhere by a thread",
}
CLOSED_TO_MANY = {"connect elsewhere by MPTCP", "open a socket of pings", "open io_uring", "enter a user namespace"}
"""What a machine may keep everybody from: then it goes through nowhere."""


def attempt(call: str) -> str:
    return f"x = {call}\ndone(repr(x)[:20])"


@contextmanager
def places(home: Path, pid: int | str, parent: int | str) -> Iterator[dict[str, Any]]:
    """What the attacks are aimed at."""
    name = f"connectory-{os.getpid()}"
    path = home / "socket"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.socket() as free,
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
    ):
        listener.bind(f"\0{name}")
        listener.listen()
        other.bind(str(path))
        other.listen()
        datagrams.bind(f"{path}-of-datagrams")
        for one in (path, Path(f"{path}-of-datagrams")):
            one.chmod(0o777)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        yield {"home": str(home), "pid": pid, "parent": parent} | {
            "free": port,
            "abstract": name,
            "length": 3 + len(name),
            "path": str(path),
            "datagrams": f"{path}-of-datagrams",
            "elsewhere": struct.pack("<H", 2)
            + struct.pack(">H", elsewhere.getsockname()[1])
            + bytes([127, 0, 0, 1] + [0] * 8),
            "canary": elsewhere,
        }
    path.unlink()
    Path(f"{path}-of-datagrams").unlink()


@pytest.mark.parametrize("attack", [*READS, *CHANGES, *OUTSIDE])
def test_each_attack_goes_through_where_nothing_confines_it(attack: str, tmp_path: Path):
    """Or that it fails elsewhere would show nothing."""
    if attack == "bind" and os.geteuid() != 0:
        pytest.skip("only root mounts")
    for name in ("keys.json", "root_client.json", "connectory.db", "connectory.db-wal"):
        (tmp_path / name).write_bytes(b"content")
    (tmp_path / "empty").mkdir()
    call = (READS | CHANGES | OUTSIDE)[attack]
    with subprocess.Popen(["sleep", "60"]) as victim, places(tmp_path, victim.pid, victim.pid) as aim:
        program = CONTROL + attempt(call.format(**aim))
        in_a_namespace = ["unshare", "-m"] if attack == "bind" else []
        done = subprocess.run([*in_a_namespace, sys.executable, "-c", program], capture_output=True, text=True)
        victim.kill()
    if attack in CLOSED_TO_MANY and "OSError" not in done.stderr and not done.stdout:
        pytest.skip("this machine keeps everybody from it")
    assert done.stdout.startswith("went through"), done.stderr


CONTROL = """
import ctypes, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def done(what):
    print(f"went through: {what}")
def native(result):
    assert result >= 0
    return result
"""


@pytest.mark.parametrize("read", READS)
def test_nothing_of_the_service_can_be_read(deployment, read: str):
    if deployment.kind.level == "none" and "keys.json" in READS[read] + "keys.json" * ("{home" in READS[read]):
        pytest.skip("neither the kernel nor the user keeps a test from its own user's files")
    with places(deployment.home, deployment.pid, "os.getppid()") as aim:
        answer = deployment.attack(attempt(READS[read].format(**aim)))
    assert not went_through(answer)


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_of_the_service_can_be_changed(deployment, change: str):
    """An ordinary user's files are read-only to its tests even without Landlock, where it may have user namespaces."""
    with places(deployment.home, deployment.pid, "os.getppid()") as aim:
        answer = deployment.attack(attempt(CHANGES[change].format(**aim)))
    assert not went_through(answer)


@pytest.mark.parametrize("call", OUTSIDE)
def test_no_other_process_can_be_reached(deployment, call: str):
    if not deployment.kind.landlock and (call in ONLY_LANDLOCK or ("signal" in call and deployment.kind.user != 0)):
        pytest.skip("only Landlock keeps a test from that")
    with places(deployment.home, deployment.pid, "os.getppid()") as aim:
        answer = deployment.attack(attempt(OUTSIDE[call].format(**aim)))
        assert not went_through(answer)
        aim["canary"].settimeout(0)
        with pytest.raises(BlockingIOError):  # nobody got there
            aim["canary"].accept()


def test_signals_to_everybody_reach_nobody_else(deployment):
    """The call may say that it did it; that the service, its fork servers and its other tests live on says that it did not."""
    if deployment.kind.level == "none":
        pytest.skip("nothing keeps a test from signals to its own user's processes")
    with a_test_that_runs(deployment) as running:
        deployment.attack("os.kill(-1, signal.SIGKILL)\n1 / 0")
    assert running.result()["test_status"] == "succeeded"


@contextmanager
def a_test_that_runs(deployment: Deployment) -> Iterator[Future[dict[str, Any]]]:
    """Another test of the same connector, with a secret of its own, that runs until the block ends."""
    told = threading.Event()

    def far_end(peer: Peer) -> None:
        while not told.is_set():
            peer.pause(0.01)
        peer.send(b"-")

    with LoopbackServer(far_end) as server, ThreadPoolExecutor() as threads:
        script = f"link, _ = context.connect('127.0.0.1', {server.port})\nassert link.recv(1) == b'-'"
        deployment.store("other", script, SECRET)
        running = threads.submit(deployment.test, "other")
        server.wait_for_connections(1)
        try:
            yield running
        finally:
            told.set()
        running.result()


def test_the_memory_of_no_other_test_can_be_read(deployment):
    """By any process id that there may be."""
    script = """
    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
    held = ctypes.create_string_buffer(8)
    local, remote = Vector(ctypes.addressof(held), 8), Vector(ctypes.addressof(held), 8)
    def reads(process):
        return libc.process_vm_readv(process, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) >= 0
    readable = [process for process in range(1, 40_000) if process != os.getpid() and reads(process)]
    if readable:
        done(readable)
    raise PermissionError
    """
    with a_test_that_runs(deployment):
        assert not went_through(deployment.attack(script))


@pytest.mark.parametrize("ending", ["os._exit(1)", "os.setsid()"])
def test_ten_thousand_forks_are_one_failed_test(deployment, ending: str):
    """Each forks on, in a session of its own or not, and nothing of it is left: an orphan goes to the fork server."""
    service = psutil.Process(deployment.pid)
    before = len(service.children(recursive=True))
    script = f"""
    given_up = time.monotonic() + 120
    def bomb():
        for _ in range(10_000):
            try:
                if os.fork() == 0:
                    {"os.setsid()" if ending == "os.setsid()" else "pass"}
                    while time.monotonic() < given_up:  # long after the deadline, but not for ever
                        try:
                            os.fork()
                        except OSError:
                            time.sleep(0.02)
                    os._exit(0)
            except OSError:
                pass
    bomb()
    raise RuntimeError
    """
    deployment.attack(script, within=DEADLINE + 30)  # seventy processes compete with the service for the processors
    give_up = time.monotonic() + 60
    while len(service.children(recursive=True)) >= before + 10:  # they are killed once the test is answered
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_memory_is_one_failed_test(deployment):
    answer = deployment.attack("held = []\nwhile True: held.append(bytearray(1 << 24))")
    assert answer["failure_code"] == "resource_limit"


def test_a_fork_server_that_cannot_fork_fails_that_test_only(deployment):
    if deployment.kind.user == 0:
        pytest.skip("no limit of processes holds for root")
    assert deployment.test("sound")["test_status"] == "succeeded"
    [root] = (child for child in psutil.Process(deployment.pid).children() if "forkserver" in " ".join(child.cmdline()))
    [branch] = root.children()

    def limit(processes: str) -> None:
        account = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(["prlimit", f"--pid={branch.pid}", f"--nproc={processes}:"], check=True, **account)

    limit("1")
    deployment.test("sound")  # in the process that waits for it, if there is one
    assert deployment.test("sound")["failure_code"] == "resource_limit"
    limit("1000")
    assert deployment.test("sound")["test_status"] == "succeeded"
    assert root.children() == [branch]
