"""The commands of docs/datasets.md, in its order, over a real database: what they print is what the page shows, in its form."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from connectory.testing import free_port
from documentation.pages import ROOT, blocks
from servers.postgres.server import PostgresServer
from testkit.curl import environment_with_curl
from testkit.service import running_service, token_of_root

PAGE = ROOT / "docs/datasets.md"
SHOP = """
CREATE TABLE customer (id integer PRIMARY KEY, email varchar(100), nickname text);
CREATE VIEW lately AS SELECT * FROM customer;
CREATE ROLE shop_reader LOGIN PASSWORD 'reader-4711';
GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader;
"""
CHANGED = "ALTER TABLE customer ADD phone2 text; DROP VIEW lately; ALTER TABLE customer DROP nickname"
# What differs from run to run; of the rest, every word has to be as on the page.
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00"), "<time>"),
    (re.compile(r"_[0-9a-f]{10}\b"), "_<hash>"),
    (re.compile(r"  by .*$"), "  by <whom>"),
    (re.compile(r"(?<![\w.])\d+(?![\w.])"), "<number>"),
    (re.compile(r"<number> (dataset|collection|field)s?\b"), r"<number> \1s"),
)


@dataclass
class Terminal:
    """Where somebody follows the page."""

    folder: Path
    settings: dict[str, str]

    def run(self, command: str) -> list[str]:
        """The lines that a command prints on both of its streams."""
        script = ["bash", "-uo", "pipefail", "-c", command]
        done = subprocess.run(
            script, env=self.settings, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return done.stdout.splitlines()


def shown(command: str) -> tuple[str, list[str]]:
    """The command of the page that begins like this, and the lines that stand below it."""
    transcripts = [
        part for language, text in blocks(PAGE) for part in f"\n{text}".split("\n$ ")[1:] if language == "text"
    ]
    [found] = [part for part in transcripts if part.startswith(command)]
    first, *lines = found.strip().splitlines()
    return first, lines


def in_form(lines: list[str]) -> list[str]:
    for pattern, word in _VARYING:
        lines = [pattern.sub(word, line) for line in lines]
    return lines


@pytest.fixture(scope="module")
def shop(postgres: PostgresServer) -> Iterator[dict[str, str | int]]:
    """The secrets of an account that may read a database."""
    postgres.create_database("shop_of_the_page")
    postgres.execute(SHOP, database="shop_of_the_page")
    yield {
        "host": postgres.host,
        "port": postgres.port,
        "dbname": "shop_of_the_page",
        "username": "shop_reader",
        "password": "reader-4711",
    }
    postgres.execute("DROP OWNED BY shop_reader", database="shop_of_the_page")
    postgres.execute("DROP DATABASE shop_of_the_page")
    postgres.execute("DROP ROLE shop_reader")


def test_the_commands_print_what_the_page_shows(
    shop: dict[str, str | int], postgres: PostgresServer, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with running_service(home) as service:
        headers = {"Authorization": f"Bearer {token_of_root(home, service.url)}"}
        item = {"name": "Shop", "key": "shop_db", "connection_type": "postgres", "access": "read", "secrets": shop}
        with httpx.Client(base_url=f"{service.url}/api/v1", headers=headers, timeout=60) as api:
            assert api.patch("/connection", json=[item]).json()["failed"] == []
            settings = environment_with_curl(str(Path(sys.executable).parent))
            terminal = Terminal(
                tmp_path,
                settings | {"CONNECTORY_HOME": str(home), "API": f"{service.url}/api/v1", "HOME": str(tmp_path)},
            )
            follow(terminal, "connectory dataset generate")
            [store] = [text for language, text in blocks(PAGE) if language == "sh"]
            assert '"failed":[]' in terminal.run(store)[-1]
            postgres.execute(CHANGED, database="shop_of_the_page")
            assert api.post("/connection/shop_db/test").json()["test_status"] == "succeeded"
            follow(terminal, "connectory dataset check")
            follow(terminal, "connectory schedule set")
            (tmp_path / "secret.txt").write_text("a secret of sixteen characters or more")
            follow(terminal, "connectory webhook set", host=f"http://127.0.0.1:{free_port()}")
            follow(terminal, "connectory history")


def follow(terminal: Terminal, command: str, host: str = "") -> None:
    """Run a command of the page; `host` stands for the one that it names, which is nobody's."""
    line, expected = shown(command)
    if host:
        [named] = {word.rpartition("/")[0] for word in shlex.split(line) if word.startswith("https://")}
        line, expected = line.replace(named, host), [text.replace(named, host) for text in expected]
    assert in_form(terminal.run(line)) == in_form(expected), line
