"""Connectors made for one test each, and runners to test connections with."""

import asyncio
import importlib
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import uvloop

from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.checks.egress import EgressPolicy
from connectory.checks.forkservers import ForkServers
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from testkit.distribution import install, plugin_source

DOCUMENT = {"token": "open-sesame-4711"}

# A connector whose test does what the secrets say, so that not every test needs a connector of its own.
SCRIPTED = """
from typing import Annotated
from connectory import Text

class Scripted(Secrets):
    token: SecretText
    script: Annotated[str, Text(max_length=100_000, pattern=r"[\\s\\S]*")]

@hookimpl
def connectory_secret_schema():
    return Scripted
"""
RUN_SCRIPT = """
scope = dict(globals())
exec(secrets.script, scope)
return scope["test"](secrets, context)
"""

ConnectorOf = Callable[..., LoadedConnector]
Check = Callable[..., CheckReport]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on `sys.path`, before any fork server starts, that distributions are installed into."""
    folder = tmp_path_factory.mktemp("site")
    folder.chmod(0o755)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def connector_of(site: Path) -> ConnectorOf:
    """A new connector whose test does `body`.

    `top` is what its module does when it is imported, `drivers` maps modules that it names as drivers to their source
    (`None`: there is no such module), `hooks` is the source of further hooks.
    """

    def make(
        body: str = "pass", *, top: str = "", drivers: dict[str, str | None] | None = None, hooks: str = ""
    ) -> LoadedConnector:
        identifier = f"made_{uuid4().hex[:12]}"
        test = "@hookimpl\ndef connectory_test_connection(secrets, context):\n" + textwrap.indent(
            textwrap.dedent(body), "    "
        )
        described = f"@hookimpl\ndef connectory_describe():\n    return Description(drivers={tuple(drivers or ())!r})\n"
        implementations = {"connectory_test_connection": test, "connectory_describe": described, "more": hooks}
        source = plugin_source(identifier, before=textwrap.dedent(top), hooks=implementations)
        modules = {name: driver for name, driver in (drivers or {}).items() if driver is not None}
        distribution = f"connectory-{identifier.replace('_', '-')}"
        install(site, distribution, entry_points={identifier: identifier}, modules={identifier: source, **modules})
        importlib.invalidate_caches()
        return find_connector(identifier, distribution, environment={})

    return make


@pytest.fixture(scope="module")
def check(connector_of: ConnectorOf) -> Iterator[Check]:
    """Test a connection with a connector, or with one whose test does what a text says; return the report."""
    scripted = connector_of(RUN_SCRIPT, hooks=SCRIPTED)
    fork_servers = ForkServers()
    with asyncio.Runner() as loop:

        @cache
        def runner(deadline: float, policy: EgressPolicy, memory: int, cleartext: bool) -> CheckRunner:
            new = CheckRunner(
                policy=policy,
                deadline=deadline,
                memory=memory,
                cleartext_unverified=cleartext,
                fork_servers=fork_servers,
            )
            loop.run(new.start())
            started.append(new)
            nothing = DOCUMENT | {"script": "def test(*_): pass"}
            while loop.run(new.run(object(), scripted, lambda: nothing)).status != "succeeded":
                pass  # its fork servers are not ready yet, and tests with short deadlines must not wait for them
            return new

        def run(
            what: str | LoadedConnector,
            *,
            deadline: float = 10,
            policy: EgressPolicy | None = None,
            memory: int = 512 * 2**20,
            document: dict[str, Any] = DOCUMENT,
            cleartext_unverified: bool = False,
        ) -> CheckReport:
            if isinstance(what, str):
                script = "def test(secrets, context):\n" + textwrap.indent(textwrap.dedent(what), "    ")
                connector, document = scripted, document | {"script": script}
            else:
                connector = what
            running = runner(deadline, policy or EgressPolicy(allow_loopback=True), memory, cleartext_unverified)
            return loop.run(running.run(object(), connector, lambda: document))

        started: list[CheckRunner] = []
        yield run
        for one in started:
            loop.run(one.stop())


@pytest.fixture(scope="module")
def asking(connector_of: ConnectorOf) -> LoadedConnector:
    """A connector that asks name servers by itself. Its test does what the secrets say."""
    description = "@hookimpl\ndef connectory_describe():\n    return Description(asks_name_servers=True)\n"
    return connector_of(RUN_SCRIPT, hooks=SCRIPTED + description)


@pytest.fixture(params=["asyncio", "uvloop"])
def in_loop(request: pytest.FixtureRequest) -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Run a coroutine in an event loop; the test runs once in asyncio's own and once in uvloop's."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as loop:
        yield loop.run
