"""`connectory new-plugin`: what it writes is complete. It builds, installs, type-checks, passes its tests, and is in the service.

Everything runs in an environment that holds the wheels only: first core's alone, all that `new-plugin` needs, then what an
author installs.
"""

import json
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from testkit.cache import REPOSITORY
from testkit.service import running_service
from testkit.wheels import build_wheels, finished, install, new_environment, start

KINDS = ("database", "saas", "other")
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("author")


@pytest.fixture(scope="module")
def bare(workplace: Path) -> Path:
    """The `bin` folder of an environment with core's wheel alone: no extra."""
    [core] = build_wheels(workplace / "core", REPOSITORY / "core")
    binaries = new_environment(workplace / "environment")
    install(binaries, core)
    return binaries


@pytest.fixture(scope="module")
def projects(bare: Path, workplace: Path) -> Path:
    """The folder that `new-plugin` has written a project of each kind to."""
    for kind in KINDS:
        printed = finished(start([bare / "connectory", "new-plugin", f"acme_{kind}", "--type", kind], folder=workplace))
        assert f"cd connectory-acme-{kind}" in printed
    return workplace


@pytest.fixture(scope="module")
def needs(bare: Path, projects: Path) -> dict[str, str]:
    """What other commands say in the environment with core alone."""
    asked = {"check": ["check", "manual"], "check-plugin": ["check-plugin", "x"], "serve": ["serve"]}
    return {
        name: finished(start([bare / "connectory", *words]), code=1 if name == "serve" else 2)
        for name, words in asked.items()
    }


@pytest.fixture(scope="module")
def wheels(projects: Path) -> list[Path]:
    """The wheels of the projects."""
    return build_wheels(projects / "wheels", *(projects / f"connectory-acme-{kind}" for kind in KINDS))


@pytest.fixture(scope="module")
def binaries(bare: Path, needs: object, wheels: list[Path], workplace: Path) -> Path:
    """The same environment with what an author installs besides, and with the plugins' wheels."""
    [core] = (workplace / "core").glob("*.whl")
    install(bare, f"connectory[testing,http] @ {core.as_uri()}", "mypy", *wheels)
    return bare


@pytest.fixture(scope="module")
def command(binaries: Path, workplace: Path) -> Path:
    """`connectory` in the same environment, with what a deployer installs besides."""
    [core] = (workplace / "core").glob("*.whl")
    install(binaries, f"connectory[server] @ {core.as_uri()}")
    return binaries / "connectory"


@pytest.fixture(scope="module")
def runs(binaries: Path, projects: Path) -> Iterator[Mapping[str, Popen[str]]]:
    """The tests of each project, running at once: most of the time they wait for silent servers."""
    running = {
        kind: start([binaries / "python", "-m", "pytest", "-q", "-rs"], folder=projects / f"connectory-acme-{kind}")
        for kind in KINDS
    }
    yield running
    for process in running.values():
        process.kill()
        process.wait()


def test_without_an_extra_the_other_commands_say_which_they_need(needs: dict[str, str]) -> None:
    assert needs["check"] == 'This command needs pydantic_settings; run: pip install "connectory[testing]"\n'
    assert needs["check-plugin"].endswith('run: pip install "connectory[testing]"\n')
    assert 'pip install "connectory[server]"' in needs["serve"]
    assert "new-plugin, check, schema, check-plugin" in needs["serve"]


@each_kind
def test_its_own_tests_pass(runs: Mapping[str, Popen[str]], kind: str) -> None:
    printed = finished(runs[kind])
    assert "skipped" not in printed
    assert "failed" not in printed


def test_its_types_are_right(binaries: Path, projects: Path) -> None:
    """All at once, as `mypy --strict` in each would."""
    sources = [projects / f"connectory-acme-{kind}" / part for kind in KINDS for part in ("src", "tests")]
    settings = {"MYPYPATH": ":".join(map(str, sources))}
    strict = ["--strict", "--explicit-package-bases", "--cache-dir", projects / "types"]
    finished(start([binaries / "python", "-m", "mypy", *strict, *sources], settings=settings, folder=projects))


def test_the_other_commands_need_no_server(binaries: Path, projects: Path) -> None:
    """All that the kit can check without a far end that works."""
    checked = finished(start([binaries / "connectory", "check-plugin", "connectory-acme-other"], folder=projects))
    assert checked.splitlines()[-1].endswith(" passed, 0 failed, 4 not run.")
    schema = finished(start([binaries / "connectory", "schema", "acme_saas"]))
    assert schema == (projects / "connectory-acme-saas/tests/secret_schema.json").read_text()


def test_the_service_lists_each(command: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_service(home, command=command) as service:
        credentials = json.loads((home / "root_client.json").read_text())
        granted = httpx.post(
            f"{service.url}/api/v1/oauth/token", data={"grant_type": "client_credentials"} | credentials
        )
        headers = {"Authorization": f"Bearer {granted.json()['access_token']}"}
        listed = httpx.get(f"{service.url}/api/v1/connection_type", headers=headers).json()["items"]
    found = {item["identifier"]: (item["type"], item["human_readable"]) for item in listed}
    assert {f"acme_{kind}": (kind, f"Acme {kind.title()}") for kind in KINDS}.items() <= found.items()


@each_kind
def test_the_wheel_is_fit_to_be_published(wheels: list[Path], kind: str) -> None:
    [wheel] = [wheel for wheel in wheels if wheel.name.startswith(f"connectory_acme_{kind}-")]
    with zipfile.ZipFile(wheel) as packed:
        held = {name.partition(".dist-info/")[2] or name: packed.read(name).decode() for name in packed.namelist()}
    assert held.keys() == {
        *(f"connectory_acme_{kind}/__init__.py", f"connectory_acme_{kind}/py.typed"),
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }
    assert held["licenses/LICENSE"] == (REPOSITORY / "LICENSE").read_text()
    assert f"| `{'address' if kind == 'saas' else 'host'}` |" in held["METADATA"]
    assert "not proven by that" in held["METADATA"]
    extra = "[http]" if kind == "saas" else ""
    assert f"Requires-Dist: connectory{extra}<1,>=0.1\n" in held["METADATA"]


@each_kind
def test_nothing_is_left_to_fill_in_by_accident(projects: Path, kind: str) -> None:
    folder = projects / f"connectory-acme-{kind}"
    written = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    hidden = {".gitignore", ".github/workflows/ci.yml"}
    assert hidden <= {str(path.relative_to(folder)) for path in written}
    for path in written:
        if not {".pytest_cache", ".hypothesis"} & set(path.parts):
            text = path.read_text()
            assert "IDENTIFIER" not in f"{path} {text}"
            assert "$" not in text.replace("${{ matrix.python }}", "").replace("{token}", "") or "pattern" in text
    assert tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["mypy"]["strict"] is True
