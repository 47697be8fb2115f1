"""The connectors on the page for plugin authors work as they stand there."""

import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectory.testing import CheckReport, Workbench
from connectory.testing.certificates import Certificates
from documentation.pages import ROOT, blocks
from servers.redis.server import RedisServer
from testkit.debian import REDIS_PACKAGES, libraries_in, unpacked
from testkit.distribution import install
from testkit.wheels import finished, start

PAGE = ROOT / "docs/plugin-authors.md"
Check = Callable[..., CheckReport]


def shown_module(docstring: str) -> str:
    """The one code block of the page that begins with this docstring."""
    [found] = [text for _, text in blocks(PAGE) if text.startswith(f'"""{docstring}')]
    return found


def install_shown(site: Path) -> None:
    """Install the page's connector to a folder, as its excerpt of pyproject.toml says."""
    [shown] = [text for language, text in blocks(PAGE) if language == "toml" and "connectory-redis" in text]
    project = tomllib.loads(shown)["project"]
    install(
        site,
        project["name"],
        version=project["version"],
        entry_points=project["entry-points"]["connectory.connectors"],
        modules={"connectory_redis": shown_module("A connector for Redis")},
        requires=project["dependencies"],
    )


@pytest.fixture(scope="module")
def redis(certificates: Certificates) -> Iterator[RedisServer]:
    with RedisServer(certificate=certificates.server) as server:
        yield server


@pytest.fixture(scope="module")
def check(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Check]:
    """Test a connection to the server with the page's connector, installed from its module."""
    site = tmp_path_factory.mktemp("site")
    install_shown(site)
    with pytest.MonkeyPatch.context() as patch, Workbench() as workbench:
        patch.setattr(sys, "path", [str(site), *sys.path])

        def run(**changes: Any) -> CheckReport:
            good = {"host": "localhost", "port": redis.port, "username": redis.username, "password": redis.password}
            return workbench.test("redis", "connectory-redis", good | changes).report

        yield run


def test_a_complete_database_connector_has_less_than_fifty_lines_of_ordinary_width():
    lines = shown_module("A connector for Redis").splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 120


def test_it_connects_with_and_without_tls(check: Check, redis: RedisServer, certificates: Certificates):
    plain, encrypted = check(database=3), check(port=redis.tls_port, ssl_mode="verify-full", ssl_ca=certificates.ca_pem)
    assert [(step.name, step.status) for step in plain.steps] == [
        *[("resolve", "passed"), ("connect", "passed"), ("tls", "skipped")],
        *[("authenticate", "passed"), ("query", "passed")],
    ]
    assert [step.status for step in encrypted.steps] == ["passed"] * 5


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"password": "wrong"}, "auth_failed"),
        ({"username": "nobody"}, "auth_failed"),
        ({"database": 4711}, "database_not_found"),
        ({"host": "nowhere.invalid"}, "dns_failed"),
        ({"port": 1}, "connect_refused"),
    ],
    ids=str,
)
def test_it_says_what_is_wrong(check: Check, changes: dict[str, Any], code: str):
    assert check(**changes).code == code


def test_it_trusts_nobody_it_should_not(check: Check, redis: RedisServer, certificates: Certificates):
    stranger = check(port=redis.tls_port, ssl_mode="verify-full", ssl_ca=certificates.other_ca_pem)
    assert (stranger.code, stranger.steps[-1].name) == ("tls_untrusted", "tls")


def test_the_tests_that_the_page_shows_for_it_pass(tmp_path: Path):
    """With warnings as errors, as in the project that they are written for. They write the schema, as the page says."""
    install_shown(tmp_path / "site")
    tests = tmp_path / "test_redis.py"
    tests.write_text(shown_module("The connector keeps the contract, with a real Redis"))
    root = unpacked("redis", REDIS_PACKAGES)
    settings = {
        "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": libraries_in(root),
        "PYTHONPATH": str(tmp_path / "site"),
        "CONNECTORY_UPDATE_GOLDEN": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tests]
    assert "33 passed, 4 skipped" in finished(start(command, folder=tmp_path, settings=settings))
