"""The survey: the same catalogue from a process of its own, whatever plugins do to that process."""

import json
import os
import subprocess
import sys

import pytest

from testkit.distribution import install, plugin_source
from testkit.service import environment_of, run_command, running_service

SOURCE = """
import os, signal
from connectory import ConnectorSource, SourcedConnector
class Source(ConnectorSource):
    def find(self, environment):
        os.kill(os.getpid(), signal.SIGSEGV)
    def load(self, target):
        raise AssertionError
source = Source()
"""


@pytest.fixture
def add(tmp_path):
    """Install a plugin where the commands of `run` find it; `before` is what its module does first."""

    def add(identifier, before="", **details):
        module = f"{identifier}_for_survey"
        install(
            tmp_path / "site",
            f"acme-{identifier}",
            entry_points={identifier: module},
            modules={module: plugin_source(identifier, before=before)},
            **details,
        )

    return add


@pytest.fixture
def records(tmp_path):
    """What `connectory plugins` says of the plugins in the test's folder, by identifier."""

    def records():
        done = run_command(tmp_path / "home", "plugins", "--json", settings={"PYTHONPATH": str(tmp_path / "site")})
        assert (done.returncode, done.stderr) == (0, "")
        return {item["identifier"]: item for item in json.loads(done.stdout)}

    return records


