"""`connectory new-plugin`, `check` and `schema`. What the first one writes is built in tests/test_new_plugin.py."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from connectory.authoring import run
from connectory.scaffold import NewPlugin, project, write
from testkit.distribution import install
from testkit.service import COMMAND, environment_of
from testkit.wheels import finished, start

ERRAND = """
from connectory import CheckContext, CheckFailed, Connector, Description, FailureCode, Host, Name, Port, Secrets, SecretText


class ErrandSecrets(Secrets):
    host: Host = "127.0.0.1"
    port: Port = 1
    task: Name
    token: SecretText


class Errand(Connector[ErrandSecrets]):
    identifier = "errand"
    type = "other"
    description = Description(human_readable="Errand")

    def test(self, secrets: ErrandSecrets, context: CheckContext) -> None:
        with context.step("query"):
            if secrets.task == "break":
                raise ValueError(secrets.token.get_secret_value())
            if secrets.task == "refuse":
                raise CheckFailed(FailureCode.AUTH_FAILED, remedy="Ask for another token.")
            if secrets.task == "hang":
                while True:
                    pass
        if secrets.task == "connect":
            context.connect(secrets.host, secrets.port)
"""
TOKEN = "open-sesame-4711"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a connector that does what its secrets say, and one that cannot be imported."""
    folder = tmp_path_factory.mktemp("site")
    install(
        folder,
        "connectory-errand",
        entry_points={"errand": "errand_plugin:Errand", "broken": "broken_plugin"},
        modules={"errand_plugin": ERRAND, "broken_plugin": "def load():\n    {}['of the author']\n\n\nload()\n"},
    )
    return folder


@pytest.fixture
def author(home: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process, with those connectors; secrets go into a file. Gives its exit code and what it printed."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("CONNECTORY_HOME", str(home))
    monkeypatch.setenv("CONNECTORY_PLUGINS_ALLOW", "errand,broken")

    def author(*arguments: str, secrets: object = None, **settings: str) -> tuple[int, str, str]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        if secrets is not None:
            file = tmp_path / "secrets.json"
            file.write_text(secrets if isinstance(secrets, str) else json.dumps(secrets))
            arguments += ("--secrets", str(file))
        try:
            code = run(arguments)
        except SystemExit as ended:  # argparse's way
            code = ended.code
        printed, told = capsys.readouterr()
        assert TOKEN not in printed + told
        assert not home.exists()  # no store is opened
        return code, printed, told

    return author


def to(task: str) -> dict[str, str]:
    return {"task": task, "token": TOKEN}


@pytest.mark.parametrize(
    "name",
    ["", "Redis", "redis-db", "2redis", "_redis", "redis_", "re__dis", "redis.db", "../x", "é", "a" * 41, "redis\n"],
)
def test_a_name_that_does_not_fit_is_refused_and_nothing_is_written(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["new-plugin", name, "--type", "database"]) == 2
    assert "lower-case letters, digits, and single underscores" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["new-plugin", "manual", "--type", "other"]) == 2
    assert "'manual' is a connector of connectory, which is installed here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_exists_is_not_touched(make, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "connectory-acme-queue"
    make(place)
    assert run(["new-plugin", "acme_queue", "--type", "other"]) == 2
    assert "exists, and nothing in it was changed; choose another place with --directory" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [place]
    assert run(["new-plugin", "acme_queue", "--type", "other", "--directory", "elsewhere"]) == 0
    assert (tmp_path / "elsewhere" / "pyproject.toml").is_file()


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    folder = tmp_path / "missing" / "plugin"
    assert run(["new-plugin", "acme_queue", "--type", "other", "--directory", str(folder)]) == 2
    assert capsys.readouterr().err.startswith(f"{folder} cannot be written (No such file or directory)")


def test_no_half_of_a_project_is_left(tmp_path, monkeypatch):
    templates = tmp_path / "templates"
    shutil.copytree(project._TEMPLATES, templates)
    (templates / "other" / "wrong.template").write_text("$unknown")
    monkeypatch.setattr(project, "_TEMPLATES", templates)
    with pytest.raises(KeyError):
        write(NewPlugin("acme_queue", "other"), tmp_path / "plugin")
    assert list(tmp_path.iterdir()) == [templates]


def test_a_test_that_succeeds_shows_its_steps(author):
    code, printed, told = author("check", "errand", secrets=to("succeed"))
    assert (code, told) == (0, "")
    assert [line.split()[:2] for line in printed.splitlines()] == [
        ["errand", "(connectory-errand"],
        ["query", "passed"],
    ]


def test_a_test_that_fails_shows_why_and_what_to_do(author):
    code, printed, _ = author("check", "errand", secrets=to("refuse"))
    assert code == 1
    assert printed.splitlines()[-1] == "auth_failed: Ask for another token."
    code, printed, _ = author("check", "errand", "--json", secrets=to("refuse"))
    report = json.loads(printed)
    assert (code, report["test_status"], report["failure_code"]) == (1, "failed", "auth_failed")
    assert report["failure_reason"] == "Ask for another token."
    assert [(step["name"], step["status"]) for step in report["steps"]] == [("query", "failed")]


