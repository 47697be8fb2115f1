"""`connectory new-plugin`: what it writes is complete. It builds, installs, type-checks, passes its tests, and is in the service.

Everything runs in an environment that holds wheels only: first core's alone, which is all that `new-plugin` needs, then what an
author installs, then the service. The database's project goes the way of docs/plugin-authors.md, command by command.
"""

import re
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from documentation.pages import blocks
from testkit.cache import REPOSITORY
from testkit.package_index import package_index
from testkit.service import running_service, token_of_root
from testkit.wheels import build_wheels, finished, install, new_environment, start, wheels_of

KINDS = {"database": "redis", "saas": "acme_saas", "other": "acme_other"}
"""The kinds of project, and the connector that a project is written for."""
each_kind = pytest.mark.parametrize("kind", KINDS)


def page() -> list[tuple[str, str]]:
    """The blocks of the page's way from an idea to a published connector."""
    text = (REPOSITORY / "docs/plugin-authors.md").read_text()
    return blocks(text.partition("## From an idea to a published connector")[2].partition("\n## ")[0])


def folder_of(kind: str) -> str:
    return f"connectory-{KINDS[kind].replace('_', '-')}"


# What it does not have, the rules of sessions say, is optional.
_PASSED = r"^\d+ passed, 4 skipped in "


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("author")


@pytest.fixture(scope="module")
def core() -> Path:
    """Core's wheel."""
    [wheel] = wheels_of(REPOSITORY / "core")
    return wheel


@pytest.fixture(scope="module")
def bare(core: Path, workplace: Path) -> Path:
    """The `bin` folder of an environment with core's wheel alone: no extra."""
    binaries = new_environment(workplace / "environment")
    install(binaries, core)
    return binaries


@pytest.fixture(scope="module")
def projects(bare: Path, workplace: Path) -> Path:
    """The folder that `new-plugin` has written a project of each kind to, that of a database as the page says."""
    (_, first), *_ = page()
    shell(first, bare, workplace)
    for kind in list(KINDS)[1:]:
        command = [bare / "connectory", "new-plugin", KINDS[kind], "--type", kind]
        assert f"cd {folder_of(kind)}" in finished(start(command, folder=workplace))
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
    return build_wheels(projects / "wheels", *(projects / folder_of(kind) for kind in KINDS))


@pytest.fixture(scope="module")
def binaries(bare: Path, core: Path, needs: object, wheels: list[Path]) -> Path:
    """The same environment with what an author installs besides, and with the wheels of the projects but the page's."""
    others = [wheel for wheel in wheels if "redis" not in wheel.name]
    tools = ["mypy", "hatchling", "editables", "uv"]
    install(bare, f"connectory[testing,http] @ {core.as_uri()}", *tools, *others)
    return bare


@pytest.fixture(scope="module")
def runs(binaries: Path, projects: Path) -> Iterator[Mapping[str, Popen[str]]]:
    """The tests of each project that is not the page's, running at once: most of the time they wait for silent servers."""
    command = [binaries / "python", "-m", "pytest", "-q"]
    running = {kind: start(command, folder=projects / folder_of(kind)) for kind in list(KINDS)[1:]}
    yield running
    for process in running.values():
        with process:
            process.kill()


@pytest.fixture(scope="module")
def walked(binaries: Path, projects: Path, runs: object) -> list[str]:
    """What the commands of the page print until there is a wheel, a text for each block, from the second block on."""
    commands = [text for language, text in page() if language == "sh"][1:-2]
    # That test fails, as the page shows.
    lines = [re.sub("^(connectory check .*)$", r"\1 || test $? = 1", text, flags=re.MULTILINE) for text in commands]
    return shell("\necho ///\n".join(lines), binaries, projects).split("///\n")


@pytest.fixture(scope="module")
def published(binaries: Path, core: Path, projects: Path, walked: object) -> list[str]:
    """What the page's last commands print: the wheel goes to an index, and comes from there to where the service is."""
    install(binaries, f"connectory[server] @ {core.as_uri()}")
    folder = projects / "connectory-redis"
    shell("pip uninstall --yes connectory-redis", binaries, folder)
    *_, publish, use = [text for language, text in page() if language == "sh"]
    with package_index() as index:
        told = shell(publish, binaries, folder, {"UV_PUBLISH_URL": f"{index}/", "UV_PUBLISH_TOKEN": "a token"})
        source = {"PIP_INDEX_URL": f"{index}/simple/", "PIP_CONFIG_FILE": "/dev/null"}
        return [told, shell(use, binaries, folder, source)]


def shell(commands: str, binaries: Path, folder: Path, more: Mapping[str, str] | None = None) -> str:
    """Run commands as somebody does who has activated the environment, with the variables `more`."""
    settings = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: with what is installed
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **(more or {}),
    }
    return finished(start(["bash", "-euo", "pipefail", "-c", commands], folder=folder, settings=settings))


def test_without_an_extra_the_other_commands_say_which_they_need(needs: dict[str, str]) -> None:
    assert needs["check"] == 'This command needs pydantic_settings; run: pip install "connectory[testing]"\n'
    assert needs["check-plugin"].endswith('run: pip install "connectory[testing]"\n')
    assert 'pip install "connectory[server]"' in needs["serve"]
    assert "new-plugin, check, schema, check-plugin" in needs["serve"]


