"""A connector whose session does what the secrets say, and a runner to open it with."""

import asyncio
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.checks.sessions.runner import Terms
from testkit.offspring import Offspring

# The text defines what a session has, such as `def discover(self, namespace, sample): …`.
SCRIPTED = """
from decimal import Decimal
import time, os, socket
from typing import Annotated
from connectory import Text
from connectory.data import *

class Scripted(Secrets):
    token: SecretText
    script: Annotated[str, Text(max_length=100_000, pattern=r"[\\s\\S]*")]

@hookimpl
def connectory_secret_schema():
    return Scripted

@hookimpl
def connectory_open_session(secrets, context):
    scope = dict(globals()) | {"context": context, "secrets": secrets}
    exec(secrets.script, scope)
    members = {name: scope[name] for name in ("discover", "privileges", "read", "end_login", "close") if name in scope}
    return type("Session", (DataSession,), {"close": lambda self: None} | members)()
"""
NUMBERS = """
def read(self, query, batch):
    for start in range(0, 10_000, batch):
        yield Batch((Kind.INTEGER,), [(number,) for number in range(start, min(start + batch, 10_000))])
"""

Use = Callable[..., Any]


@pytest.fixture(scope="module")
def scripted(connector_of):
    return connector_of(hooks=SCRIPTED)


@pytest.fixture(scope="module")
def use(scripted) -> Iterator[Use]:
    """Open a session of a connector, have a coroutine use it, and see that its process is gone afterwards."""
    with asyncio.Runner() as loop:
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), memory=96 * 2**20)
        loop.run(runner.start())

        async def opened(script: str, scenario: Any, terms: Terms, connector: Any) -> Any:
            document = {"token": "open-sesame-4711", "script": textwrap.dedent(script)}
            try:
                async with runner.sessions.open_session(connector or scripted, lambda: document, terms) as session:
                    return await scenario(session)
            finally:
                await runner.sessions.settled()

        def run(script: str, scenario: Any, connector: Any = None, **terms: Any) -> Any:
            before = Offspring().all()
            try:
                return loop.run(opened(script, scenario, Terms(**terms), connector))
            finally:
                assert set(Offspring().all()) <= {*before, *used}, "a session's process is still there"

        used: set[Any] = set()
        loop.run(warm(runner, scripted))
        used |= set(Offspring().all())
        yield run
        loop.run(runner.stop())


async def warm(runner, scripted):
    """Have the connector imported, so that short deadlines are for the session."""
    async with runner.sessions.open_session(scripted, lambda: {"token": "t", "script": NUMBERS}):
        pass


async def every(answers: Any) -> list[Any]:
    """All of an answer."""
    return [part async for part in answers]
