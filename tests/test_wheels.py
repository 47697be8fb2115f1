"""Plain pip is enough: the built wheels, in a clean environment, run the service."""

import json
import os
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from connectory.testing.ports import free_port
from documentation.pages import blocks
from servers.postgres.server import PostgresServer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of core and the PostgreSQL connector, built as they would be for an index."""
    folder = tmp_path_factory.mktemp("wheels")
    for member in ("core", "plugins/postgres"):
        _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT / member])
    return folder


@pytest.fixture(scope="module")
def binaries(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new virtual environment into which pip has put the wheels."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["-c", ROOT / "constraints.txt", "--find-links", wheels, "connectory[server]", "connectory-postgres"]
    _run(command)
    return folder / "bin"


def test_the_wheels_carry_types_licence_and_a_page(wheels: Path) -> None:
    [core] = wheels.glob("connectory-*.whl")
    with zipfile.ZipFile(core) as wheel:
        names = wheel.namelist()
        [metadata] = [wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert "connectory/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "## Write a connector" in metadata
    assert "Classifier: Typing :: Typed" in metadata


def test_the_service_lists_and_tests_with_what_was_installed(
    binaries: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    item = {"name": "From wheels", "key": "from_wheels", "connection_type": "postgres", "access": "read"}
    with _serving(binaries, _home(tmp_path), tmp_path) as api:
        types = _call(api, "GET", "/connection_type")
        assert [found["identifier"] for found in types["items"]] == ["postgres", "manual"]
        assert _call(api, "PATCH", "/connection", [item])["failed"] == []
        assert _call(api, "PUT", "/connection/from_wheels/secret", _secrets(postgres))["test_status"] == "succeeded"


def test_an_uninstalled_connector_leaves_its_connections(
    binaries: Path, wheels: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    environment = _home(tmp_path)
    item = {"name": "Left behind", "key": "left_behind", "connection_type": "postgres", "access": "read"}
    with _serving(binaries, environment, tmp_path) as api:
        _call(api, "PATCH", "/connection", [item | {"secrets": _secrets(postgres)}])
    pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "uninstall", "--yes", "connectory-postgres"])
    try:
        with _serving(binaries, environment, tmp_path) as api:
            assert [found["identifier"] for found in _call(api, "GET", "/connection_type")["items"]] == ["manual"]
            assert _call(api, "GET", "/connection/left_behind")["secrets"]["password"] == "**********"
            tested = _call(api, "GET", "/connection/left_behind/test")
            assert tested["failure_code"] == "connector_unavailable"
            assert "pip install connectory-postgres" in tested["failure_reason"]
            _call(api, "DELETE", "/connection/left_behind")
            assert _call(api, "GET", "/connection")["total"] == 0
    finally:
        _run([*pip, "install", "--no-deps", "--find-links", wheels, "connectory-postgres"])


def test_a_plugin_author_s_process_imports_nothing_of_the_service(binaries: Path) -> None:
    program = (
        "import sys, connectory; from connectory.catalog.catalog import build_catalog; c = build_catalog();"
        "[x.schema for x in c.connectors.values()];"
        "print(sorted({'fastapi','sqlalchemy','psycopg2','cryptography','uvicorn'} & sys.modules.keys()), len(c.connectors))"
    )
    assert _run([binaries / "python", "-I", "-c", program]).strip() == "[] 2"


class _serving:
    """The service of an environment, as a context manager that gives its address and a token."""

    def __init__(self, binaries: Path, environment: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        command = [binaries / "connectory", "serve", "--port", str(self.port)]
        self.token_command = [binaries / "connectory", "token"]
        self.environment = environment
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> tuple[str, str]:
        assert self.process.stdout.readline()
        token = _run(self.token_command, environment=self.environment).strip()
        return f"http://127.0.0.1:{self.port}/api/v1", token

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(15) == 0
        self.process.stdout.close()


def _home(folder: Path) -> dict[str, str]:
    return _clean_environment() | {"CONNECTORY_HOME": str(folder / "home")}


def _secrets(postgres: PostgresServer) -> dict[str, object]:
    return {"host": postgres.host, "port": postgres.port, "username": postgres.superuser, "password": postgres.password}


def _clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONNECTORY_", "PYTHON", "VIRTUAL_ENV"))
    }


def _run(command: list[object], *, environment: dict[str, str] | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, env=environment or _clean_environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _call(service: tuple[str, str], method: str, path: str, body: object = None) -> dict:
    address, token = service
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        content = response.read()
    return json.loads(content) if content else {}


_SERVE_ONCE = """
serve_once() {
  rm -f served.txt
  "$@" > served.txt & local service=$!
  until grep -qs ready served.txt; do kill -0 $service; sleep 0.1; done
  kill -TERM $service; wait $service
}
"""


def test_the_commands_of_the_deployers_page_work(
    binaries: Path, wheels: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    postgres.create_database("deployed")
    environment = _clean_environment() | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PIP_FIND_LINKS": str(wheels),
        "CONNECTORY_PORT": str(free_port()),
        "DB_HOST": postgres.host,
        "DB_PORT": str(postgres.port),
        "DB_NAME": "deployed",
        "DB_USER": postgres.superuser,
        "DB_PASSWORD": postgres.password,
    }
    commands = [text for language, text in blocks(ROOT / "docs/deployers.md") if language == "sh"]
    assert len(commands) >= 5
    for command in commands:
        # A service in the foreground is started, waited for, and ended.
        lines = [f"serve_once {line}" if line.startswith("connectory serve") else line for line in command.splitlines()]
        script = "\n".join(["set -euo pipefail", _SERVE_ONCE, *lines]).replace("--port 8000", "")
        done = subprocess.run(
            ["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
