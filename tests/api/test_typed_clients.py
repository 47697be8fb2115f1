"""The OpenAPI document gives typed clients: two generators make one each, and a small program is checked against it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testkit.node import NodePackages, node_packages
from testkit.service import RunningService, running_service
from testkit.side_environment import side_python

NAME = "typed_clients"
PROGRAMS = Path(__file__).with_name("typed_clients")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """The home of the service, which holds the credentials of its root client."""
    return tmp_path_factory.mktemp("service") / "home"


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[RunningService]:
    """A service that runs."""
    with running_service(home) as running:
        yield running


@pytest.fixture(scope="module")
def document(service: RunningService, tmp_path_factory) -> Path:
    """The OpenAPI document of the service, as a file."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(httpx.get(f"{service.url}/openapi.json").content)
    return path


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with the generator and mypy."""
    return side_python(NAME)


@pytest.fixture(scope="module")
def python_client(document: Path, python: Path, tmp_path_factory) -> Path:
    """A folder with the package `connectory_client`; the generator had nothing to complain of but that it does not know YAML, and
    gives the operation its other body.
    """
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.yml").write_text("post_hooks: []")
    command = [python.with_name("openapi-python-client"), "generate", "--path", document, "--meta", "none"]
    command += ["--output-path", folder / "connectory_client", "--config", "config.yml"]
    done = attempt(command, folder)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    assert re.findall("^(?:WARNING|ERROR|Unsupported) .*", said, re.MULTILINE) == [
        "WARNING parsing PATCH /api/v1/connection/{connection_key}/dataset within datasets.",
        "Unsupported content type application/yaml",
    ], said[-8000:]
    (folder / "connectory_client" / "py.typed").touch()
    return folder


@pytest.fixture(scope="module")
def node() -> NodePackages:
    """Node.js with openapi-typescript, openapi-fetch and the TypeScript compiler."""
    return node_packages(NAME)


@pytest.fixture(scope="module")
def typescript_client(document: Path, node: NodePackages, tmp_path_factory) -> Path:
    """A folder with `schema.d.ts`, from which packages are found."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(node.folder / "node_modules")
    run([*node.command("openapi-typescript", "bin/cli.js"), document, "--output", folder / "schema.d.ts"], folder)
    return folder


def run(command: list[Path | str], folder: Path) -> str:
    done = attempt(command, folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def attempt(command: list[Path | str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


PYTHON_MISTAKES = [
    ("ConnectionItemAccess.READ", '"sometimes"'),
    ("key: str = connection.key", "key: int = connection.key"),
    ("password.title", "password.titel"),
    ("secrets=Secrets.from_dict(", "secret=Secrets.from_dict("),
]
TYPESCRIPT_MISTAKES = [
    ('access: "read"', 'access: "sometimes"'),
    ("Promise<Connection>", "Promise<number>"),
    ("schema.data.properties", "schema.data.property"),
    ("secrets: {", "secret: {"),
]


def write_programs(folder: Path, program: str, mistakes: list[tuple[str, str]]) -> list[str]:
    """Write the program, and one for each mistake in it; return their names, that of the right one first."""
    source, ending = (PROGRAMS / program).read_text(), Path(program).suffix
    assert all(right in source for right, _ in mistakes)
    written = {program: source} | {
        f"mistake_{number}{ending}": source.replace(*mistake) for number, mistake in enumerate(mistakes)
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    return list(written)


@pytest.fixture(scope="module")
def said_of_python(python: Path, python_client: Path) -> str:
    """What mypy says of all programs at once: each time it starts it takes seconds."""
    names = write_programs(python_client, "program.py", PYTHON_MISTAKES)
    return attempt([python, "-m", "mypy", "--strict", *names], python_client).stdout


@pytest.fixture(scope="module")
def said_of_typescript(node: NodePackages, typescript_client: Path) -> str:
    """What the TypeScript compiler says of all programs at once."""
    names = write_programs(typescript_client, "program.ts", TYPESCRIPT_MISTAKES)
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    return attempt([*node.command("typescript", "bin/tsc"), *options, *names], typescript_client).stdout


def test_a_python_program_fits_its_client_under_mypy_strict(said_of_python: str) -> None:
    assert f" in {len(PYTHON_MISTAKES)} files (checked {len(PYTHON_MISTAKES) + 1} source files)" in said_of_python
    assert "program.py:" not in said_of_python


@pytest.mark.parametrize("number", range(len(PYTHON_MISTAKES)))
def test_a_mistake_in_a_python_program_is_found(said_of_python: str, number: int) -> None:
    assert f"mistake_{number}.py:" in said_of_python


def test_the_python_program_saves_a_connection_with_its_secrets(python, python_client, service, home):
    (python_client / "saving.py").write_text((PROGRAMS / "program.py").read_text())
    credentials = json.loads((home / "root_client.json").read_text())
    command = [python, "saving.py", service.url, credentials["client_id"], credentials["client_secret"]]
    printed = json.loads(run(command, python_client))
    assert (printed["title"], printed["sensitive"]) == ("Password", True)
    connection = printed["connection"]
    assert (connection["key"], connection["secrets_state"]) == ("typed", "stored")
    secrets = {"host": "db.example.com", "dbname": "app", "username": "reader", "password": "**********"}
    assert {name: connection["secrets"][name] for name in secrets} == secrets


def test_a_typescript_program_fits_its_client_under_tsc_strict(said_of_typescript: str) -> None:
    assert said_of_typescript.count("error TS") >= len(TYPESCRIPT_MISTAKES)
    assert "program.ts(" not in said_of_typescript


@pytest.mark.parametrize("number", range(len(TYPESCRIPT_MISTAKES)))
def test_a_mistake_in_a_typescript_program_is_found(said_of_typescript: str, number: int) -> None:
    assert f"mistake_{number}.ts(" in said_of_typescript
