"""Plain pip is enough: the built wheels, in a clean environment, run the service."""

import os
import re
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from connectory.testing.ports import free_port
from documentation.pages import blocks
from servers.postgres.server import PostgresServer
from testkit.cache import REPOSITORY
from testkit.curl import environment_with_curl
from testkit.service import running_service, token_of_root
from testkit.wheels import finished, install, new_environment, start, wheels_of


@pytest.fixture(scope="module")
def wheels() -> list[Path]:
    """The wheels of core, the PostgreSQL connector with what it needs, and the console, built as they would be for an index."""
    return wheels_of(*(REPOSITORY / project for project in ("core", "plugins/sql", "plugins/postgres", "console")))


@pytest.fixture(scope="module")
def binaries(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new virtual environment into which pip has put the wheels; what they require was there."""
    binaries = new_environment(tmp_path_factory.mktemp("clean") / "environment")
    install(binaries, "--requirement", REPOSITORY / "core/pyproject.toml", "--extra", "server")
    pip(binaries, wheels, "install", "connectory[server]", "connectory-postgres")
    return binaries


def pip(binaries: Path, wheels: list[Path], *words: str) -> None:
    """Run pip as somebody does who has the wheels."""
    finished(start([binaries / "python", "-m", "pip", "--quiet", *words], settings=_with(wheels)))


def _with(wheels: list[Path]) -> dict[str, str]:
    folders = " ".join(str(wheel.parent) for wheel in wheels)
    return {"PIP_FIND_LINKS": folders, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


@dataclass(frozen=True)
class Used:
    """A service of the environment that has ended. `types` is what it listed, `tested` its verdict on a connection."""

    home: Path
    types: list[str]
    tested: str
    console: httpx.Response
    exit_code: int


@pytest.fixture(scope="module")
def used(binaries: Path, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Used:
    home = tmp_path_factory.mktemp("used") / "home"
    item = {"name": "From wheels", "key": "from_wheels", "connection_type": "postgres", "access": "read"}
    secrets = {
        "host": postgres.host,
        "port": postgres.port,
        "username": postgres.superuser,
        "password": postgres.password,
    }
    with running_service(home, command=binaries / "connectory") as service, api_of(home, service.url) as api:
        types = identifiers(api)
        assert api.patch("/connection", json=[item]).json()["failed"] == []
        tested = api.put("/connection/from_wheels/secret", json=secrets).json()["test_status"]
        console = httpx.get(f"{service.url}/console/", timeout=60)
        return Used(home, types, tested, console, service.end()[0])


def api_of(home: Path, url: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token_of_root(home, url)}"}
    return httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30)


def identifiers(api: httpx.Client) -> list[str]:
    return [found["identifier"] for found in api.get("/connection_type").json()["items"]]


def test_the_wheels_carry_types_licence_and_a_page(wheels: list[Path]) -> None:
    core, *_, console = wheels
    with zipfile.ZipFile(core) as wheel:
        names = wheel.namelist()
        [metadata] = [wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert "connectory/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "## Write a connector" in metadata
    assert "Classifier: Typing :: Typed" in metadata
    with zipfile.ZipFile(console) as wheel:
        names = wheel.namelist()
    for name in ("static/console.js", "static/console.css", "templates/base.html", "py.typed"):
        assert f"connectory_console/{name}" in names


def test_the_service_lists_and_tests_with_what_was_installed(used: Used) -> None:
    assert (used.types, used.tested, used.exit_code) == (["postgres", "manual"], "succeeded", 0)


def test_without_the_console_there_is_no_trace_of_it(binaries: Path, used: Used) -> None:
    assert (used.console.status_code, "set-cookie" in used.console.headers) == (404, False)
    said = finished(start([binaries / "connectory", "console"], settings={"CONNECTORY_HOME": str(used.home)}), code=1)
    assert "pip install 'connectory[console]'" in said


def test_the_console_is_there_once_it_is_installed(binaries: Path, wheels: list[Path], used: Used) -> None:
    """By the command of its page; what it requires was not there before."""
    install(binaries, "--requirement", REPOSITORY / "console/pyproject.toml")
    [block] = commands_of("console/README.md")
    _, *words = shlex.split(block.splitlines()[0])
    pip(binaries, wheels, *words)
    try:
        with running_service(used.home, command=binaries / "connectory") as service:
            page = httpx.get(f"{service.url}/console/sign-in", timeout=60).text
            assert "Client secret" in page
            for address in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page):
                assert httpx.get(service.url + address, timeout=60).status_code == 200
            settings = {"CONNECTORY_HOME": str(used.home), "CONNECTORY_PORT": service.url.rpartition(":")[2]}
            link = finished(start([binaries / "connectory", "console"], settings=settings)).strip()
            code = {"code": link.partition("#code=")[2]}
            answer = httpx.post(
                f"{service.url}/console/sign-in/code", data=code, headers={"Origin": service.url}, timeout=60
            )
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
            assert f"connectory_{settings['CONNECTORY_PORT']}=" in answer.headers["set-cookie"]
    finally:
        pip(binaries, wheels, "uninstall", "--yes", "connectory-console")


def test_an_uninstalled_connector_leaves_its_connections(binaries: Path, wheels: list[Path], used: Used) -> None:
    pip(binaries, wheels, "uninstall", "--yes", "connectory-postgres")
    try:
        with (
            running_service(used.home, command=binaries / "connectory") as service,
            api_of(used.home, service.url) as api,
        ):
            assert identifiers(api) == ["manual"]
            assert api.get("/connection/from_wheels").json()["secrets"]["password"] == "**********"
            tested = api.get("/connection/from_wheels/test").json()
            assert tested["failure_code"] == "connector_unavailable"
            assert "pip install connectory-postgres" in tested["failure_reason"]
            api.delete("/connection/from_wheels").raise_for_status()
            assert api.get("/connection").json()["total"] == 0
    finally:
        pip(binaries, wheels, "install", "--no-deps", "connectory-postgres")


def test_a_plugin_author_s_process_imports_nothing_of_the_service(binaries: Path) -> None:
    program = (
        "import sys, connectory; from connectory.catalog.catalog import build_catalog; c = build_catalog();"
        "[x.schema for x in c.connectors.values()];"
        "print(sorted({'fastapi','sqlalchemy','psycopg2','cryptography','uvicorn'} & sys.modules.keys()), len(c.connectors))"
    )
    assert finished(start([binaries / "python", "-I", "-c", program])).strip() == "[] 2"


_SERVE = """
set -euo pipefail
service=
trap 'test -z "$service" || kill -KILL $service' EXIT
serve() {
  rm -f "$SERVED"; "$@" > "$SERVED" & service=$!
  until grep -qs ready "$SERVED"; do kill -0 $service; sleep 0.1; done
}
end() { kill -TERM $service; wait $service; service=; }
"""
"""To start a service in the background and wait for it, where a page has it in the foreground; and to end it."""


def test_the_commands_of_the_deployers_page_work(
    binaries: Path, wheels: list[Path], tmp_path: Path, postgres: PostgresServer
) -> None:
    postgres.create_database("deployed")
    settings = _with(wheels) | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "CONNECTORY_PORT": str(free_port()),
        "SERVED": str(tmp_path / "served.txt"),
        "DB_HOST": postgres.host,
        "DB_PORT": str(postgres.port),
        "DB_NAME": "deployed",
        "DB_USER": postgres.superuser,
        "DB_PASSWORD": postgres.password,
    }
    commands = commands_of("docs/deployers.md")
    assert len(commands) >= 5
    for command in commands:
        script = _SERVE + re.sub("^connectory serve.*$", r"serve \g<0>; end", command, flags=re.MULTILINE)
        finished(start(["bash", "-c", script.replace("--port 8000", "")], folder=tmp_path, settings=settings))


def test_the_commands_of_readme_work(binaries: Path, wheels: list[Path], tmp_path: Path) -> None:
    """They install from a clone; and the call on the page of the package core, to the same service."""
    install(binaries, "hatchling", "--requirement", REPOSITORY / "console/pyproject.toml")
    port = str(free_port())
    settings = {
        "CONNECTORY_HOME": str(tmp_path / "home"),
        "CONNECTORY_PORT": port,
        "SERVED": str(tmp_path / "served.txt"),
        "BROWSER": "true",
        "PIP_NO_BUILD_ISOLATION": "0",
    }
    settings |= _with(wheels) | environment_with_curl(str(binaries))
    run_it, console = [block for block in commands_of("README.md") if block.startswith("pip ")]
    _, call = commands_of("core/README.md")
    for block in (run_it, console + call):
        script = _SERVE + re.sub("^connectory serve$", r"serve \g<0>", block, flags=re.MULTILINE) + "end\n"
        script = script.replace(":8000", f":{port}")
        printed = finished(start(["bash", "-c", script], folder=REPOSITORY, settings=settings))
    assert f"Opened http://127.0.0.1:{port}/console/ in a browser" in printed
    assert '"identifier":"postgres"' in printed


def test_the_pages_of_core_and_console_show_no_command_that_is_not_run_here() -> None:
    """The first of the console's is run where it is installed."""
    run = {
        line for page in ("README.md", "docs/deployers.md") for text in commands_of(page) for line in text.splitlines()
    }
    (first, _), [console] = commands_of("core/README.md"), commands_of("console/README.md")
    assert {*first.splitlines(), *console.splitlines()[1:]} <= run


def commands_of(page: str) -> list[str]:
    """The blocks of a page that hold commands."""
    return [text for language, text in blocks(REPOSITORY / page) if language == "sh"]
