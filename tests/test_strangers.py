"""The connectors in `examples`: written against the public names alone, small, and right with the servers that they are for.

Everything runs in an environment that holds wheels only: core's, theirs, and their drivers.
"""

import ast
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from documentation.pages import blocks
from servers.redis.server import RedisServer
from testkit.cache import REPOSITORY
from testkit.debian import REDIS_PACKAGES, SLAPD_PACKAGES, libraries_in, unpacked
from testkit.service import running_service, token_of_root
from testkit.side_environment import LISTS
from testkit.wheels import finished, install, new_environment, start, wheels_of

EXAMPLES = REPOSITORY / "examples"
STRANGERS = ("ldap", "redis", "s3")
each = pytest.mark.parametrize("name", STRANGERS)


def module_of(name: str) -> Path:
    return EXAMPLES / f"connectory-{name}" / f"connectory_{name}.py"


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheels, and what their tests need."""
    core, *theirs = wheels_of(REPOSITORY / "core", *(EXAMPLES / f"connectory-{name}" for name in STRANGERS))
    binaries = new_environment(tmp_path_factory.mktemp("strangers") / "environment")
    pinned = (LISTS / "strangers.txt").read_text().split()
    install(binaries, f"connectory[http,server,testing] @ {core.as_uri()}", *theirs, *pinned, "flask", "mypy")
    return binaries


@pytest.fixture(scope="module")
def runs(binaries: Path) -> Iterator[Mapping[str, Popen[str]]]:
    """The tests of each, running at once: most of the time they wait for silent servers."""
    redis, slapd = unpacked("redis", REDIS_PACKAGES), unpacked("slapd", SLAPD_PACKAGES)
    settings = {
        "PATH": os.pathsep.join(map(str, [binaries, redis / "usr/bin", slapd / "usr/sbin", "/usr/bin", "/bin"])),
        "LD_LIBRARY_PATH": f"{libraries_in(redis)}:{libraries_in(slapd)}",
    }
    command = [binaries / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--noconftest"]
    running = {
        name: start([*command, "--rootdir", folder, folder / "tests"], settings=settings)
        for name in STRANGERS
        for folder in [EXAMPLES / f"connectory-{name}"]
    }
    yield running
    for process in running.values():
        with process:
            process.kill()


@pytest.fixture(scope="module")
def api(runs: object, binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service in that environment."""
    home = tmp_path_factory.mktemp("service") / "home"
    with running_service(home, command=binaries / "connectory") as service:
        headers = {"Authorization": f"Bearer {token_of_root(home, service.url)}"}
        with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=60) as client:
            yield client


@each
def test_a_module_has_less_than_sixty_lines_of_ordinary_width(name: str) -> None:
    lines = module_of(name).read_text().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 130


@each
def test_a_module_reaches_for_public_names_only(name: str) -> None:
    """That its tests do too is shown for all that is in this repository; here, that nothing private is reached by attribute."""
    reached = [
        node.attr for node in ast.walk(ast.parse(module_of(name).read_text())) if isinstance(node, ast.Attribute)
    ]
    assert [attribute for attribute in reached if attribute.startswith("_")] == []


def test_the_service_lists_all(api: httpx.Client) -> None:
    listed = {item["identifier"]: item for item in api.get("/connection_type").json()["items"]}
    assert {name: listed[name]["type"] for name in STRANGERS} == {
        "ldap": "directory",
        "redis": "database",
        "s3": "object_store",
    }


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({}, None, None),
        ({"password": "wrong"}, "auth_failed", "The server rejected the credentials; check user name and password."),
        (
            {"database": 4711},
            "database_not_found",
            "The login was accepted, but the server has no database of this number.",
        ),
        (
            {"port": 1},
            "connect_refused",
            "The host refused the connection; check host and port, and that the server is running.",
        ),
    ],
    ids=["right", "password", "database", "port"],
)
def test_the_service_tests_with_one(api: httpx.Client, redis: RedisServer, changes, code, reason) -> None:
    good = {"host": "127.0.0.1", "port": redis.port, "username": redis.username, "password": redis.password}
    item = {"key": "stranger", "name": "Stranger", "connection_type": "redis", "access": "read"}
    saved = api.patch("/connection", json=[item | {"secrets": good | {"ssl_mode": "disabled"} | changes}])
    assert saved.json()["failed"] == []
    report = api.get("/connection/stranger/test").json()
    assert (report["failure_code"], report["failure_reason"]) == (code, reason)
    assert report["test_status"] == ("failed" if code else "succeeded")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_their_types_are_right(binaries: Path) -> None:
    modules = [module_of(name) for name in STRANGERS]
    command = [binaries / "python", "-m", "mypy", "--strict", "--ignore-missing-imports"]
    assert "no issues found" in finished(start([*command, *modules]))


@each
def test_each_passes_the_kit_and_its_own_tests(runs: Mapping[str, Popen[str]], name: str) -> None:
    assert "34 passed" in finished(runs[name])


def test_what_their_pages_say_to_install_can_be(binaries: Path) -> None:
    """From a clone, so after all that needs the wheels; uv stands in for pip, which is slower. Then they say what was run."""
    named: set[str] = set()
    for name in STRANGERS:
        [(_, block)] = blocks(EXAMPLES / f"connectory-{name}" / "README.md")
        to_install, to_test = block.splitlines()
        assert to_test == f"python -m pytest examples/connectory-{name}"
        named |= set(to_install.removeprefix("pip install ").replace("-e ", "").replace('"', "").split())
    assert named == {"core[testing]", *(f"examples/connectory-{name}[test]" for name in STRANGERS)}
    install(binaries, *(f"--editable={REPOSITORY / project}" for project in named))
