"""The patterns of all schemas, in the engine that browsers have: V8 takes each with `u`, and with `v` as forms do."""

import json

import pytest

from connectory.testing import LoadedConnector, build_catalog
from connectory.testing.schema_rules import pattern_complaints, patterns
from testkit.node import run_script

CONNECTORS = build_catalog(environment={}).connectors

REFUSED = """
const patterns = JSON.parse(require("fs").readFileSync(0, "utf8"));
const problem = (pattern, flag) => { try { new RegExp(pattern, flag); } catch (error) { return `${flag}: ${error.message}`; } };
console.log(JSON.stringify(patterns.flatMap(one => ["u", "v"].map(flag => problem(one, flag)).filter(Boolean))));
"""


def refused(patterns: list[str]) -> list[str]:
    """What V8 says of those that it does not take."""
    return list(json.loads(run_script(REFUSED, given=json.dumps(patterns))))


def test_there_are_21_connectors() -> None:
    assert len(CONNECTORS) == 21


@pytest.mark.parametrize("connector", CONNECTORS.values(), ids=CONNECTORS)
def test_every_pattern_compiles(connector: LoadedConnector) -> None:
    assert refused([pattern for _, pattern in patterns(connector.schema)]) == []


@pytest.mark.parametrize(
    "pattern",
    ["[(]", "[a-z&&b]", "[-a]", "[a|b]", "[/]", "[{]", "a{1", r"\_", "[b-a]", "(", "[!!]"],
)
def test_what_browsers_refuse_the_kit_refuses_too(pattern: str) -> None:
    assert refused([pattern])
    assert pattern_complaints({"properties": {"text": {"type": "string", "pattern": pattern}}})
