"""An author's own type checker finds mistakes, with the built wheel of core in a clean environment.

`mypy --strict`, and in the editor Pyright, which most editors run: with what it checks by default.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from testkit.cache import REPOSITORY
from testkit.side_environment import side_python
from testkit.wheels import install, new_environment, wheels_of

GOOD = """\
from pydantic import BaseModel

from connectory import CheckContext, Connector, Description, Host, Port, Secrets, SecretText


class RedisSecrets(Secrets):
    host: Host
    port: Port = 6379
    password: SecretText | None = None


class OtherSecrets(Secrets):
    account: str


class NotSecrets(BaseModel):
    host: str


class Redis(Connector[RedisSecrets]):
    identifier = "redis"
    type = "database"
    description = Description(human_readable="Redis", category="DATABASE", drivers=("redis",))

    def test(self, secrets: RedisSecrets, context: CheckContext) -> None:
        with context.open(secrets.host, secrets.port) as link, context.step("authenticate"):
            if secrets.password is not None:
                link.socket.sendall(secrets.password.get_secret_value().encode())


redis = Redis()
"""

WRONG = {
    "test() takes no context": (
        "def test(self, secrets: RedisSecrets, context: CheckContext) -> None:",
        "def test(self, secrets: RedisSecrets) -> None:",
        "override",
        "def test(",
    ),
    "test() takes another class of secrets": (
        "def test(self, secrets: RedisSecrets,",
        "def test(self, secrets: OtherSecrets,",
        "override",
        "def test(",
    ),
    "the parameter is not a class of secrets": (
        "class Redis(Connector[RedisSecrets]):",
        "class Redis(Connector[NotSecrets]):",
        "type-var",
        "class Redis(",
    ),
    "a secret's name is misspelt": ("secrets.host", "secrets.hots", "attr-defined", "secrets.hots"),
    "a method's name is misspelt": ("context.open(", "context.opne(", "attr-defined", "context.opne("),
    "the identifier is a number": ('identifier = "redis"', "identifier = 5", "assignment", "identifier = 5"),
    "the description is text": (
        'description = Description(human_readable="Redis", category="DATABASE", drivers=("redis",))',
        'description = "Redis"',
        "assignment",
        'description = "Redis"',
    ),
    "an attribute's name is misspelt": ('identifier = "redis"', 'identifer = "redis"', "abstract", "redis = Redis()"),
}
"""By what is wrong: what it is in the good plugin, what instead, mypy's code for the error, and the line that gets it."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel of core, with what it requires, and mypy."""
    binaries = new_environment(tmp_path_factory.mktemp("typed") / "environment")
    install(binaries, *wheels_of(REPOSITORY / "core"), "mypy")
    return binaries / "python"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An author's project: strict, and with nothing of this repository's settings."""
    (tmp_path / "pyproject.toml").write_text("[tool.mypy]\nstrict = true\n")
    return tmp_path


def errors(python: Path, project: Path, source: str) -> list[tuple[str, str]]:
    """mypy's complaints about a plugin: the text of the line, and the code of the error."""
    (project / "connectory_redis.py").write_text(source)
    done = subprocess.run(
        [python, "-m", "mypy", "--no-color-output", "--no-error-summary", "connectory_redis.py"],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "MYPY_CACHE_DIR": os.environ["MYPY_CACHE_DIR"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    lines = source.splitlines()
    found = re.findall(r"^connectory_redis\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert len(found) == done.stdout.count("error:"), done.stdout
    return [(lines[int(number) - 1].strip(), code) for number, code in found]


def test_a_good_plugin_has_no_errors(python: Path, project: Path) -> None:
    assert errors(python, project, GOOD) == []


@pytest.mark.parametrize(("good", "bad", "code", "place"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_error_where_it_is(
    python: Path, project: Path, good: str, bad: str, code: str, place: str
) -> None:
    assert GOOD.count(good) == 1
    found = errors(python, project, GOOD.replace(good, bad))
    assert any(place in line and each == code for line, each in found), found


@pytest.fixture(scope="module")
def underlined(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines that Pyright has errors on, of the good plugin and of each wrong one, by what is wrong."""
    folder = tmp_path_factory.mktemp("editor")
    (folder / "pyproject.toml").write_text('[tool.basedpyright]\ntypeCheckingMode = "standard"\n')
    sources = {"nothing": GOOD} | {what: GOOD.replace(good, bad) for what, (good, bad, _, _) in WRONG.items()}
    for number, source in enumerate(sources.values()):
        (folder / f"plugin_{number}.py").write_text(source)
    command = [side_python("pyright").with_name("basedpyright"), "--outputjson", "--pythonpath", python]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len(sources)
    found: dict[str, list[str]] = {what: [] for what in sources}
    for each in said["generalDiagnostics"]:
        assert each["severity"] == "error"
        what = list(sources)[int(re.findall(r"plugin_(\d+)\.py", each["file"])[0])]
        found[what].append(sources[what].splitlines()[each["range"]["start"]["line"]])
    return found


def test_a_good_plugin_has_no_errors_in_an_editor(underlined: dict[str, list[str]]) -> None:
    assert underlined["nothing"] == []


@pytest.mark.parametrize(("what", "place"), [(what, place) for what, (_, _, _, place) in WRONG.items()], ids=WRONG)
def test_a_mistake_is_an_error_in_an_editor(underlined: dict[str, list[str]], what: str, place: str) -> None:
    assert any(place in line for line in underlined[what]), underlined[what]
