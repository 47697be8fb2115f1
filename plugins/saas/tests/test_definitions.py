"""Definition files: those that come along are all there; a mistake in one is named by file, line and field, and costs only it."""

import re
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import connectory_saas
from connectory.sources import ConnectorUnusable
from connectory.testing import PluginStatus, build_catalog
from connectory_saas.definition import load_definition

FOLDER = Path(connectory_saas.__file__).with_name("definitions")
FILES = sorted(FOLDER.glob("*.yaml"))

GOOD = """\
identifier: ledger
name: Ledger
secrets:
  domain:
    title: Domain
    hosts: ["*.ledger.example"]
  key:
    title: Key
    sensitive: true
auth: {strategy: bearer, token: <key>}
test:
  - url: https://<domain>/books
    expect: {type: object}
"""


def test_each_file_is_one_entry_point_and_the_reverse() -> None:
    declared = {
        found.name: found.value
        for found in entry_points(group="connectory.connectors")
        if found.dist is not None and found.dist.name == "connectory-saas"
    }
    assert declared == {file.stem: f"connectory_saas:{file.stem}" for file in FILES}
    assert len(FILES) == 12


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_is_small_and_complete(file: Path) -> None:
    definition = load_definition(file)
    assert definition.identifier == file.stem
    assert definition.category
    assert definition.user_guide
    assert len(file.read_text().splitlines()) <= 100


def test_the_specifications_example_comes_out_as_printed() -> None:
    schema = build_catalog(environment={}).connectors["sentry"].schema
    assert {name: schema[name] for name in schema if name != "allOf"} == {
        "title": "sentry_schema",
        "description": "Sentry secrets schema",
        "type": "object",
        "properties": {
            "access_token": {"title": "Access Token", "type": "string", "sensitive": True},
            "domain": {"title": "Domain", "default": "sentry.io", "type": "string"},
        },
        "required": ["access_token"],
        "additionalProperties": False,
    }
    assert list(schema["properties"]) == ["access_token", "domain"]


def test_reading_them_imports_nothing_that_sends_requests() -> None:
    import subprocess

    program = "import connectory_saas; connectory_saas.auth0; import sys; print(*sorted(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    imported = set(finished.stdout.split())
    assert "connectory_saas.plugin" in imported
    assert not imported & {"httpx", "httpcore", "authlib", "asyncio", "connectory_saas.engine"}


MISTAKES = {
    "a field is missing": ("  key:\n    title: Key\n", "  key:\n", "line 8, secrets.key.title: Field required"),
    "a field is unknown": ("sensitive: true", "sensitiv: true", "line 9, secrets.key.sensitiv: Extra inputs are not"),
    "a value is of another type": ("sensitive: true", "sensitive: [1]", "line 9, secrets.key.sensitive: Input should"),
    "a strategy is unknown": ("strategy: bearer", "strategy: bear", "line 10, auth: Input tag 'bear'"),
    "a strategy lacks its own field": (", token: <key>", "", "line 10, auth.token: Field required"),
    "a secret is not there": (
        "token: <key>",
        "token: <kee>",
        "line 10, auth.token: Names the secret 'kee', which is not",
    ),
    "a host comes from a secret without rules": (
        "https://<domain>/books",
        "https://<key>/books",
        "line 12, test.0.url: Takes its host from the secret 'key', which has no 'hosts'.",
    ),
    "a url is not encrypted": ("https://<domain>", "http://<domain>", "line 12, test.0.url: String should match"),
    "a url has a query": ("/books", "/books?a=b", "line 12, test.0.url: String should match"),
    "a host rule is too wide": ('"*.ledger.example"', '"*"', "line 6, secrets.domain.hosts.0: String should match"),
    "a host rule covers a top-level domain": ('"*.ledger.example"', '"*.com"', None),
    "a key is given twice": ("name: Ledger\n", "name: Ledger\nname: Book\n", "line 3, name: Is given twice."),
    "the identifier is not the file's name": (
        "identifier: ledger",
        "identifier: leger",
        "identifier: Must be the file's name",
    ),
    "it is no YAML": ("auth: {strategy", "auth: {{strategy", "Is no YAML that a definition may hold"),
    "it wants to run code": (
        "name: Ledger",
        "name: !!python/object/apply:os.system [true]",
        "line 2: Is no YAML that a",
    ),
    "it is empty": (GOOD, "", "is empty; see the definitions"),
    "a sensitive field has a default": (
        "sensitive: true",
        "sensitive: true\n    default: x",
        "line 9, secrets.key.sensitive: Does",
    ),
    "a pattern is broken": (
        "title: Key",
        "title: Key\n    pattern: '['\n    expected: a key",
        "line 9, secrets.key.pattern: Is no",
    ),
    "a header is split": (
        "{type: object}",
        '{type: object}\n    headers: {"X-A": "a\\r\\nX-B: b"}',
        "test.0.headers.X-A: String",
    ),
    "a verdict is unknown": (
        "{type: object}",
        "{type: object}\n    answers: [{status: 403, code: fine}]",
        "line 14, test.0.answers.0.code: Input should be 'ok'",
    ),
}


