"""What a rule of the kit says of itself: its words for reports and documentation, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

CheckT = TypeVar("CheckT", bound=Callable[..., None])

_ATTRIBUTE = "connectory_rule"


@dataclass(frozen=True)
class Rule:
    """One rule of the kit.

    Attributes:
        id: the name of its test, which `ConnectorConformance.exceptions` has too.
        name: the rule, in a few words.
        why: what it asks, and why there is such a rule.
        fix: what to do where it is broken; a report of a run says more exactly what is wrong.
        needs: what the author gives or the connector declares, without which the rule says nothing. `None`: it always runs.
    """

    id: str
    name: str
    why: str
    fix: str
    needs: str | None


def rule(*, fix: str, needs: str | None = None) -> Callable[[CheckT], CheckT]:
    """Make a test a rule of the kit. Its name and docstring say what the rule asks, and why; for `fix` and `needs` see `Rule`."""

    def mark(check: CheckT) -> CheckT:
        identity = check.__name__
        why = " ".join((inspect.getdoc(check) or "").split())
        words = identity.removeprefix("test_").replace("_", " ")
        setattr(check, _ATTRIBUTE, Rule(identity, words, why, fix, needs))
        return check

    return mark


def rule_of(check: object) -> Rule | None:
    """The rule that `check`, a test, is; `None` for any other test."""
    return getattr(check, _ATTRIBUTE, None)


def standard_checks(tested: type) -> dict[str, Any]:
    """The tests that are rules of the kit, by name, in their order, as the kit has them: whatever `tested` made of them."""
    checks: dict[str, Any] = {}
    for base in reversed(tested.__mro__):
        checks |= {
            name: check for name, check in vars(base).items() if name not in checks and rule_of(check) is not None
        }
    return checks
