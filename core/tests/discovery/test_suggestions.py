"""Suggestions: fields that look like personal data, by name, type and collection, and fields that only seem to."""

import pytest
from fideslang.default_taxonomy.data_categories import DEFAULT_DATA_CATEGORIES

from connectory.contract.data import FieldInfo, Kind
from connectory.discovery.personal_data import RULES, endings
from connectory.discovery.suggestions import suggestion_for

KNOWN = {str(category.fides_key) for category in DEFAULT_DATA_CATEGORIES}

# The collection, the field, the type of its values, and what it should be taken for.
PERSONAL = """
customer          email                  string     user.contact.email
t_0815            E-Mail                 string     user.contact.email
orders            customerEmailAddress   string     user.contact.email
newsletter        email_2                string     user.contact.email
customer          phone                  string     user.contact.phone_number
orders            billing_phone_number   integer    user.contact.phone_number
contact           Mobile                 string     user.contact.phone_number
supplier          fax                    string     user.contact.fax_number
employee          FIRST_NAME             string     user.name.first
employee          lastname               string     user.name.last
crm_contacts      name                   string     user.name
orders            recipient_name         string     user.name
people            fullName               string     user.name
orders            customer.name          string     user.name
app_users         username               string     user.account.username
users             login                  string     user.account.username
users             password_hash          string     user.authorization.password
user_sessions     refresh_token          string     user.authorization.credentials
patients          dateOfBirth            date       user.demographic.date_of_birth
patients          birth_year             integer    user.demographic.date_of_birth
members           age                    integer    user.demographic.age_range
members           gender                 string     user.demographic.gender
hr                marital_status         string     user.demographic.marital_status
user_settings     language               string     user.demographic.language
visits            client_ip              string     user.device.ip_address
audit_log         userIPAddress          string     user.device.ip_address
push              device_token           string     user.device.device_id
visits            cookie_id              uuid       user.device.cookie_id
visits            user_agent             string     user.device
deliveries        latitude               float      user.location.precise
mandates          iban                   string     user.financial.bank_account
payments          card_number            string     user.financial.credit_card
payments          last4                  string     user.financial.credit_card
employee          salary                 decimal    user.financial
employee          ssn                    string     user.government_id.national_identification_number
bookings          passport_no            string     user.government_id.passport_number
rentals           driving_licence_number string     user.government_id.drivers_license_number
orders            shipping_street        string     user.contact.address.street
customer          address_line1          string     user.contact.address.street
orders            billing_city           string     user.contact.address.city
t_0815            zip                    string     user.contact.address.postal_code
addresses         state                  string     user.contact.address.state
orders            shipping_state         string     user.contact.address.state
customer          address.state          string     user.contact.address.state
customer          country_code           string     user.contact.address.country
authors           avatar_url             string     user.content.self_image
applicants        job_title              string     user.job_title
visits            mrn                    integer    user.health_and_medical.record_id
"""
OTHER = """
orders            state                  string
users             state                  string
mailings          email_sent             boolean
mailings          email                  integer
mailings          email_sent_at          timestamp
customer          has_phone              string
calls             phone_count            integer
product           name                   string
user_roles        name                   string
customer          company_name           string
repositories      file_name              string
users             last_login             string
users             password_changed_at    timestamp
servers           ip_address             string
warehouses        latitude               float
stores            city                   string
currencies        country                string
gift_cards        gift_card_number       string
wallets           wallet_address         string
suppliers         tax_id                 string
orders            ship_method            string
pages             language               string
horse_races       race                   string
devices           device_id              integer
cooking           pan                    string
accounts          default_email          string
"""


def rows(table):
    return [pytest.param(*line.split(), id="-".join(line.split()[:3])) for line in table.split("\n") if line]


def suggested(collection, name, kind):
    found = suggestion_for(FieldInfo(tuple(name.split(".")), Kind(kind), "native"), collection)
    return None if found is None else found.data_category


@pytest.mark.parametrize(("collection", "name", "kind", "category"), rows(PERSONAL))
def test_fields_that_look_like_personal_data(collection, name, kind, category):
    assert suggested(collection, name, kind) == category


@pytest.mark.parametrize(("collection", "name", "kind"), rows(OTHER))
def test_fields_that_only_seem_to(collection, name, kind):
    assert suggested(collection, name, kind) is None


NAMES = ["id", "created_at", "ship", "capital", "latest", "n" * 200, "_", "é", "", "42", "²", "email_²", "_.email_"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_are_taken(name):
    assert suggested("customer", name, "string") in (None, "user.contact.email")
    assert suggested(name, "email", "string") == "user.contact.email"


def test_what_a_person_can_be_found_by_is_said():
    found = {rule.suggestion.identity for rule in RULES.values()}
    assert found == {None, "email", "phone_number"}


@pytest.mark.parametrize("kind", ["boolean", "object", "bytes"])
def test_what_holds_no_text_is_not_suggested(kind):
    assert suggested("customer", "email", kind) is None


def test_every_category_is_of_the_taxonomy():
    assert {rule.suggestion.data_category for rule in RULES.values()} <= KNOWN


def test_no_ending_belongs_to_two_rules():
    assert sorted(ending for ending, _ in endings()) == sorted(RULES)
