"""`connectory check-plugin`: the conformance kit from the command line, and the secrets that it makes up."""

import json
import subprocess
from pathlib import Path

import pytest

from connectory.authoring import conformance_cases, run
from connectory.authoring.made_up import any_secrets, secrets_towards
from connectory.authoring.plugin_under_check import find_plugin
from connectory.catalog.catalog import find_connector
from connectory.documents.validation import parse_secrets
from connectory.scaffold import NewPlugin, write
from connectory.testing import RULES
from testkit.distribution import install
from testkit.loopback import LoopbackServer, Peer
from testkit.service import run_command

ROOT = Path(__file__).parents[3]
TOKEN = "open-sesame-4711"
LEFT_OUT, REASON = "a server that hangs up is a failure", "Keepers hang up when they are full."
KEEPER = '''
from typing import Annotated

from connectory import CheckContext, CheckFailed, Connector, Description, FailureCode, Host, Name, Port, Secrets, SecretText, Text
from connectory.toolkit import Public


class KeeperSecrets(Secrets):
    """One field is a secret, and looks like none."""

    host: Host
    port: Port
    api_key: Name
    access_key_id: Annotated[str | None, Text("an id"), Public("it names the key and is not one")] = None
    token: SecretText


class Keeper(Connector[KeeperSecrets]):
    identifier = "keeper"
    type = "other"
    description = Description(human_readable="Keeper")

    def test(self, secrets: KeeperSecrets, context: CheckContext) -> None:
        with context.open(secrets.host, secrets.port) as link, context.step("authenticate"):
            link.socket.sendall(secrets.token.get_secret_value().encode())
            answer = link.socket.recv(9)
            if not answer:
                raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
            if answer != b"welcome":
                raise LookupError(secrets.token.get_secret_value())
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution with a connector that has faults and one that cannot be imported; another without a connector."""
    folder = tmp_path_factory.mktemp("site")
    entry_points = {"keeper": "keeper_plugin:Keeper", "lost": "lost_plugin"}
    modules = {"keeper_plugin": KEEPER, "lost_plugin": "print('noise')\nraise ValueError"}
    install(folder, "acme-pair", entry_points=entry_points, modules=modules, requires=["connectory>=0.1,<1"])
    install(folder, "acme-nothing")
    return folder


@pytest.fixture
def check_plugin(home, site):
    """Run the command with those distributions installed; secrets are given as they are on standard input."""

    def check_plugin(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_command(home, "check-plugin", *arguments, settings={"PYTHONPATH": str(site)} | settings)

    return check_plugin


@pytest.fixture(scope="module")
def checked(site, tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """The distribution checked, with secrets that work for one of its connectors."""
    folder = tmp_path_factory.mktemp("checked")

    def answer(peer: Peer) -> None:
        peer.send(b"welcome" if peer.read(len(TOKEN)) == TOKEN.encode() else b"go away")
        peer.drain()

    with LoopbackServer(answer) as server:
        given = {"host": "127.0.0.1", "port": server.port, "api_key": "k", "token": TOKEN}
        (folder / "secrets.json").write_text(json.dumps({"keeper": given}))
        settings = {"PYTHONPATH": str(site), "PYTEST_ADDOPTS": "--made-up-option"}
        arguments = ["check-plugin", "Acme_Pair", "--json", "--secrets", str(folder / "secrets.json")]
        arguments += ["--exception", f"{LEFT_OUT}={REASON}"]
        return run_command(folder / "home", *arguments, settings=settings)


@pytest.fixture(scope="module")
def rules(checked) -> dict[tuple[str, str], dict[str, str]]:
    """What the report says of each rule, by connector and rule."""
    return {(rule["connector"], rule["rule"]): rule for rule in json.loads(checked.stdout)["rules"]}


def test_every_rule_of_the_kit_is_reported_with_its_reason(checked, rules):
    expected = [(rule.name, rule.why, rule.fix, rule.needs) for rule in RULES]
    for connector in ("keeper", "lost"):
        found = [rule for (identifier, _), rule in rules.items() if identifier == connector]
        assert [(rule["rule"], rule["why"], rule["fix"], rule["needs"]) for rule in found] == expected
    report = json.loads(checked.stdout)
    assert (report["distribution"], report["version"]) == ("acme-pair", "1.0")
    assert report["passed"] + report["failed"] + report["not_run"] == len(rules)


def test_the_reason_for_which_a_field_is_public_is_reported(rules):
    notes = rules["keeper", "what is sensitive is marked"]["notes"]
    assert notes == ["access_key_id is public: it names the key and is not one"]


def test_progress_is_told_while_it_runs(checked, rules):
    first, *lines = checked.stderr.splitlines()
    assert first == "acme-pair 1.0: keeper, lost"
    assert lines[0] == f"[ 1/{len(rules)}] passed    keeper: the entry point is declared"
    assert [line.partition("/")[0] for line in lines] == [f"[{number:2}" for number in range(1, len(rules) + 1)]


def test_a_broken_rule_says_what_to_do_and_the_exit_code_is_1(checked, rules):
    assert checked.returncode == 1
    shown = rules["keeper", "what is sensitive is marked"]
    assert shown["status"] == "failed"
    assert shown["problem"].startswith("api_key looks like a secret and is shown to everyone; give it a sensitive type")
    assert shown["fix"].startswith("Give the field a sensitive type such as SecretText")
    assert shown["reason"] is None


def test_secrets_that_work_are_tried_and_made_wrong_and_never_shown(checked, rules):
    assert rules["keeper", "good secrets succeed"]["status"] == "passed"
    wrong = rules["keeper", "each kind of bad secrets gets its code"]
    assert wrong["status"] == "failed"
    assert "internal_driver_error (the connector raised LookupError); expected auth_failed" in wrong["problem"]
    assert TOKEN not in checked.stdout + checked.stderr


def test_what_cannot_be_checked_is_not_run_and_says_why(rules):
    golden = rules["keeper", "the schema is the golden one"]
    assert (golden["status"], golden["problem"], golden["reason"]) == (
        "not_run",
        None,
        "The golden schema is in the project: give its folder.",
    )
    lost = {rule: found for (connector, rule), found in rules.items() if connector == "lost"}
    assert lost["the catalogue loads it"]["status"] == "failed"
    assert "Loading it raised ValueError" in lost["the catalogue loads it"]["problem"]
    assert 'File "' in lost["the catalogue loads it"]["problem"]  # its author needs the line
    assert lost["the schema has the usual frame"]["status"] == "not_run"
    assert "Loading it raised ValueError" in lost["the schema has the usual frame"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["acme-absent"], "There is no installed distribution of that name, and no folder"),
        (["acme-nothing"], "acme-nothing declares no connector: an entry point in the group"),
        (["core/tests"], "core/tests has no pyproject.toml that names a project."),
        (["pytest"], "pytest declares no connector"),
    ],
)
def test_what_is_not_a_plugin_is_a_wrong_use(site, arguments, told, monkeypatch, capsys):
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(ROOT)
    assert run(["check-plugin", *arguments]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_secrets_that_do_not_fit_are_told_by_field(check_plugin, tmp_path):
    (tmp_path / "secrets.json").write_text(json.dumps({"keeper": {"host": "h", "port": TOKEN, "token": TOKEN}}))
    done = check_plugin("acme-pair", "--secrets", str(tmp_path / "secrets.json"))
    assert (done.returncode, done.stdout) == (2, "acme-pair 1.0: keeper, lost\n")
    assert {line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]} == {"port", "api_key"}
    assert TOKEN not in done.stderr
    (tmp_path / "secrets.json").write_text(json.dumps({"host": "h"}))
    done = check_plugin("acme-pair", "--secrets", str(tmp_path / "secrets.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "under its identifier, of keeper, lost" in done.stderr


def test_a_project_s_folder_is_built_as_pip_would_and_needs_no_installation(check_plugin, tmp_path):
    """With a fault that ends it soon; tests/test_new_plugin.py checks a whole one."""
    folder = tmp_path / "connectory-acme-queue"
    write(NewPlugin("acme_queue", "other"), folder)
    module = folder / "src" / "connectory_acme_queue" / "__init__.py"
    module.write_text("raise RuntimeError")
    before = sorted(path for path in folder.rglob("*"))
    done = check_plugin(str(folder), PIP_NO_BUILD_ISOLATION="0")  # pip's way to say: with what is installed
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("connectory-acme-queue 0.1.0: acme_queue\n[ 1/")
    assert "Wrong: The connector does not load: Loading it raised RuntimeError" in done.stdout
    assert (
        "To fix: Do what the reason says; where the module raised something, the report shows the line." in done.stdout
    )
    assert "Why: The service takes the connector, within its time for loading" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(" not run.")
    assert sorted(path for path in folder.rglob("*")) == before


def test_a_project_that_is_installed_from_its_folder_is_checked_as_it_stands_there(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    write(NewPlugin("acme_queue", "other"), folder)
    metadata = install(
        tmp_path / "site", "connectory-acme-queue", version="0.2", entry_points={"acme_queue": "elsewhere"}
    )
    origin = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    (metadata / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(folder)
    found = find_plugin(".", tmp_path / "unused")
    assert (found.version, found.path) == ("0.2", ())
    assert found.golden == str(folder / "tests" / "secret_schema.json")


def test_a_project_that_cannot_be_built_says_so(tmp_path, monkeypatch, capsys):
    project = '[project]\nname = "acme-unbuilt"\n[build-system]\nrequires = []\nbuild-backend = "nowhere"\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    assert run(["check-plugin", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"pip cannot build {tmp_path}: ")
    assert f"pip install -e {tmp_path}" in told


@pytest.mark.parametrize("identifier", ["postgres", "mysql", "mariadb", "mssql", "mongodb", "redshift"])
def test_secrets_are_made_up_that_lead_to_a_far_end(identifier):
    connector = find_connector(identifier, f"connectory-{identifier}")
    made = secrets_towards(connector, "127.0.0.1", 4711, {})
    assert made is not None
    assert (made["host"], made["port"]) == ("127.0.0.1", 4711)
    assert parse_secrets(connector.secrets_model, made)


def test_made_up_secrets_keep_what_was_given():
    connector = find_connector("postgres", "connectory-postgres")
    given = {"url": "postgresql://reader:right@db.example:5433/books"}
    made = secrets_towards(connector, "127.0.0.1", 4711, given)
    assert made == {"host": "127.0.0.1", "port": 4711, "username": "reader", "password": "right", "dbname": "books"}


def test_none_are_made_up_where_no_field_says_where_to_go():
    assert secrets_towards(find_connector("manual", "connectory"), "127.0.0.1", 4711, {}) is None


@pytest.mark.parametrize("identifier", find_plugin("connectory-saas", Path()).identifiers)
def test_secrets_are_made_up_where_only_settings_say_where_to_go(identifier):
    connector = find_connector(identifier, "connectory-saas")
    assert secrets_towards(connector, "127.0.0.1", 4711, {}) is None
    made = any_secrets(connector, {})
    assert made is not None
    assert parse_secrets(connector.secrets_model, made)


def test_a_rule_is_left_out_with_a_reason_that_the_report_says(rules):
    left_out = rules["keeper", LEFT_OUT]
    assert (left_out["status"], left_out["reason"]) == ("not_run", f"Left out: {REASON}")


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        (LEFT_OUT, "--exception takes RULE=REASON"),
        (f"{LEFT_OUT}= ", "--exception needs a reason after the rule"),
        (f"a rule of my own={REASON}", "--exception names what is not a rule, or one that always holds"),
        (f"{RULES[-1].name}={REASON}", "--exception names what is not a rule, or one that always holds"),
    ],
)
def test_an_exception_is_one_and_has_a_reason(exception, told, capsys):
    assert run(["check-plugin", "connectory", "--exception", exception]) == 2
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize("setting", ["CONNECTORY_X", "=x"])
def test_a_setting_has_a_name_and_a_value(setting, capsys):
    assert run(["check-plugin", "connectory", "--setting", setting]) == 2
    assert capsys.readouterr().err.startswith("--setting takes NAME=VALUE")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"CONNECTORY_SAAS_ENDPOINTS": '{"api.stripe.com": "{origin}"}'}, None),
        ({"CONNECTORY_SAAS_ENDPOINTS": '{"api.sendgrid.com": "{origin}"}'}, "connects to no far end of the kit's"),
        ({}, "give --setting NAME=VALUE"),
    ],
)
def test_settings_may_lead_to_a_far_end_and_what_they_do_not_lead_reaches_nobody(setting, reason):
    job = {
        "distribution": "connectory-saas",
        "identifiers": ["stripe"],
        "secrets": {},
        "settings": setting,
        "golden": None,
    }
    conformance_cases.make(job)
    case = conformance_cases.made["Test_stripe"]()
    if reason is None:
        assert case.secrets_for_server("127.0.0.1", 4711) == case.any_secrets()
        assert case.settings_for_server("h", 1) == {"CONNECTORY_SAAS_ENDPOINTS": '{"api.stripe.com": "https://h:1"}'}
        return
    with pytest.raises(pytest.skip.Exception, match=reason):
        case.secrets_for_server("127.0.0.1", 4711)