@pytest.mark.parametrize(("good", "bad", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_and_costs_only_its_connector(
    tmp_path: Path, good: str, bad: str, message: str | None
) -> None:
    assert good in GOOD
    (tmp_path / "ledger.yaml").write_text(GOOD.replace(good, bad, 1))
    (tmp_path / "other.yaml").write_text(GOOD.replace("identifier: ledger", "identifier: other"))
    catalog = build_catalog(environment={"CONNECTORY_SAAS_DEFINITIONS": str(tmp_path)})
    record = next(record for record in catalog.records if record.identifier == "ledger")
    assert catalog.get("other") is not None
    assert catalog.get("stripe") is not None
    if message is None:  # allowed: it is for the deployer to judge
        assert record.status is PluginStatus.LOADED
        return
    assert record.status is PluginStatus.FAILED
    assert record.reason.startswith("ledger.yaml")
    assert message in record.reason
    assert record.reason.isprintable()


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConnectorUnusable, match=r"ledger\.yaml cannot be read as UTF-8 text"):
        load_definition(path)
    with pytest.raises(ConnectorUnusable, match=r"nowhere\.yaml cannot be read"):
        load_definition(tmp_path / "nowhere.yaml")


def test_yaml_that_refers_to_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_text("identifier: &a [*a]\n")
    with pytest.raises(ConnectorUnusable, match=r"^ledger\.yaml"):
        load_definition(path)


def test_the_identifier_is_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_text(GOOD.removeprefix("identifier: ledger\n"))
    assert load_definition(path).identifier == "ledger"


def test_members_of_0_1_that_nothing_read_have_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "ledger.yaml"
    path.write_text(
        f"{GOOD}"
        "rate_limit: {requests: 2, period: 1, reset_header: X-Reset}\n"
        "pagination: {strategy: link, next: Link, size: 100}\n"
    )
    rate_limit = load_definition(path).rate_limit
    assert rate_limit is not None
    assert rate_limit.reset_header == "X-Reset"
    path.write_text(f"{GOOD}rate_limit: {{reqests: 2}}\n")
    with pytest.raises(ConnectorUnusable, match=r"line 14, rate_limit\.reqests: Extra inputs are not permitted"):
        load_definition(path)


class TestTheDeployersFolder:
    def test_a_definition_in_it_is_a_connector_with_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "ledger.yaml").write_text(GOOD)
        (tmp_path / "notes.txt").write_text("no definition")
        catalog = build_catalog(environment={"CONNECTORY_SAAS_DEFINITIONS": str(tmp_path)})
        [record] = [record for record in catalog.records if record.identifier == "ledger"]
        assert (record.status, record.distribution) == (PluginStatus.LOADED, "connectory-saas")
        assert record.target == str(tmp_path / "ledger.yaml")
        assert catalog.connectors["ledger"].system_type == "saas"

    def test_it_cannot_take_an_installed_identifier(self, tmp_path: Path) -> None:
        (tmp_path / "stripe.yaml").write_text(GOOD.replace("identifier: ledger", "identifier: stripe"))
        catalog = build_catalog(environment={"CONNECTORY_SAAS_DEFINITIONS": str(tmp_path)})
        records = {record.target: record.status for record in catalog.records if record.identifier == "stripe"}
        assert records["connectory_saas:stripe"] is PluginStatus.LOADED
        assert records[str(tmp_path / "stripe.yaml")] is PluginStatus.CONFLICT
        assert catalog.connectors["stripe"].description.human_readable == "Stripe"

    def test_a_folder_that_is_not_there_is_said_and_costs_nothing_else(self, tmp_path: Path) -> None:
        catalog = build_catalog(environment={"CONNECTORY_SAAS_DEFINITIONS": str(tmp_path / "nowhere")})
        reasons = [record.reason for record in catalog.records if record.reason]
        assert any(
            reason.startswith("CONNECTORY_SAAS_DEFINITIONS names no folder that can be read") for reason in reasons
        )
        assert catalog.get("stripe") is not None

    def test_without_the_setting_there_is_none(self) -> None:
        assert (
            len([1 for record in build_catalog(environment={}).records if record.distribution == "connectory-saas"])
            == 12
        )


def test_a_thirteenth_service_takes_one_file_and_one_line(tmp_path: Path) -> None:
    """The distribution, copied, with one more file and one more line, has one connector more."""
    import shutil
    import subprocess

    source = FOLDER.parents[1]
    copy = tmp_path / "saas"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (copy / "connectory_saas" / "definitions" / "ledger.yaml").write_text(GOOD)
    pyproject = copy / "pyproject.toml"
    line = 'ledger = "connectory_saas:ledger"\n'
    declared = '[project.entry-points."connectory.connectors"]\n'
    pyproject.write_text(pyproject.read_text().replace(declared, declared + line))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    [wheel] = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    shutil.unpack_archive(wheel, site, "zip")
    program = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        from connectory.testing import build_catalog
        print(*build_catalog(environment={}).connectors)
        """
    )
    run = subprocess.run([sys.executable, "-c", program, str(site)], capture_output=True, text=True, timeout=60)
    assert "ledger" in run.stdout.split(), run.stderr
    assert re.search(r"\bstripe\b", run.stdout)


def test_the_readmes_definition_is_one(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", (FOLDER.parents[1] / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "ledger.yaml"
    path.write_text(example)
    assert load_definition(path).test[0].answers[0].code == "permission_denied"


def test_the_readme_names_every_setting_and_service() -> None:
    from connectory_saas.definition_folder import VARIABLE
    from connectory_saas.settings import SaasSettings

    readme = (FOLDER.parents[1] / "README.md").read_text()
    for name in (VARIABLE, *(f"CONNECTORY_{field.upper()}" for field in SaasSettings.model_fields)):
        assert f"| `{name}` |" in readme
    for file in FILES:
        assert f"| `{file.stem}` |" in readme
