"""What is refused, and what is shown of what was sent."""

from __future__ import annotations

import json

from connectory.catalog.loaded import LoadedConnector
from connectory.documents.masking import mask_document, merge_documents
from connectory.documents.sensitivity import MASK
from connectory.documents.validation import secrets_document
from connectory.testing import destinations
from connectory.testing.exposure import appearances
from connectory.testing.payloads import as_parts, is_accepted, text_places, value_at, with_markers, with_value
from connectory.testing.rules.complaints import expect_none, problems_of
from connectory.testing.rules.facts import Facts
from connectory.testing.rules.rule import rule


class RefusalRules(Facts):
    """Whether wrong secrets are refused by field, and none is repeated."""

    @rule(fix="Use the text types of connectory, such as Name or Text, instead of str.", needs="any_secrets")
    def test_control_characters_are_refused_at_their_field(self, connector: LoadedConnector) -> None:
        """NUL ends texts early in C code, and the others forge lines and headers."""
        model, parts = connector.secrets_model, self.any_secrets()
        complaints = []
        for place in text_places(connector.schema):
            value = value_at(parts, place) or "text"
            for control in ("\0", "\x1b", "\x7f"):
                for text in (f"{value}{control}", f"{value[:1]}{control}{value[1:]}"):
                    problems = problems_of(model, with_value(model, parts, place, text))
                    path = place.split(".")
                    if not any(loc and loc == path[: len(loc)] for loc in (problem["loc"] for problem in problems)):
                        complaints.append(f"{place} does not refuse the control character {control!r}, or not by name.")
        expect_none(sorted(set(complaints)))

    @rule(
        fix="Validate fields each on their own; let validators of the whole class look only at fields that are right.",
        needs="any_secrets",
    )
    def test_all_problems_come_in_one_answer(self, connector: LoadedConnector) -> None:
        """Whoever fills in a form learns of a wrong field and of a missing one at once."""
        model, parts = connector.secrets_model, as_parts(connector.secrets_model, self.any_secrets())
        needed = [name for name in parts if not is_accepted(model, {key: parts[key] for key in parts if key != name})]
        texts = [place for place in text_places(connector.schema) if isinstance(parts.get(place), str)]
        texts = [place for place in texts if not is_accepted(model, parts | {place: "\0"})]
        complaints = []
        for missing in needed:
            wrong = [place for place in texts if place != missing]
            broken = {name: value for name, value in parts.items() if name != missing}
            named = {
                problem["loc"][0]
                for problem in problems_of(model, broken | dict.fromkeys(wrong, "\0"))
                if problem["loc"]
            }
            unnamed = sorted({*wrong, missing} - named)
            if unnamed:
                complaints.append(
                    f"With {missing} missing and {', '.join(wrong)} wrong, these are not named: {unnamed}."
                )
        expect_none(complaints)

    @rule(fix="Keep extra='forbid' as connectory.Secrets has it.", needs="any_secrets")
    def test_an_unknown_field_is_refused_and_not_repeated(self, connector: LoadedConnector) -> None:
        """A secret sent under a wrong name, or as a name, does not come back."""
        marker = "ZqUnknownMarker"
        problems = problems_of(connector.secrets_model, self.any_secrets() | {marker: marker})
        assert problems, "A field that the schema does not know is accepted; keep extra='forbid'."
        assert marker not in json.dumps(problems), "The refusal of an unknown field repeats its name or value."

    @rule(fix="Write constant messages in validators.", needs="any_secrets")
    def test_a_refusal_never_repeats_a_value(self, connector: LoadedConnector) -> None:
        """Whatever is wrong with a value, the answer says what was expected and not what was sent."""
        model = connector.secrets_model
        marker = "ZqRefusedMarker"
        complaints = []
        for place in text_places(connector.schema):
            for value in (f"{marker}\0", f"{marker}@/?#", [marker], {marker: marker}, marker * 10_000):
                problems = problems_of(model, with_value(model, self.any_secrets(), place, value))
                if marker in json.dumps(problems):
                    complaints.append(f"A refusal of {place} repeats what was sent; write constant messages.")
        expect_none(sorted(set(complaints)))

    @rule(fix="Keep each secret in the field that it was sent in.", needs="any_secrets")
    def test_sensitive_values_read_back_masked(self, connector: LoadedConnector) -> None:
        """What is stored shows none of them, and can be sent back to mean unchanged."""
        model = connector.secrets_model
        marked, markers = with_markers(model, connector.schema, self.any_secrets())
        stored = secrets_document(model, marked)
        shown = mask_document(model, stored)
        expect_none(appearances(markers, {"the masked secrets": json.dumps(shown)}))
        assert self.has_no_secrets or MASK in json.dumps(shown), "secrets_for_server() fills in no sensitive field."
        assert merge_documents(model, shown, stored, replace=True) == stored

    @rule(fix="Add Endpoint() to the type of the field: Annotated[..., Endpoint()].", needs="secrets_for_server")
    def test_what_decides_the_server_is_marked(self, connector: LoadedConnector) -> None:
        """Whoever changes where the secrets are sent has to send them again: nobody may lead a stored password elsewhere."""
        here = [self.secrets_for_server("server.example", 443) for _ in range(2)]
        elsewhere = self.secrets_for_server("elsewhere.example", 444)
        expect_none(destinations.unmarked_destinations(connector.secrets_model, here, elsewhere))
