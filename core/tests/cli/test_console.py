"""`connectory console`: a link that signs in once."""

import json
import re
import stat
import webbrowser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from connectory.settings import read_settings
from connectory.startup import open_database
from connectory.store.console_codes import use_code
from connectory.store.timestamps import utc_now
from testkit.distribution import install

LINK = r"http://127\.0\.0\.1:8000/console/#code=([A-Za-z0-9_-]{43})"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution that brings a console."""
    install(
        tmp_path / "site", "acme-console", entry_points={"console": "acme_console:mount"}, group="connectory.console"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def used(home: Path, code: str):
    with open_database(read_settings(home=home)) as store, store.write() as database:
        return use_code(database, code, now=utc_now())


def test_without_a_console_it_says_what_to_install(command, home, monkeypatch):
    monkeypatch.setattr("connectory.console_link.console_installed", lambda: False)
    assert command("console") == (1, "", "No console is installed; run: pip install 'connectory[console]'")
    assert not home.exists()


def test_it_prints_a_link_for_the_root_client(command, home, installed):
    code, printed, told = command("console")
    assert (code, told) == (0, "")
    grant = used(home, re.fullmatch(LINK + "\n", printed)[1])
    assert (grant.client_name, "connection:delete" in grant.scopes) == ("root", True)


def test_a_client_and_scopes_can_be_chosen_of_those_that_it_has(command, home, installed):
    made = json.loads(command("client", "create", "desk", "--scope", "connection:read,dataset:read")[1])
    _, printed, _ = command("console", "--client", made["client_id"], "--scope", "dataset:read", "--json")
    shown = json.loads(printed)
    assert set(shown) == {"url", "expires_at", "client_id", "scope"}
    assert (shown["client_id"], shown["scope"]) == (made["client_id"], "dataset:read")
    grant = used(home, re.fullmatch(LINK, shown["url"])[1])
    assert (grant.client_name, grant.scopes) == ("desk", {"dataset:read"})
    assert grant.expires_at.isoformat() == shown["expires_at"]
    assert "does not have the scope" in command("console", "--client", made["client_id"], "--scope", "audit:read")[2]
    assert "no such client" in command("console", "--client", "nobody")[2]


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({"CONNECTORY_PUBLIC_URL": "https://connect.example.com/"}, "https://connect.example.com"),
        ({"CONNECTORY_HOST": "0.0.0.0", "CONNECTORY_ALLOW_EMBEDDED": "true"}, "http://127.0.0.1:8000"),
        ({"CONNECTORY_HOST": "::1", "CONNECTORY_PORT": "81"}, "http://[::1]:81"),
    ],
)
def test_the_link_leads_to_where_browsers_find_the_service(command, installed, monkeypatch, settings, origin):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert command("console")[1].partition("/console/#code=")[0] == origin


def test_a_port_that_is_not_known_needs_a_public_url(command, installed, monkeypatch):
    monkeypatch.setenv("CONNECTORY_PORT", "0")
    assert "CONNECTORY_PUBLIC_URL" in command("console")[2]


@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_is_given_a_private_file_and_never_the_link(command, home, installed, monkeypatch, tmp_path, opens):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    given = []
    monkeypatch.setattr(webbrowser, "open", lambda url: given.append(url) or opens)
    code, printed, told = command("console", "--open")
    assert code == 0
    path = Path(unquote(urlsplit(given[0]).path))
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    [link] = set(re.findall(LINK, path.read_text()))
    assert "code" not in given[0]
    assert (link in printed, "No browser could be opened" in told) == (not opens, not opens)
    assert used(home, link) is not None
