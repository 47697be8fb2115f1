"""A real service with its console, a real browser, and people who use it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, StorageState, expect

from servers.postgres.server import PostgresServer
from testkit.chromium import SharedChromium, shared_chromium
from testkit.keyboard import hands_on_the_keyboard
from testkit.people import PATIENCE, Console, Person, person_in, running_console

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def one_chromium() -> Iterator[SharedChromium]:
    with shared_chromium() as shared:
        yield shared


@pytest.fixture(scope="module")
def browser(one_chromium: SharedChromium) -> Iterator[Browser]:
    with one_chromium.in_use() as browser:
        yield browser


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console") / "home") as console:
        yield console


@pytest.fixture(scope="module")
def cookies_of_root(browser: Browser, console: Console) -> StorageState:
    """What a browser holds in which somebody signed in as root: signing in takes seconds, so it is done once."""
    with person_in(browser, console) as person:
        person.sign_in()
        return person.context.storage_state()


@pytest.fixture
def person(browser: Browser, console: Console, cookies_of_root: StorageState) -> Iterator[Person]:
    """Somebody who is signed in as root."""
    with person_in(browser, console, storage_state=cookies_of_root) as person:
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
    """Makes further people, each with a browser of their own, who are not signed in."""
    with ExitStack() as opened:
        yield lambda **options: opened.enter_context(person_in(browser, console, **options))


@pytest.fixture
def colleague(another: Callable[..., Person], cookies_of_root: StorageState) -> Person:
    """Somebody else who is signed in as root."""
    return another(storage_state=cookies_of_root)


@pytest.fixture
def by_keyboard() -> Iterator[None]:
    """Whoever uses a page in this test has no mouse."""
    with hands_on_the_keyboard():
        yield
