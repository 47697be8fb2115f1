"""Everything that a plugin can do wrong, installed at once beside one that is right: each costs only itself, and is told."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest

from testkit.distribution import install, plugin_source
from testkit.service import RunningService, run_command, running_service, token_of_root
from testkit.waiting import wait_until

TYPED = """
from typing import Any, Callable
from connectory import CheckContext, Connector, Secrets, SecretText

class TypedSecrets(Secrets):
    token: SecretText
    {field}

class Typed(Connector[TypedSecrets]):
    identifier = "{identifier}"
    type = "database"
    {attribute}

    def test(self, secrets: TypedSecrets, context: CheckContext) -> None:
        {body}
"""


@dataclass(frozen=True)
class Broken:
    """One plugin.

    Attributes:
        told: what the reason or the remark says.
        status: default: it does not load.
        before: what its module does first.
        field, attribute, body: of its connector. Default: those of a sound one.
        hooks: of a module of functions instead.
    """

    told: str
    status: str = "failed"
    before: str = ""
    field: str = ""
    attribute: str = ""
    body: str = "pass"
    hooks: tuple[tuple[str, str], ...] = ()
    requires: tuple[str, ...] = ("connectory>=0.1,<1",)

    def source(self, identifier: str) -> str:
        if self.hooks:
            return plugin_source(identifier, before=self.before, hooks=dict(self.hooks))
        rest = TYPED.format(identifier=identifier, field=self.field, attribute=self.attribute, body=self.body)
        return f"{self.before}\n{rest}"


def hook(name: str, source: str) -> tuple[tuple[str, str], ...]:
    return ((f"connectory_{name}", source),)


SLOW = "import time; time.sleep(30)"
PLUGINS = {
    "raises": Broken(
        "Loading it raised RuntimeError; report it to the authors of acme-raises 1.0.", before="raise RuntimeError"
    ),
    "a_slow_one": Broken("Importing it took over 5 s; its module must import its driver inside", before=SLOW),
    **{f"slow_{number}": Broken("Importing it took over 5 s", before=SLOW) for number in range(2)},
    "signature": Broken(
        "connectory_type() takes ctx, but the hook offers only: nothing.",
        hooks=hook("type", "@hookimpl\ndef connectory_type(ctx): return 'database'\n"),
    ),
    "asynchronous": Broken(
        "connectory_type() is 'async def'; hooks are plain functions",
        hooks=hook("type", "@hookimpl\nasync def connectory_type(): return 'database'\n"),
    ),
    "misspelt_hook": Broken(
        "It implements connectory_tipe(), which is not a hook; did you mean connectory_type()?",
        hooks=hook("type", "@hookimpl\ndef connectory_tipe(): return 'database'\n"),
    ),
    "misspelt_attribute": Broken(
        "Typed.descripton is not an attribute of a connector; did you mean description?", attribute="descripton = None"
    ),
    "undrawable": Broken(
        "The JSON Schema of its secrets has no words for the type of the field 'call'",
        field="call: Callable[[], None] = print",
    ),
    "raising_hook": Broken(
        "connectory_type() raised ValueError; report it to its authors.",
        hooks=hook("type", "@hookimpl\ndef connectory_type(): raise ValueError\n"),
    ),
    "newer": Broken("It needs connectory>=7, but connectory", "incompatible", requires=("connectory>=7",)),
    "exits": Broken("Loading it calls sys.exit(), which would end the service", before="import sys; sys.exit(0)"),
    "ends": Broken("Importing it ended the process (exit code 3)", before="import os; os._exit(3)"),
    "signals": Broken(
        "Importing it sets a handler of signals, which belong to the service",
        before="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ),
    "prints": Broken(
        "Importing it writes 14 bytes to standard output or standard error; remove that.",
        "loaded",
        before="print('marker-output')",
    ),
    "os_writes": Broken("Importing it writes 10 bytes", "loaded", before="import os; os.write(2, b'raw-output')"),
    "warns": Broken(
        "Importing it warns (UserWarning)", "loaded", before="import warnings; warnings.warn('marker-output')"
    ),
    "configures": Broken(
        "Importing it changes loggers of others of the whole process",
        "loaded",
        before="import logging.config as l; l.dictConfig({'version': 1})",
    ),
    "mutes": Broken(
        "Importing it changes logging.disable() of the whole process",
        "loaded",
        before="import logging; logging.disable()",
    ),
    "handles": Broken(
        "Importing it changes the root logger's level, the root logger's handlers of the whole process",
        "loaded",
        before="import logging as l; l.root.handlers.clear(); l.root.setLevel(1); l.root.addHandler(l.NullHandler())",
    ),
    "default": Broken(
        "The default of thing is not JSON, so that forms show the field as empty",
        "loaded",
        field="thing: Any = object()",
    ),
    "failing_test": Broken("", "loaded", body="raise ValueError('marker-output')"),
    "sound": Broken("", "loaded"),
}
each = pytest.mark.parametrize("identifier", PLUGINS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are installed, as pip would; and two distributions that claim one identifier."""
    folder = tmp_path_factory.mktemp("site")
    for identifier, plugin in PLUGINS.items():
        module, name = f"broken_{identifier}", identifier.replace("_", "-")
        target = module if plugin.hooks else f"{module}:Typed"
        modules = {module: plugin.source(identifier)}
        install(folder, f"acme-{name}", entry_points={identifier: target}, modules=modules, requires=plugin.requires)
    for name in ("acme-twin-one", "acme-twin-two"):
        install(folder, name, entry_points={"twin": "broken_sound:Typed"})
    return folder


