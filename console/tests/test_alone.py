"""The console alone, beside a service that runs elsewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from connectory.testing import free_port, running_server
from testkit.people import Console

COMMAND = Path(sys.executable).with_name("connectory-console")


@pytest.fixture(scope="module")
def alone(console: Console, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A browser of somebody at the console, which is not the service."""
    port = free_port()
    command = [COMMAND, "--api", console.url, "--port", str(port)]
    settings = {"CONNECTORY_CONSOLE_HOME": str(tmp_path_factory.mktemp("alone"))}
    with running_server(command, port, environment=settings):
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, headers={"Origin": address, "Accept": "text/html"}) as browser:
            yield browser


def test_it_signs_in_and_shows_what_the_service_has(alone: httpx.Client, console: Console) -> None:
    assert alone.get("/").headers["location"] == "/console/"
    code = console.link().partition("#code=")[2]
    assert alone.post("/console/sign-in/code", data={"code": code}).headers["location"] == "/console/"
    alone.headers["Sec-Fetch-Site"] = "same-origin"
    page = alone.get("/console/catalogue")
    assert "PostgreSQL" in page.text
    assert re.search(r'href="(/console/static/[^"]+)"', page.text)


@pytest.mark.parametrize(
    ("api", "said"),
    [("http://10.0.0.1", "has to be https"), ("ftp://x", "give scheme"), ("https://x/api/v1", "without a path")],
)
def test_an_address_that_cannot_be_used_is_refused(api: str, said: str) -> None:
    done = subprocess.run([COMMAND, "--api", api], capture_output=True, text=True, env={"COLUMNS": "200"})
    assert done.returncode == 2
    assert said in done.stderr
