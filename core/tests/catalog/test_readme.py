"""The page of the package: its connector is installed as it stands, and tests a real server."""

import asyncio
import importlib
import re
from pathlib import Path

import pytest

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from testkit.distribution import install

PAGE = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize(
    ("greeting", "verdict"), [(b"hello, world", ("succeeded", None)), (b"go away", ("failed", "protocol_mismatch"))]
)
def test_the_connector_of_the_page_works(site, greeting, verdict):
    [source] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    entry = 'greeting = "connectory_greeting"'
    assert entry in PAGE.read_text()
    modules = {"connectory_greeting": source}
    install(site.folder, "connectory-greeting", entry_points={"greeting": "connectory_greeting"}, modules=modules)
    importlib.invalidate_caches()
    connector = find_connector("greeting", "connectory-greeting")

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    async def report():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
        await runner.start()
        try:
            async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                return await runner.run("greeting", connector, lambda: {"host": "127.0.0.1", "port": port})
        finally:
            await runner.stop()

    found = asyncio.run(report())
    assert (found.status, found.code) == verdict