@pytest.fixture(scope="module")
def begun(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[CompletedProcess[str]]]:
    """`connectory plugins --json --check`; it runs while the service starts, for both mostly wait."""

    def run() -> CompletedProcess[str]:
        return run_command(home, "plugins", "--json", "--check", settings={"PYTHONPATH": str(site)})

    home = tmp_path_factory.mktemp("command") / "home"
    with ThreadPoolExecutor() as threads:
        yield threads.submit(run)


@pytest.fixture(scope="module")
def command(begun: Future[CompletedProcess[str]]) -> CompletedProcess[str]:
    return begun.result()


@pytest.fixture(scope="module")
def service(site: Path, begun: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    home = tmp_path_factory.mktemp("service") / "home"
    with running_service(home, {"PYTHONPATH": str(site)}) as service:
        yield service


@pytest.fixture(scope="module")
def api(service: RunningService) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token_of_root(service.log.with_suffix(''), service.url)}"}
    with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def listed(api: httpx.Client) -> dict[str, dict[str, str | None]]:
    """What `/plugins` says, by identifier."""
    return {item["identifier"]: item for item in api.get("/plugins?size=100").json()["items"]}


@each
def test_it_is_told_with_cause_and_remedy(listed, identifier: str) -> None:
    plugin, record = PLUGINS[identifier], listed[identifier]
    assert record["status"] == plugin.status
    assert plugin.told in (record["reason"] or record["remark"] or "")
    assert (record["reason"] is None) == (plugin.status == "loaded")
    assert (record["remark"] is not None) == (plugin.status == "loaded" and plugin.told != "")


def test_two_that_claim_one_identifier_are_told_apart(api: httpx.Client, command, service: RunningService) -> None:
    twins = [item for item in api.get("/plugins?size=100").json()["items"] if item["identifier"] == "twin"]
    assert [(twin["distribution"], twin["status"]) for twin in twins] == [
        ("acme-twin-one", "conflict"),
        ("acme-twin-two", "conflict"),
    ]
    assert [item for item in json.loads(command.stdout) if item["identifier"] == "twin"] == twins
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    told = [(line["distribution"], line["reason"]) for line in lines if line.get("plugin") == "twin"]
    assert told == [(twin["distribution"], twin["reason"]) for twin in twins]
    assert "uninstall all but one" in told[0][1]


def test_the_command_says_the_same_as_json_and_exits_with_1(listed, command) -> None:
    assert (command.returncode, command.stderr) == (1, "")
    said = {item["identifier"]: item for item in json.loads(command.stdout)}
    assert {name: said[name] for name in PLUGINS} == {name: listed[name] for name in PLUGINS}


@each
def test_the_log_says_it_in_one_line(service: RunningService, identifier: str) -> None:
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    told = [line for line in lines if line.get("plugin") == identifier]
    assert len(told) == (1 if PLUGINS[identifier].told else 0)
    assert all(PLUGINS[identifier].told in line.get("reason", line.get("remark")) for line in told)


def test_nothing_that_they_write_is_seen_anywhere(service: RunningService, command, listed) -> None:
    assert "marker-output" not in service.log.read_text() + service.ready_line + command.stdout + command.stderr


def test_the_first_use_of_them_leaves_the_service_as_it_was(api: httpx.Client, service: RunningService) -> None:
    """It imports them then; what they print, mute and change there is undone too."""
    loaded = [name for name, plugin in PLUGINS.items() if plugin.status == "loaded"]
    items = [
        {"key": name, "name": name, "connection_type": name, "access": "read", "secrets": {"token": "t"}}
        for name in loaded
    ]
    assert [item["key"] for item in api.patch("/connection", json=items).json()["succeeded"]] == loaded
    before = service.log.read_text().count('"event":"request"')
    verdicts = {name: api.get(f"/connection/{name}/test").json() for name in loaded}
    assert {name: found["test_status"] for name, found in verdicts.items()} == {
        name: "failed" if name == "failing_test" else "succeeded" for name in loaded
    }
    assert verdicts["failing_test"]["failure_code"] == "internal_driver_error"
    wait_until(lambda: service.log.read_text().count('"event":"request"') >= before + len(loaded))
    assert "marker-output" not in service.log.read_text()
