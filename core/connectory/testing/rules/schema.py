"""What the schema of the secrets says."""

from __future__ import annotations

import difflib
import json
import os
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings

from connectory.catalog.loaded import LoadedConnector
from connectory.documents.validation import parse_secrets
from connectory.testing import schema_rules
from connectory.testing.payloads import Payload, submissions, with_markers
from connectory.testing.rules.complaints import expect_none, note, problems_of, short
from connectory.testing.rules.facts import Facts
from connectory.testing.rules.rule import rule

UPDATE_GOLDEN = "CONNECTORY_UPDATE_GOLDEN"
"""Environment variable that makes the golden schema file be written instead of compared."""

EXAMPLES = 200
"""Documents that the schema and the service are asked about."""


class SchemaRules(Facts):
    """Whether forms can be drawn from the schema, and it says what is accepted."""

    @rule(fix="Derive the class of the secrets from connectory.Secrets and leave its configuration as it is.")
    def test_the_schema_has_the_usual_frame(self, connector: LoadedConnector) -> None:
        """Title, description, type, required fields, and no unknown ones: what consumers rely on to draw a form."""
        expect_none(schema_rules.frame_complaints(connector.schema, self.identifier))

    @rule(fix="Remove or correct what json_schema_extra adds.")
    def test_the_schema_follows_the_standard(self, connector: LoadedConnector) -> None:
        """It is valid JSON Schema 2020-12."""
        expect_none(schema_rules.standard_complaints(connector.schema))

    @rule(fix="Give each field a title, and derive nested classes from SecretGroup.")
    def test_a_form_can_be_drawn_from_every_property(self, connector: LoadedConnector) -> None:
        """Each has a title, none is null, and nested objects refuse unknown fields too."""
        expect_none(schema_rules.property_complaints(connector.schema))

    @rule(
        fix="Give the field a sensitive type such as SecretText, or say why it may be shown: Annotated[..., Public('why')]."
    )
    def test_what_is_sensitive_is_marked(self, connector: LoadedConnector, request: pytest.FixtureRequest) -> None:
        """Sensitive fields have sensitive types; a url shows none of them but its password."""
        for place, reason in schema_rules.public_fields(connector.secrets_model).items():
            note(request, f"{place} is public: {reason}")
        expect_none(
            schema_rules.sensitivity_complaints(
                connector.schema, connector.secrets_model, has_no_secrets=self.has_no_secrets
            )
        )

    @rule(
        fix="Show a shorter pattern that accepts more, say the rule in the description, and escape what the report names."
    )
    def test_patterns_are_short_and_work_in_browsers(self, connector: LoadedConnector) -> None:
        """Each has at most 200 characters, and ECMAScript takes it with the flag `u` and with the flag `v`."""
        expect_none(schema_rules.pattern_complaints(connector.schema))

    @rule(
        fix="Use text, a number, a boolean or None that fits the field, and an example that nobody can take for real."
    )
    def test_defaults_fit_and_give_nothing_away(self, connector: LoadedConnector) -> None:
        """Each default is JSON that its own schema accepts, as forms fill it in, and none looks like somebody's credential."""
        missing = schema_rules.missing_defaults(connector.schema, connector.secrets_model)
        expect_none(missing + schema_rules.default_complaints(connector.schema))

    @rule(
        fix="Look at the difference; to accept it, run: CONNECTORY_UPDATE_GOLDEN=1 python -m pytest -k golden.",
        needs="golden_schema",
    )
    def test_the_schema_is_the_golden_one(self, connector: LoadedConnector) -> None:
        """A change of the schema is a decision that shows in a diff."""
        rendered = json.dumps(connector.schema, indent=2, ensure_ascii=False) + "\n"
        if os.environ.get(UPDATE_GOLDEN) == "1":
            self.golden_schema.write_text(rendered, encoding="utf-8")
        remedy = f"to accept it, run: {UPDATE_GOLDEN}=1 python -m pytest -k golden"
        if not self.golden_schema.exists():
            pytest.fail(f"There is no {self.golden_schema}; {remedy}", pytrace=False)
        golden = self.golden_schema.read_text(encoding="utf-8")
        changed = "".join(difflib.unified_diff(golden.splitlines(True), rendered.splitlines(True), "golden", "now"))
        if changed:
            pytest.fail(f"The schema differs from {self.golden_schema}; {remedy}\n{changed}", pytrace=False)

    @rule(
        fix="Put the restriction into the field's type, or repeat its message in the field's description.",
        needs="any_secrets",
    )
    def test_the_schema_says_what_is_accepted(self, connector: LoadedConnector) -> None:
        """It accepts all that the service accepts; what the service checks besides, a field's description says in words."""
        model, validator = connector.secrets_model, jsonschema_rs.validator_for(connector.schema)
        parts = self.any_secrets()
        marked, _ = with_markers(model, connector.schema, parts)

        @settings(
            max_examples=EXAMPLES,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(submissions(connector.schema, [parts, marked, *self._as_url(model, parts)]))
        def agree(payload: Payload) -> None:
            refused, problems = [error.message for error in validator.iter_errors(payload)], problems_of(model, payload)
            if refused:
                assert problems, f"The schema refuses and the service accepts {short(payload)}: {short(refused)}"
                return
            unsaid = [problem for problem in problems if not schema_rules.is_said(connector.schema, problem, payload)]
            assert not unsaid, (
                f"The schema accepts and the service refuses {short(payload)}: {short(unsaid)}; say it in the schema, or "
                "name the field in the problem and repeat its message in the description of that field."
            )

        agree()

    def _as_url(self, model: Any, parts: Payload) -> list[Payload]:
        """The same secrets as a url, where the connector takes one."""
        grammar = model.connectory_url
        if grammar is None or "url" in parts:
            return []
        inside = grammar.fields | grammar.query_keys.keys()
        beside = {name: value for name, value in parts.items() if name not in inside}
        given = parse_secrets(model, parts).model_dump(include=set(parts))
        shown = {name: value for name, value in given.items() if name in inside and name != grammar.password}
        return [beside | {"url": grammar.render(shown)}]
