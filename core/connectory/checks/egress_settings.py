"""How lists of egress rules are read as settings: an entry that is not one is told by its place, and all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from connectory.checks.egress_rules import RuleInvalid, nat64_prefix, parse_rule

_ACCEPTED_RULES = (
    "Each is a network or an address (10.0.0.0/8, 10.0.0.7, 2001:db8::/32), a host (db.example.com), every host below a domain "
    "(*.example.com), or * for everything; a port or a range may follow (10.0.0.0/8:5432, [2001:db8::/32]:443, *:5432-5439)."
)
_ACCEPTED_PREFIXES = "Each is an IPv6 network of length 32, 40, 48, 56, 64 or 96, like 2001:db8:64::/96."


def _each(parse: Callable[[str], object], accepted: str) -> AfterValidator:
    def check(entries: tuple[str, ...]) -> tuple[str, ...]:
        wrong = []
        for place, entry in enumerate(entries, start=1):
            try:
                parse(entry)
            except RuleInvalid as problem:
                wrong.append(f"entry {place}: {problem}")
        if wrong:
            told = "; ".join(wrong)
            raise PydanticCustomError("entries", f"{told[0].upper()}{told[1:]}. {accepted}")
        return entries

    return AfterValidator(check)


def _some(given: Any) -> Any:
    if isinstance(given, str) and not given.strip(" \t\n,[]"):
        raise PydanticCustomError("set_but_empty", "It is set but holds no rule; give it one, or unset it.")
    return given


RULES = _each(parse_rule, _ACCEPTED_RULES)
"""Metadata of a field that is a list of rules."""
NAT64_PREFIXES = _each(nat64_prefix, _ACCEPTED_PREFIXES)
"""Metadata of a field that is a list of NAT64 prefixes."""
NOT_NONE = BeforeValidator(_some)
"""Metadata of a list that, given without entries, would allow everything."""
