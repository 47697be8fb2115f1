"""Blocks of code on pages are true: what no test beside runs.

Every block of Python on the page for plugin authors runs, in order; every entry point that it shows leads somewhere.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

import connectory
import connectory.testing
from connectory import Connector, DeployerSettings, Secrets
from connectory.consent import ConsentingConnector
from connectory.data import DataSession
from connectory.settings import Settings
from connectory.testing import ConnectorConformance, load_connector
from documentation.pages import ROOT, blocks
from testkit.distribution import install

PAGE = ROOT / "docs/plugin-authors.md"
# What excerpts take for granted, because the complete modules around them import it.
GIVEN = (
    {name: getattr(connectory, name) for name in connectory.__all__}
    | {name: getattr(connectory.testing, name) for name in connectory.testing.__all__}
    | {"Annotated": Annotated, "Field": Field, "Path": Path, "pytest": pytest}
)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What all blocks of Python define, each run with what those before it defined; of two definitions the first."""
    defined: dict[str, Any] = GIVEN | {"__file__": str(PAGE), "__name__": "page"}
    first: dict[str, Any] = {}
    for number, text in enumerate(text for language, text in blocks(PAGE) if language == "python"):
        exec(compile(text, f"{PAGE.name}, block {number}", "exec"), defined)
        first = defined | first
    return first


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("RedisConnector", Connector),
        ("TestRedisConformance", ConnectorConformance),
        ("LedgerSecrets", Secrets),
        ("LedgerSession", DataSession),
        ("LedgerSettings", DeployerSettings),
        ("LedgerCloud", ConsentingConnector),
        ("TestLedgerConformance", ConnectorConformance),
    ],
)
def test_a_block_defines_what_its_text_says(names: dict[str, Any], name: str, kind: type) -> None:
    assert issubclass(names[name], kind)


def test_the_excerpt_of_secrets_refuses_what_it_says(names: dict[str, Any]) -> None:
    given = {"host": "ledger.example", "username": "reader", "token": "t"}
    assert names["LedgerSecrets"](**given).port == 7000
    with pytest.raises(ValueError, match="username"):
        names["LedgerSecrets"](**given | {"username": "a:b"})


def test_the_excerpt_of_a_consent_asks_for_it(names: dict[str, Any]) -> None:
    secrets = names["LedgerCloudSecrets"](client_id="c", redirect_uri="https://app.example/back")
    asked = names["LedgerCloud"].authorization(None, secrets, None)
    assert (asked.client_id, asked.scopes, asked.pkce) == ("c", ("books.read",), True)


def test_entry_points_name_what_the_page_defines(names: dict[str, Any]) -> None:
    documents = [tomllib.loads(text) for language, text in blocks(PAGE) if language == "toml"]
    declared = [document["project"]["entry-points"] for document in documents]
    assert [sorted(groups) for groups in declared] == [["connectory.connectors"], ["connectory.sources"]]
    target = declared[0]["connectory.connectors"]["redis"]
    assert names[target.rpartition(":")[2]].identifier == "redis"


def test_pages_show_no_language_that_no_test_runs() -> None:
    """`text` is for what is not run: output, and commands whose parts the reader fills in."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    pages += [
        page for place in ("core", "console", "plugins/*", "examples/*") for page in ROOT.glob(f"{place}/README.md")
    ]
    shown = {f"{page.relative_to(ROOT)}: {language}" for page in pages for language, _ in blocks(page)}
    assert {line for line in shown if not line.endswith((": text", ": "))} == {
        "CONTRIBUTING.md: sh",  # below
        "README.md: sh",  # test_readme.py, tests/test_wheels.py; `make demo` and `make test` are this run
        "console/README.md: sh",  # tests/test_wheels.py
        "core/README.md: python",  # core/tests/catalog/test_readme.py
        "core/README.md: sh",  # tests/test_wheels.py
        "core/README.md: toml",  # core/tests/catalog/test_readme.py
        "docs/datasets.md: sh",  # test_datasets_page.py, with the commands of the blocks of text
        "docs/deployers.md: sh",  # tests/test_wheels.py
        "docs/deployers.md: yaml",  # below
        "docs/plugin-authors.md: python",  # here and in test_plugin_authors.py
        "docs/plugin-authors.md: sh",  # tests/test_new_plugin.py
        "docs/plugin-authors.md: toml",  # here
        "docs/rest.md: json",  # test_readme.py
        "docs/rest.md: python",  # tests/api/test_webhooks.py
        "docs/rest.md: sh",  # test_readme.py
        "examples/connectory-ldap/README.md: sh",  # tests/test_strangers.py
        "examples/connectory-ledger/README.md: sh",  # tests/test_new_plugin.py, from the page for plugin authors
        "examples/connectory-redis/README.md: sh",  # tests/test_strangers.py
        "examples/connectory-s3/README.md: sh",  # tests/test_strangers.py
        "plugins/mysql/README.md: python",  # below
        "plugins/saas/README.md: yaml",  # plugins/saas/tests/test_definitions.py
        "plugins/sql/README.md: python",  # below
        *(f"plugins/{path.parent.name}/README.md: sh" for path in ROOT.glob("plugins/*/pyproject.toml")),  # below
    }


@pytest.mark.parametrize("name", ["mysql", "sql"])
def test_a_connector_on_the_page_of_another_loads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = [text for language, text in blocks(ROOT / f"plugins/{name}/README.md") if language == "python"]
    module = f"ledger_on_the_page_of_{name}"
    install(tmp_path, "acme-ledger", entry_points={"ledger": f"{module}:Ledger"}, modules={module: source})
    monkeypatch.syspath_prepend(tmp_path)
    assert {"host", "port"} <= load_connector("ledger", "acme-ledger").schema["properties"].keys()


@pytest.mark.parametrize("project", sorted(ROOT.glob("plugins/*/pyproject.toml")), ids=lambda path: path.parent.name)
def test_a_plugin_s_page_installs_it(project: Path) -> None:
    [command] = [text for language, text in blocks(project.with_name("README.md")) if language == "sh"]
    first, *others = command.splitlines()
    assert first == f"pip install {tomllib.loads(project.read_text())['project']['name']}"
    assert all(other.startswith("apt-get install ") for other in others)


def test_the_page_for_who_changes_it_names_targets_of_make() -> None:
    [commands] = [text for _, text in blocks(ROOT / "CONTRIBUTING.md")]
    targets = (ROOT / "Makefile").read_text().partition(".PHONY:")[2].partition("\n")[0].split()
    assert {line.split()[1] for line in commands.splitlines()} <= set(targets)


def test_the_pod_on_the_page_for_deployers_finds_its_keys() -> None:
    [pod] = [
        yaml.safe_load(text)["spec"] for language, text in blocks(ROOT / "docs/deployers.md") if language == "yaml"
    ]
    [container], [volume] = pod["containers"], pod["volumes"]
    [variable], [mounted] = container["env"], container["volumeMounts"]
    assert variable["name"].removeprefix("CONNECTORY_").lower() in Settings.model_fields
    assert Path(variable["value"]).parent == Path(mounted["mountPath"])
    assert (mounted["name"], pod["securityContext"]["runAsNonRoot"]) == (volume["name"], True)