def test_the_page_leads_from_an_idea_to_a_wheel(walked: list[str], projects: Path) -> None:
    tested, schema, checked, kit, without, built = walked
    assert re.search(_PASSED, tested.splitlines()[-1].strip("= "))
    assert schema == (projects / "connectory-redis/tests/secret_schema.json").read_text()
    shown = next(text for language, text in page() if language == "text")
    assert _without_times(checked) == _without_times(shown)
    assert re.fullmatch(r"\d+ passed, 0 failed, 7 not run\.", kit.splitlines()[-1])
    assert re.fullmatch(r"\d+ passed, 0 failed, 8 not run\.", without.splitlines()[-1])
    assert "Left out: Its servers hang up when they are full." in without
    assert "Success: no issues found in 2 source files" in built
    assert [path.name for path in (projects / "connectory-redis/dist").iterdir()] == [
        "connectory_redis-0.1.0-py3-none-any.whl"
    ]


def test_a_person_goes_this_way_in_less_than_fifteen_minutes() -> None:
    """By count, not by a clock: who reads every word of it and types every command has half of the time left for what the machine
    does. 200 words a minute are slow for reading (Brysbaert 2019: 238), 40 are slow for typing (Dhakal 2018: 52), each of five
    characters."""
    whole = (REPOSITORY / "docs/plugin-authors.md").read_text()
    text = whole.partition("## From an idea to a published connector")[2].partition("\n## ")[0]
    typed = sum(len(block) for language, block in page() if language == "sh")
    assert len(text.split()) / 200 + typed / 5 / 40 < 15 / 2


def _without_times(text: str) -> str:
    return re.sub(r"\d+ ms", "… ms", text)


@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_its_own_tests_pass(runs: Mapping[str, Popen[str]], kind: str) -> None:
    last = finished(runs[kind]).splitlines()[-1]
    assert re.search(_PASSED, last.strip("= "))


def test_its_types_are_right(binaries: Path, projects: Path, walked: object) -> None:
    for kind in list(KINDS)[1:]:
        assert "Success" in shell("python -m mypy", binaries, projects / folder_of(kind))


def test_the_page_leads_from_the_wheel_to_an_index_and_to_whoever_installs_it(published: list[str]) -> None:
    uploaded, used = published
    assert "Uploading connectory_redis-0.1.0-py3-none-any.whl" in uploaded
    assert re.search(r"Downloading .*connectory_redis-0\.1\.0-py3-none-any\.whl", used)
    shown = [text for language, text in page() if language == "text"][-1]
    assert [line for line in shown.splitlines() if line not in used.splitlines()] == []


def test_the_service_lists_each(binaries: Path, published: object, tmp_path: Path) -> None:
    """That of the page as it came from the index."""
    home = tmp_path / "home"
    with running_service(home, command=binaries / "connectory") as service:
        headers = {"Authorization": f"Bearer {token_of_root(home, service.url)}"}
        listed = httpx.get(f"{service.url}/api/v1/connection_type", headers=headers, timeout=60).json()["items"]
    found = {item["identifier"]: item["type"] for item in listed}
    assert found == {"manual": "manual"} | {identifier: kind for kind, identifier in KINDS.items()}


def test_the_commands_of_the_rest_of_the_page_work(binaries: Path, core: Path, walked: object) -> None:
    """After all that needs core's wheel, because they install it from the clone."""
    text = (REPOSITORY / "docs/plugin-authors.md").read_text()
    first = [block for language, block in page() if language == "sh"]
    commands = [block for language, block in blocks(text) if language == "sh" and block not in first]
    assert len(commands) == 2
    printed = shell("\n".join(commands), binaries, REPOSITORY)
    assert re.search(r"^\d+ passed in ", printed.splitlines()[-1].strip("= "))
    install(binaries, f"connectory[server] @ {core.as_uri()}")


@each_kind
def test_the_wheel_is_fit_to_be_published(wheels: list[Path], kind: str) -> None:
    module = f"connectory_{KINDS[kind]}"
    [wheel] = [wheel for wheel in wheels if wheel.name.startswith(f"{module}-")]
    with zipfile.ZipFile(wheel) as packed:
        held = {name.partition(".dist-info/")[2] or name: packed.read(name).decode() for name in packed.namelist()}
    assert held.keys() == {
        *(f"{module}/__init__.py", f"{module}/py.typed"),
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }
    assert held["licenses/LICENSE"] == (REPOSITORY / "LICENSE").read_text()
    assert f"| `{'address' if kind == 'saas' else 'host'}` |" in held["METADATA"]
    assert "not proven by that" in held["METADATA"]
    extra = "[http]" if kind == "saas" else ""
    assert f"Requires-Dist: connectory{extra}<1,>=0.1\n" in held["METADATA"]


@each_kind
def test_the_project_is_whole(projects: Path, kind: str) -> None:
    folder = projects / folder_of(kind)
    [module, test] = [f"src/connectory_{KINDS[kind]}/__init__.py", f"tests/test_{KINDS[kind]}.py"]
    for name in (
        module,
        test,
        "tests/secret_schema.json",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/ci.yml",
    ):
        assert (folder / name).read_text()
    assert len((folder / module).read_text().splitlines()) < 75
    assert "python-version: ${{ matrix.python }}" in (folder / ".github/workflows/ci.yml").read_text()
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["tool"]["mypy"]["strict"] is True
    assert list(project["project"]["entry-points"]["connectory.connectors"]) == [KINDS[kind]]
