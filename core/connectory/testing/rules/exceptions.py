"""Rules that do not hold for a connector, and the reasons."""

from __future__ import annotations

import pytest

from connectory.testing.rules.complaints import expect_none, note
from connectory.testing.rules.facts import Facts
from connectory.testing.rules.rule import rule, standard_checks

ALWAYS = "test_no_check_is_left_out_without_a_reason"
"""The id of the rule that no connector is excepted from."""


class ExceptionRules(Facts):
    """Whether no rule is weakened in silence."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if getattr(cls, ALWAYS) is not getattr(ExceptionRules, ALWAYS):
            raise TypeError(f"{ALWAYS} holds for every connector; remove its replacement from {cls.__name__}.")

    @rule(fix="Name the rule in exceptions, with the reason, or remove the replacement.")
    def test_no_check_is_left_out_without_a_reason(self, request: pytest.FixtureRequest) -> None:
        """A connector that cannot do something says so in `exceptions`, and the report of the run says it too."""
        for name, reason in self.exceptions.items():
            note(request, f"{name} is replaced: {reason}")
        expect_none(weakened_checks(type(self)))


def weakened_checks(tested: type[Facts]) -> list[str]:
    """Complaints about rules that `tested` replaces, removes or skips without a reason, or with one that is not needed."""
    replaced = {name for name, check in standard_checks(tested).items() if getattr(tested, name, None) is not check}
    excused = {name for name, reason in tested.exceptions.items() if reason.strip()}
    complaints = [
        f"{name} is replaced without a reason; add exceptions = {{'{name}': 'why'}}."
        for name in sorted(replaced - excused)
    ]
    complaints += [f"exceptions names {name}, which is not replaced." for name in sorted(excused - replaced)]
    marks = [mark.name for mark in getattr(tested, "pytestmark", [])]
    return complaints + [f"The whole class is marked {name}." for name in marks if name in {"skip", "skipif", "xfail"}]
