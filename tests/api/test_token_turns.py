"""No refresh token is used twice: tests of one connection have their turns with its tokens, on all nodes of one store."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, event, select

from connectory.api.app import create_app, open_service
from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.checks.transcript import Transcript
from connectory.scopes import SCOPES
from connectory.store.clients import create_client, issue_token
from connectory.store.connections import get_by_key
from connectory.store.engine import open_store
from connectory.store.tables import connections
from connectory.store.timestamps import utc_now
from connectory.store.token_turns import Turn, end, queue_up
from servers.oauth.rotating import RotatingProvider
from testkit.distribution import install
from testkit.service import running_service
from testkit.waiting import wait_until

ORIGIN = "https://connectory.example"
REDIRECT = f"{ORIGIN}/api/v1/oauth/callback"
PLUGIN = Path(__file__).with_name("archive_plugin.py").read_text()
WAITED = timedelta(seconds=60)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A folder for `sys.path` with the connector `archive`, whose every test renews its tokens."""
    folder = tmp_path_factory.mktemp("archive")
    install(folder, "acme-archive", entry_points={"archive": "archive_plugin"}, modules={"archive_plugin": PLUGIN})
    return folder


@pytest.fixture
def provider():
    with RotatingProvider() as started:
        yield started


@pytest.fixture(scope="module")
def catalog_of_archive(plugins):
    sys.path.insert(0, str(plugins))
    yield build_catalog(Selection(allow=frozenset({"archive", "manual"})), environment={})
    sys.path.remove(str(plugins))


@pytest.fixture
def node(settings, catalog_of_archive):
    """Make a node on the shared store, in this process, which starts when it is entered."""

    def make() -> TestClient:
        app = create_app(open_service(settings, catalog_of_archive))
        return TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)

    return make


def authorized(client: TestClient) -> TestClient:
    """The client, with a token of every scope."""
    with client.app.state.service.store.write() as database:
        owner, _ = create_client(database, name="test", scopes=SCOPES, now=utc_now())
        token, _ = issue_token(database, owner.id, scopes=SCOPES, lifetime=timedelta(hours=1), now=utc_now())
    client.headers["Authorization"] = f"Bearer {token}"
    return client


@pytest.fixture
def client(node):
    """A client of a node."""
    with node() as started:
        yield authorized(started)
        with started.app.state.service.store.write() as database:
            database.execute(delete(connections))


def stored(client: httpx.Client, provider: RotatingProvider, key: str, **secrets: object) -> None:
    """Store a connection of type `archive`."""
    document = {"host": provider.host, "port": provider.port, "redirect_uri": REDIRECT}
    document |= {"client_id": "me", "client_secret": "open-sesame"} | secrets
    item = {"key": key, "connection_type": "archive", "access": "read", "secrets": document}
    assert client.patch("/api/v1/connection", json=[item]).json()["failed"] == []


def consented(client: httpx.Client, provider: RotatingProvider, key: str, **secrets: object) -> None:
    """Store a connection of type `archive`, and have it authorized."""
    stored(client, provider, key, **secrets)
    consent(client, key)


def consent(client: httpx.Client, key: str) -> None:
    """Have a connection authorized."""
    address = client.get(f"/api/v1/connection/{key}/authorize").json()
    [state] = parse_qs(urlsplit(address).query)["state"]
    answer = client.get("/api/v1/oauth/callback", params={"state": state, "code": "any"})
    assert answer.status_code == 200, answer.text


def from_two_nodes(plugins, settings, headers, provider, each: int) -> None:
    """`each` tests of one connection on either of two services, at the same time."""
    environment = {
        "PYTHONPATH": str(plugins),
        "CONNECTORY_PLUGINS_ALLOW": "archive",
        "CONNECTORY_DATABASE_URL": settings.store_url,
        "CONNECTORY_KEYS_FILE": str(settings.keys_file),
        "CONNECTORY_EGRESS_ALLOW_LOOPBACK": "true",
        "CONNECTORY_TEST_RATE": "1000",
    }
    before = provider.generation
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running_service(settings.home / name, environment)) for name in ("node_1", "node_2")
        ]
        headers = {"Authorization": headers["Authorization"]}
        clients = [stack.enter_context(httpx.Client(base_url=node.url, headers=headers, timeout=60)) for node in nodes]

        def test_again_and_again(client: httpx.Client) -> list[str]:
            return [client.get("/api/v1/connection/deeds/test").json()["test_status"] for _ in range(each)]

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(test_again_and_again, clients))
        assert answers == [["succeeded"] * each] * 2
    assert provider.reused == []
    assert provider.generation == before + 2 * each