def run_python(tmp_path, code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of(tmp_path, {"PYTHONPATH": str(tmp_path / "site")}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_says_what_loading_here_says_and_imports_no_plugin(tmp_path, add):
    add("good")
    add("bad", "raise RuntimeError")
    code = """
import json, sys
from connectory.catalog.catalog import build_catalog
from connectory.catalog.discovery import Selection
from connectory.catalog.survey import Survey
selection = Selection(deny=frozenset({"mysql"}))
with Survey(selection) as survey:
    surveyed = survey.catalog()
imported = [name for name in sys.modules if name.startswith(("connectory_", "good_"))]
here = build_catalog(selection)
def said(catalog):
    return [
        [c.system_type, c.schema, c.settings_values, c.asks_for_consent, repr(c.record), repr(c.description)]
        for c in catalog.connectors.values()
    ]
print(json.dumps({
    "imported": imported,
    "equal": said(surveyed) == said(here) and surveyed.records == here.records,
    "identifiers": list(surveyed.connectors),
    "fields": list(surveyed.get("good").secrets_model.model_fields),
}))
"""
    found = run_python(tmp_path, code)
    assert found["imported"] == []
    assert found["equal"]
    assert {"good", "postgres", "stripe", "manual"} <= set(found["identifiers"])
    assert not {"bad", "mysql"} & set(found["identifiers"])
    assert found["fields"] == ["token"]


def test_a_slow_plugin_that_ends_the_process_is_told_from_one_that_is_only_slow(add, records):
    add("sleeping", "import time; time.sleep(30)")
    add("ending", "import os, time; time.sleep(1.5); os._exit(3)")
    add("good")
    found = records()
    assert found["good"]["status"] == "loaded"
    assert found["sleeping"]["reason"].startswith("Importing it took over 5 s")
    assert found["ending"]["reason"].startswith("Importing it ended the process (exit code 3)")


def test_several_processes_say_what_one_says(tmp_path, add):
    for name in ("one", "two", "three"):
        add(name)
    add("ending", "import os; os._exit(3)")
    add("raising", "raise RuntimeError")
    code = """
import json, os
from connectory.catalog import survey
from connectory.catalog.discovery import Selection
def told():
    with survey.Survey(Selection()) as running:
        found = running.catalog()
    return [repr(record) for record in found.records], list(found.connectors), sorted(found.variables)
alone = told()
survey._MANY = 0
os.cpu_count = lambda: 3
print(json.dumps([alone == told(), len(alone[0])]))
"""
    same, number = run_python(tmp_path, code)
    assert same
    assert number >= 5


@pytest.mark.parametrize(
    ("does", "ending"),
    {
        "import os; os._exit(3)": "exit code 3",
        "import os; os._exit(0)": "exit code 0",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "signal 11",
    }.items(),
)
def test_a_plugin_that_ends_its_process_costs_only_itself(add, records, does, ending):
    add("crashing", does)
    add("good")
    found = records()
    assert found["crashing"]["status"] == "failed"
    assert found["crashing"]["reason"] == (
        f"Importing it ended the process ({ending}); report it to the authors of acme-crashing 1.0."
    )
    assert {found[name]["status"] for name in ("good", "postgres", "stripe", "manual")} == {"loaded"}


def test_so_do_two_and_a_source(tmp_path, add, records):
    add("first", "import os; os._exit(1)")
    add("second", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    install(
        tmp_path / "site",
        "acme-source",
        entry_points={"finds": "source_for_survey:source"},
        modules={"source_for_survey": SOURCE},
        group="connectory.sources",
    )
    found = records()
    assert {name: found[name]["status"] for name in ("first", "second", "finds", "postgres", "stripe")} == {
        **dict.fromkeys(("first", "second", "finds"), "failed"),
        **dict.fromkeys(("postgres", "stripe"), "loaded"),
    }
    assert "signal 6" in found["second"]["reason"]
    assert "signal 11" in found["finds"]["reason"]


def test_so_does_one_that_lets_no_other_thread_run(tmp_path, add):
    add("native", "import ctypes; ctypes.PyDLL(None).pause()")
    add("good")
    code = """
import json
from connectory.catalog import loading
loading.LOAD_LIMIT = 2
from connectory.catalog.discovery import Selection
from connectory.catalog.survey import Survey
with Survey(Selection(allow=frozenset({"native", "good"}))) as survey:
    print(json.dumps({record.identifier: [record.status, record.reason] for record in survey.catalog().records}))
"""
    found = run_python(tmp_path, code)
    assert found["native"][0] == "failed"
    assert found["native"][1].startswith("Importing it took over 2 s")
    assert found["good"] == ["loaded", ""]


def test_its_process_ends_with_the_command(tmp_path, add):
    pid = tmp_path / "pid"
    add("waiting", f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(60)")
    code = f"""
import json, pathlib, time
from connectory.catalog.discovery import Selection
from connectory.catalog.survey import Survey
pid = pathlib.Path({str(pid)!r})
with Survey(Selection(allow=frozenset({{"waiting"}}))):
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.01)
print(json.dumps(int(pid.read_text())))
"""
    with pytest.raises(ProcessLookupError):
        os.kill(run_python(tmp_path, code), 0)


def test_the_service_logs_what_plugins_log_without_its_arguments(tmp_path, add):
    add("talking", 'import logging; logging.getLogger("acme").warning("Loading %s", "marker-4711")')
    with running_service(tmp_path / "home", {"PYTHONPATH": str(tmp_path / "site")}) as service:
        log = service.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["logger"] for line in lines if line["event"] == "Loading %s"] == ["acme"]
    assert "marker-4711" not in log


@pytest.mark.parametrize("ends", ["os._exit(5)", "raise RuntimeError"])
def test_a_process_that_ends_by_itself_is_blamed_on_no_plugin(tmp_path, add, ends):
    add("good")
    code = f"""
import json, os
from connectory.catalog import survey
from connectory.catalog.discovery import Selection
def facts(connector):
    {ends}
survey._facts = facts
with survey.Survey(Selection(allow=frozenset({{"good"}}))) as running:
    try:
        running.catalog()
    except survey.SurveyFailed as error:
        print(json.dumps(str(error)))
"""
    code_told = "5" if "5" in ends else "1"
    told = run_python(tmp_path, code)
    assert told == f"The process that looks for plugins ended (exit code {code_told}), and not in a plugin."


def test_a_plugin_that_hangs_and_goes_on_logging_garbles_nothing(tmp_path, add):
    add("hanging", "import logging\nwhile True: logging.getLogger('acme').warning('x' * 3000)")
    add("good")
    code = """
import json, logging
from connectory.catalog import loading
loading.LOAD_LIMIT = 0.5
from connectory.catalog import survey
from connectory.catalog.discovery import Selection
with survey.Survey(Selection(allow=frozenset({"hanging", "good", "postgres"}))) as running:
    logging.disable(logging.CRITICAL)  # here, not in the forked process
    print(json.dumps({record.identifier: record.status for record in running.catalog().records}))
"""
    found = run_python(tmp_path, code)
    assert {name: found[name] for name in ("hanging", "good", "postgres")} == {
        "hanging": "failed",
        "good": "loaded",
        "postgres": "loaded",
    }
