"""Suggestions: names that look like personal data, in many spellings, and names that do not."""

import pytest
from fideslang.default_taxonomy.data_categories import DEFAULT_DATA_CATEGORIES

from connectory.contract.data import FieldInfo, Kind
from connectory.discovery import suggestions
from connectory.discovery.suggestions import suggestion_for

KNOWN = {str(category.fides_key) for category in DEFAULT_DATA_CATEGORIES}


def suggested(name, kind=Kind.STRING):
    found = suggestion_for(FieldInfo((name,), kind, "native"))
    return None if found is None else found.data_category


@pytest.mark.parametrize(
    ("name", "category"),
    {
        "email": "user.contact.email",
        "E-Mail": "user.contact.email",
        "customerEmailAddress": "user.contact.email",
        "billing_phone_number": "user.contact.phone_number",
        "FIRST_NAME": "user.name",
        "lastname": "user.name",
        "ip": "user.device.ip_address",
        "client_ip": "user.device.ip_address",
        "zip": "user.contact.address.postal_code",
        "dateOfBirth": "user.demographic.date_of_birth",
        "iban": "user.financial.bank_account",
    }.items(),
)
def test_names_that_look_like_personal_data(name, category):
    assert suggested(name) == category


@pytest.mark.parametrize(
    "name", ["id", "created_at", "description", "ship", "emailed_at", "capital", "latest", "n" * 200, "_", "é"]
)
def test_names_that_do_not(name):
    assert suggested(name) is None


@pytest.mark.parametrize("kind", [Kind.BOOLEAN, Kind.OBJECT, Kind.BYTES])
def test_what_holds_no_text_is_not_suggested(kind):
    assert suggested("email", kind) is None


def test_every_category_is_of_the_taxonomy():
    assert {suggestion.data_category for _, suggestion in suggestions._WORDS} <= KNOWN
