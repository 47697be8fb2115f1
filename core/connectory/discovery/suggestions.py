"""Which fields look like personal data, by their names. Suggestions are for people: nothing follows from one by itself."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from connectory.contract.data import FieldInfo, Kind


class Suggestion(NamedTuple):
    """What a field may be.

    Attributes:
        data_category: a category of the default taxonomy.
        identity: what a person could be found by with it; `None` for most.
    """

    data_category: str
    identity: str | None = None


# Whole words of a name, so that `named_at` is not a name. What is more special comes first.
_WORDS: tuple[tuple[str, Suggestion], ...] = (
    (r"e_?mail(_address)?", Suggestion("user.contact.email", "email")),
    (
        r"(tele)?phone(_(number|no))?|mobile(_(number|phone))?|cell(_phone)?|fax",
        Suggestion("user.contact.phone_number", "phone_number"),
    ),
    (r"(first|given|last|middle|full|sur|family|maiden|nick)_?name", Suggestion("user.name")),
    (r"user_?name|login(_name)?", Suggestion("user.account.username")),
    (r"password(_hash)?|passwd|passphrase", Suggestion("user.authorization.password")),
    (r"(date_of_birth|birth_?(date|day)|dob)", Suggestion("user.demographic.date_of_birth")),
    (r"gender|sex", Suggestion("user.demographic.gender")),
    (r"ip(_?addr(ess)?)?|(remote|client)_(ip|addr(ess)?)", Suggestion("user.device.ip_address")),
    (r"device_id|advertising_id|idfa|gaid", Suggestion("user.device.device_id")),
    (r"cookie(_id)?", Suggestion("user.device.cookie_id")),
    (r"lat(itude)?|lon(gitude)?|lng|geo(_?location)?", Suggestion("user.location.precise")),
    (
        r"iban|account_number|bank_account|card_number|(credit|debit)_card(_number)?|pan",
        Suggestion("user.financial.bank_account"),
    ),
    (
        r"ssn|social_security(_number)?|national_id|passport(_number)?|tax_id|driver_?licen[cs]e",
        Suggestion("user.government_id"),
    ),
    (
        r"street(_?(name|address|1|2))?|address(_?line)?_?[123]?|house(_number)?",
        Suggestion("user.contact.address.street"),
    ),
    (r"city|town", Suggestion("user.contact.address.city")),
    (r"zip(_?code)?|post(al)?_?code", Suggestion("user.contact.address.postal_code")),
    (r"country(_?code)?", Suggestion("user.contact.address.country")),
    (r"state|province", Suggestion("user.contact.address.state")),
)
_PATTERNS = tuple((re.compile(rf"(?:^|_)(?:{words})$"), suggestion) for words, suggestion in _WORDS)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NEVER = {Kind.BOOLEAN, Kind.OBJECT, Kind.BYTES}
_LONGEST = 100
"""Characters of a name that is looked at."""


def suggestion_for(field: FieldInfo) -> Suggestion | None:
    """What the field looks like; `None` for most. `emailAddress`, `customer_email` and `E-Mail` all look like an address."""
    name = field.path[-1]
    return None if field.kind in _NEVER or len(name) > _LONGEST else _suggestion_by_name(name)


@functools.lru_cache(maxsize=5_000)  # the tables of a database have many names in common
def _suggestion_by_name(name: str) -> Suggestion | None:
    words = re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", name).casefold()).strip("_")
    return next((suggestion for pattern, suggestion in _PATTERNS if pattern.search(words)), None)
