"""README and the pages in docs/ are true: their commands run, and answer what they show."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain

import pytest

from connectory.testing.ports import free_port
from documentation.pages import ROOT, Example, blocks, differences, examples
from testkit.curl import environment_with_curl

_EXPORT = re.compile(r"^export (\w+)='?([^'\n]*)'?$", re.MULTILINE)


@pytest.fixture(scope="session")
def demo() -> Iterator[dict[str, str]]:
    """`make demo` (the program it runs), and the variables it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "DEMO_PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples/demo.py"], env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith('api "$API/connection?test_status=passed"'):
                break
        variables = dict(_EXPORT.findall(printed))
        assert {"API", "TOKEN", "DB_PORT", "DB_PASSWORD"} <= variables.keys(), printed
        assert (ROOT / "examples/main_job.sh").read_text().strip() in printed
        yield variables
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        process.stdout.close()


@pytest.fixture(scope="session")
def with_curl() -> dict[str, str]:
    """An environment that has curl."""
    return environment_with_curl() | {"HOME": os.environ.get("HOME", "/")}


def run(command: str, variables: dict[str, str], with_curl: dict[str, str]) -> str:
    environment = variables | with_curl
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tour_in_the_readme_is_the_demo_s_and_works(demo: dict[str, str], with_curl: dict[str, str]) -> None:
    tour = (ROOT / "examples/main_job.sh").read_text()
    assert tour.strip() in (ROOT / "README.md").read_text()
    answers = [json.loads(line) for line in run(tour, demo, with_curl).splitlines()]
    types, schema, saved, stored, tested, dataset, one, passed = answers
    assert "postgres" in [item["identifier"] for item in types["items"]]
    assert schema["title"] == "postgres_schema"
    assert saved["succeeded"][0]["key"] == "application_postgresql_db"
    assert (stored["test_status"], tested["test_status"]) == ("succeeded", "succeeded")
    assert dataset["failed"] == []
    assert one["secrets"]["password"] == "**********"
    assert [item["key"] for item in passed["items"]] == ["application_postgresql_db"]


def test_the_readme_opens_with_calls_that_answer_what_it_shows(demo: dict[str, str], with_curl: dict[str, str]) -> None:
    """Sent as JSON with a token, and to the demo's database; its name stands for somebody's."""
    [(_, calls), (_, shown), *_] = blocks(ROOT / "README.md")
    assert calls.count('"host": "db.example"') == 1
    calls = calls.replace('"host": "db.example"', f'"host": "{demo["DB_HOST"]}", "port": {demo["DB_PORT"]}')
    headers = '-H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
    answers = run(f'curl() {{ command curl -sS {headers} "$@"; echo; }}\n{calls}', demo, with_curl).splitlines()
    types, schema, saved, stored = map(json.loads, answers)
    assert f"{types['total']} systems" in calls
    assert schema["title"] == "postgres_schema"
    assert saved["succeeded"][0]["key"] == "shop"
    said = json.loads(shown.replace(", …}", "}"))
    steps = [
        (step["name"], step.get("status", found["status"]))
        for step, found in zip(said.pop("steps"), stored["steps"], strict=True)
    ]
    assert said == {name: stored[name] for name in said}
    assert steps == [(step["name"], step["status"]) for step in stored["steps"]]
    run(f'curl -sS -o /dev/null -X DELETE "$API/connection/shop" {headers}', demo, with_curl)


def test_the_examples_for_rest_users_answer_what_the_page_shows(
    demo: dict[str, str], with_curl: dict[str, str]
) -> None:
    # In order, on the connection that the first of them makes.
    headers = f'-H "Authorization: Bearer {demo["TOKEN"]}"'
    run(f'curl -sS -o /dev/null -X DELETE "$API/connection/application_postgresql_db" {headers}', demo, with_curl)
    found = examples(ROOT / "docs/rest.md")
    assert len(found) > 8
    problems: list[str] = []
    for example in found:
        answer = json.loads(run(example.command, demo, with_curl))
        problems += [f"{example.command}\n{problem}" for problem in _compare(example, answer)]
    assert not problems, "\n".join(problems)


def _compare(example: Example, answer: object) -> list[str]:
    return differences(json.loads(example.answer), answer) if example.answer else []


def test_the_plugin_authors_page_ends_in_the_example_connector() -> None:
    module = (ROOT / "examples/connectory-ledger/connectory_ledger.py").read_text().strip()
    assert module in [
        text.strip() for language, text in blocks(ROOT / "docs/plugin-authors.md") if language == "python"
    ]


def test_links_between_pages_lead_somewhere() -> None:
    packages = (ROOT.glob(f"{place}/README.md") for place in ("core", "console", "plugins/*", "examples/*"))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *chain.from_iterable(packages)]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
