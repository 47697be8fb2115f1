"""A real service with its console, a real browser, and people who use it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import Browser, expect

from servers.postgres.server import PostgresServer
from testkit.chromium import chromium
from testkit.people import PATIENCE, Console, Person, person_in
from testkit.service import running_service, token_of_root

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    home = tmp_path_factory.mktemp("console") / "home"
    with running_service(home) as service:
        token = token_of_root(home, service.url)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=60) as api:
            yield Console(service, home, api)


@pytest.fixture
def person(browser: Browser, console: Console) -> Iterator[Person]:
    """Somebody who is signed in as root."""
    with person_in(browser, console) as person:
        person.sign_in()
        yield person


@pytest.fixture
def somebody(browser: Browser, console: Console) -> Iterator[Person]:
    """Somebody who is not signed in."""
    with person_in(browser, console) as person:
        yield person


@pytest.fixture(scope="session")
def good_secrets(postgres: PostgresServer) -> dict[str, object]:
    """Secrets of a database that answers."""
    return {
        "host": postgres.host,
        "port": postgres.port,
        "username": postgres.superuser,
        "password": postgres.password,
        "dbname": "postgres",
    }


@pytest.fixture
def another(browser: Browser, console: Console) -> Iterator[Callable[..., Person]]:
    """Makes further people, each with a browser of their own."""
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(person_in(browser, console, **options))
