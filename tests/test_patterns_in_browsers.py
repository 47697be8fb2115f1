"""The patterns of all schemas, in the engine that browsers have: V8 takes each with `u`, and with `v` as forms do."""

import json

import pytest

from connectory.testing import LoadedConnector, build_catalog
from connectory.testing.schema_rules import pattern_complaints, patterns
from testkit.node import run_script

CONNECTORS = build_catalog(environment={}).connectors

WRONG = ("[(]", "[a-z&&b]", "[-a]", "[a|b]", "[/]", "[{]", "a{1", r"\_", "[b-a]", "(", "[!!]")

REFUSED = """
const patterns = JSON.parse(require("fs").readFileSync(0, "utf8"));
const problem = (pattern, flag) => { try { new RegExp(pattern, flag); } catch (error) { return `${flag}: ${error.message}`; } };
console.log(JSON.stringify(patterns.map(one => ["u", "v"].map(flag => problem(one, flag)).filter(Boolean))));
"""


def patterns_of(connector: LoadedConnector) -> list[str]:
    return [pattern for _, pattern in patterns(connector.schema)]


@pytest.fixture(scope="module")
def refused() -> dict[str, list[str]]:
    """What V8, started once, says of each pattern that any of these tests is about: nothing of those that it takes."""
    asked = [*WRONG, *(pattern for connector in CONNECTORS.values() for pattern in patterns_of(connector))]
    return dict(zip(asked, json.loads(run_script(REFUSED, given=json.dumps(asked))), strict=True))


def test_there_are_21_connectors() -> None:
    assert len(CONNECTORS) == 21


@pytest.mark.parametrize("connector", CONNECTORS.values(), ids=CONNECTORS)
def test_every_pattern_compiles(connector: LoadedConnector, refused: dict[str, list[str]]) -> None:
    assert [refused[pattern] for pattern in patterns_of(connector) if refused[pattern]] == []


@pytest.mark.parametrize("pattern", WRONG)
def test_what_browsers_refuse_the_kit_refuses_too(pattern: str, refused: dict[str, list[str]]) -> None:
    assert refused[pattern]
    assert pattern_complaints({"properties": {"text": {"type": "string", "pattern": pattern}}})