def test_two_nodes_use_no_refresh_token_twice(client, plugins, settings, provider):
    consented(client, provider, "deeds")
    from_two_nodes(plugins, settings, client.headers, provider, 20)


@pytest.mark.soak
def test_two_nodes_use_no_refresh_token_twice_in_200_tests_each(client, plugins, settings, provider):
    consented(client, provider, "deeds")
    from_two_nodes(plugins, settings, client.headers, provider, 200)


@contextmanager
def renewing(client, provider, key="deeds"):
    """While a test has had its refresh token taken, and waits for the new one; the block gets what will be its answer."""
    before = provider.generation
    provider.answering.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, f"/api/v1/connection/{key}/test")
        try:
            wait_until(lambda: provider.generation > before)
            yield answer
        finally:
            provider.answering.set()


def test_new_tokens_are_recorded_when_the_store_is_back(client, settings, provider, monkeypatch):
    """The caller is told at once."""
    monkeypatch.setattr("connectory.api.node.recordings.PATIENCE", 0.3)
    monkeypatch.setattr("connectory.api.node.store_threads.PATIENCE", 0.3)
    consented(client, provider, "deeds")
    with open_store(settings.store_url) as other:
        with renewing(client, provider) as answer, other.write() as database:
            database.execute(select(connections).with_for_update())  # SQLite lets nobody else write anyway
            provider.answering.set()
            told = answer.result()
            assert (told.status_code, told.headers["retry-after"]) == (503, "1")
        again = client.get("/api/v1/connection/deeds/test").json()
    assert again["test_status"] == "succeeded"
    assert (provider.reused, provider.generation) == ([], 3)


def test_new_tokens_of_a_test_that_the_end_of_its_service_kills_are_recorded(client, node, provider, monkeypatch):
    consented(client, provider, "deeds", mode="slow")
    told, feed = threading.Event(), Transcript.feed

    def feed_and_look(transcript, data):
        feed(transcript, data)
        if transcript.tokens is not None:
            told.set()

    monkeypatch.setattr(Transcript, "feed", feed_and_look)
    with ThreadPoolExecutor(1) as pool:
        with node() as ending:
            answer = pool.submit(authorized(ending).get, "/api/v1/connection/deeds/test")
            assert told.wait(20)
        assert answer.result().status_code == 503
    assert client.get("/api/v1/connection/deeds/test").json()["test_status"] == "succeeded"
    assert provider.reused == []


def test_a_test_whose_turn_does_not_come_says_so_and_is_not_kept(client, settings, provider, monkeypatch):
    """Whoever holds the turn may be a node that has died."""
    consented(client, provider, "deeds")
    with open_store(settings.store_url) as other:
        with other.write() as database:
            row = get_by_key(database, "deeds")
            held = Turn(row.id, row.secrets_version)
            assert queue_up(database, held, waits=WAITED, lasts=WAITED)
        with monkeypatch.context() as hurried:
            hurried.setattr(client.app.state.service.runner, "_deadline", 1)
            answer = client.get("/api/v1/connection/deeds/test").json()
        assert (answer["test_status"], answer["failure_code"], answer["steps"]) == ("failed", "timeout", [])
        assert "Other tests of this connection used its tokens" in answer["failure_reason"]
        shown = client.get("/api/v1/connection/deeds").json()
        assert (shown["last_test_succeeded"], shown["last_test"]) == (None, None)
        with other.write() as database:
            assert end(database, held)
    assert client.get("/api/v1/connection/deeds/test").json()["test_status"] == "succeeded"
    assert (provider.reused, provider.generation) == ([], 2)


def test_a_consent_during_a_test_wins_over_what_the_test_renews(client, provider):
    consented(client, provider, "deeds")
    with renewing(client, provider) as answer:
        provider.generation, before = (
            6,
            provider.generation,
        )  # a consent of its own: the other one is worth nothing any more
        provider.answering.set()
        consent(client, "deeds")
        answer.result()
    assert before == 2
    assert client.get("/api/v1/connection/deeds/test").json()["test_status"] == "succeeded"
    assert provider.reused == []


def test_a_test_without_tokens_takes_no_turn(client, provider):
    """It costs the store nothing."""
    stored(client, provider, "deeds", mode="no consent")
    store = client.app.state.service.store
    statements = []
    for engine in (store.reads, store.writes):
        event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert client.get("/api/v1/connection/deeds/test").json()["test_status"] == "succeeded"
    assert any("connection_secrets" in statement for statement in statements)
    assert not any("token_turns" in statement for statement in statements)