def test_the_author_s_own_traceback_is_shown_when_asked_for(author):
    code, printed, _ = author("check", "errand", secrets=to("break"))
    assert (code, "Traceback" in printed) == (1, False)
    assert "internal_driver_error (the connector raised ValueError): " in printed
    code, printed, _ = author("check", "errand", "--debug", secrets=to("break"))
    assert code == 1
    assert "raise ValueError(secrets.token.get_secret_value())" in printed
    assert printed.splitlines()[-1] == "ValueError: **********"
    code, printed, _ = author("check", "errand", "--debug", "--json", secrets=to("break"))
    assert json.loads(printed)["traceback"].endswith("ValueError: **********\n")


def test_the_limits_are_those_of_the_service(author):
    """Where tests may connect, and for how long."""
    denied = author("check", "errand", secrets=to("connect"), CONNECTORY_EGRESS_DENY="127.0.0.0/8")
    assert (denied[0], "address_not_allowed" in denied[1]) == (1, True)
    hanging = author("check", "errand", secrets=to("hang"), CONNECTORY_PROBE_DEADLINE="2")
    assert (hanging[0], "timeout: " in hanging[1]) == (1, True)
    code, printed, told = author("check", "errand", secrets=to("succeed"), CONNECTORY_PROBE_DEADLINE="a year")
    assert (code, printed) == (2, "")
    assert told.startswith("CONNECTORY_PROBE_DEADLINE ")


def test_secrets_that_do_not_fit_are_told_by_field_and_never_repeated(author):
    wrong = {"host": f"https://{TOKEN}", "port": TOKEN, "tokn": TOKEN}
    code, printed, told = author("check", "errand", secrets=wrong)
    assert (code, printed) == (2, "")
    assert {line.split(":")[0].strip() for line in told.splitlines()[1:]} == {"host", "port", "task", "token"}
    code, printed, _ = author("check", "errand", "--json", secrets=wrong)
    assert code == 2
    assert {"field": "port", "message": "Must be an integer from 1 to 65535."} in json.loads(printed)["problems"]


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        (f'{{"token": "{TOKEN}"', "The secrets are not JSON, from line 1, column 29 on."),
        (f'["{TOKEN}"]', "The secrets must be a JSON object"),
        ("[" * 100_000, "The secrets are not JSON that can be read."),
    ],
)
def test_what_is_not_secrets_is_refused(author, secrets, told):
    code, printed, said = author("check", "errand", secrets=secrets)
    assert (code, printed, said.startswith(told)) == (2, "", True)


def test_no_argument_is_repeated(author):
    """Whoever gives a secret as one does not find it in a log of the terminal as well."""
    for arguments in (
        ["errand", "--token", TOKEN],
        ["errand", "--secrets", TOKEN],
        [TOKEN],
        ["errand", f"--json={TOKEN}"],
    ):
        code, printed, told = author("check", *arguments)
        assert (code, printed, told != "") == (2, "", True)


def test_secrets_come_from_standard_input(home, site, tmp_path):
    """In a process of its own, as all of it is for an author."""
    (tmp_path / "secrets").write_text(json.dumps(to("succeed")))
    process = start(
        ["sh", "-c", f"{COMMAND} check errand --secrets - < {tmp_path / 'secrets'}"],
        settings=environment_of(home, {"PYTHONPATH": str(site), "CONNECTORY_PLUGINS_ALLOW": "errand"}),
    )
    assert finished(process).startswith("errand (connectory-errand 1.0): succeeded")


def test_a_type_that_is_not_there_is_a_wrong_use(author):
    for command in ("check", "schema"):
        code, printed, told = author(command, "erand")
        assert (code, printed) == (2, "")
        assert "No connector of that type is installed; there are: " in told


def test_a_connector_that_does_not_load_says_why(author):
    code, printed, _ = author("check", "broken", secrets={})
    assert code == 1
    assert (
        "connector_unavailable: The connector 'broken' (connectory-errand 1.0) is failed. Loading it raised KeyError"
        in printed
    )
    assert "Traceback" not in printed
    _, printed, _ = author("check", "broken", "--debug", secrets={})
    assert "broken_plugin.py" in printed
    assert "{}['of the author']" in printed
    assert author("schema", "broken")[0] == 2


def test_the_schema_is_what_consumers_read(author):
    code, printed, told = author("schema", "errand")
    assert (code, told) == (0, "")
    assert list(json.loads(printed)["properties"]) == ["host", "port", "task", "token"]


def test_a_reader_that_has_enough_is_no_error(site, monkeypatch):
    """`| head -1` closes the pipe while more comes."""
    monkeypatch.syspath_prepend(site)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert run(["schema", "errand"]) == 1
        print("and nothing is said at the end", flush=True)


def test_the_commands_are_listed_with_the_others(command):
    code, printed, _ = command("--help")
    assert code == 0
    for name in ("new-plugin", "check", "schema", "check-plugin"):
        assert f"  {name} " in printed
        code, usage, _ = command(name, "--help")
        assert (code, usage.startswith(f"usage: connectory {name} ")) == (0, True)
