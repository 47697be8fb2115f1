"""What personal data is called in databases: words, the types that its values have, and what it has to be of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from connectory.contract.data import Kind
from connectory.discovery.names import Around


class Suggestion(NamedTuple):
    """What a field may be.

    Attributes:
        data_category: a category of the default taxonomy.
        identity: what a person could be found by with it; `None` for most.
    """

    data_category: str
    identity: str | None = None


class Rule(NamedTuple):
    """When a field whose name ends with certain words looks like something.

    Attributes:
        kinds: what its values may be.
        fits: whether it may be of that which it is of.
    """

    suggestion: Suggestion
    kinds: frozenset[Kind]
    fits: Callable[[Around], bool]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NO_VALUE = _set(
    "allow avg can count default disable enable has hide is max min no num number send show template total use valid "
    "verify"
)
"""Words before a name that say that the field holds something about a value, and not the value itself."""

_PERSONS = _set(
    "applicant attendee author beneficiary borrower buyer candidate cardholder child citizen claimant client consumer contact "
    "customer debtor doctor donor employee father guardian guest holder insured lead manager member mother owner parent "
    "participant passenger patient payer person physician player profile recipient resident respondent seller sender signatory "
    "spouse staff student subscriber teacher tenant user visitor volunteer voter worker"
)
_ADDRESSES = _set(
    "address bill billing correspondence delivery domicile home invoice mail mailing permanent post postal residence residential "
    "ship shipping"
)
_PLACES = _set(
    "airport branch building city country depot facility hotel hub landmark location market office place poi port region "
    "restaurant shop site state station store terminal town venue warehouse zone"
)
_MACHINES = _set(
    "cluster container endpoint firewall host instance machine network node printer proxy router server subnet switch vm"
)
_FIRMS = _set(
    "brand business carrier company corporation department firm manufacturer merchant organisation organization partner supplier "
    "vendor"
)
_CARDS = _set("card checkout debit credit pay payment payer transaction wallet")
_OTHER_CARDS = _set("business gift graphic library loyalty report score sd sim sound")

_TEXT = frozenset({Kind.STRING, Kind.ANY})
_DIGITS = _TEXT | {Kind.INTEGER, Kind.DECIMAL}
_CODED = _TEXT | {Kind.INTEGER}
_IDS = _TEXT | {Kind.UUID}
_DAYS = _TEXT | {Kind.DATE, Kind.TIMESTAMP}
_AMOUNTS = _DIGITS | {Kind.FLOAT}
_COORDINATES = _TEXT | {Kind.FLOAT, Kind.DECIMAL}


def _anywhere(_: Around) -> bool:
    return True


def _alone_or_of_a_person(around: Around) -> bool:
    return not around.before or around.of in _PERSONS


def _of_a_person(around: Around) -> bool:
    return around.of in _PERSONS


def _near_a_person(around: Around) -> bool:
    return not _PERSONS.isdisjoint(around.all)


def _of_no_place(around: Around) -> bool:
    return around.of not in _PLACES


def _of_no_machine(around: Around) -> bool:
    return around.of not in _MACHINES


def _of_no_firm(around: Around) -> bool:
    return _FIRMS.isdisjoint(around.all)


def _address(around: Around) -> bool:
    """Whether it may be where mail goes; there are addresses of machines, wallets and pages as well."""
    if around.before:
        return around.of in _ADDRESSES | _PERSONS
    return around.of not in _MACHINES | _PLACES | _FIRMS


def _in_an_address(around: Around) -> bool:
    return around.of in _ADDRESSES


def _in_an_address_or_of_a_person(around: Around) -> bool:
    return around.of in _ADDRESSES | _PERSONS


def _payment_card(around: Around) -> bool:
    return around.of not in _OTHER_CARDS


def _on_a_card(around: Around) -> bool:
    return not _CARDS.isdisjoint(around.all)


def _rule(
    endings: str,
    category: str,
    kinds: frozenset[Kind] = _TEXT,
    fits: Callable[[Around], bool] = _anywhere,
    identity: str | None = None,
) -> tuple[str, Rule]:
    return endings, Rule(Suggestion(category, identity), kinds, fits)


# With `*` an ending may also have "number" behind it, or what that is shortened to.
_RULES = (
    _rule("email, email address, email addr", "user.contact.email", identity="email"),
    _rule(
        "phone*, telephone*, mobile*, mobile phone*, cell phone*, msisdn",
        "user.contact.phone_number",
        _DIGITS,
        identity="phone_number",
    ),
    _rule("fax*, telefax*", "user.contact.fax_number", _DIGITS),
    _rule("first name, first names, given name, given names, fore name", "user.name.first"),
    _rule("last name, family name, maiden name, sur name", "user.name.last"),
    _rule("full name, middle name, nick name", "user.name"),
    _rule("name, display name, legal name, preferred name, real name", "user.name", fits=_of_a_person),
    _rule("user name, screen name", "user.account.username"),
    _rule("login, login name", "user.account.username", fits=_alone_or_of_a_person),
    _rule(
        "password, password hash, password digest, hashed password, passwd, pwd, pwd hash, pass phrase",
        "user.authorization.password",
    ),
    _rule("pass", "user.authorization.password", fits=_of_a_person),
    _rule(
        "access token, api key, api token, auth token, refresh token, session token, session key",
        "user.authorization.credentials",
        fits=_near_a_person,
    ),
    _rule("date of birth, birth date, birth day, dob", "user.demographic.date_of_birth", _DAYS),
    _rule("year of birth, birth year", "user.demographic.date_of_birth", _CODED),
    _rule("age", "user.demographic.age_range", _AMOUNTS, _of_a_person),
    _rule("gender, sex", "user.demographic.gender", _CODED),
    _rule("marital status, civil status", "user.demographic.marital_status", _CODED),
    _rule("language, locale", "user.demographic.language", fits=_near_a_person),
    _rule("ethnicity, ethnic group, ethnic origin", "user.demographic.race_ethnicity", _CODED),
    _rule("race", "user.demographic.race_ethnicity", _CODED, _of_a_person),
    _rule("religion, religious affiliation, religious belief", "user.demographic.religious_belief", _CODED),
    _rule(
        "political affiliation, political opinion, political party, political views",
        "user.demographic.political_opinion",
        _CODED,
    ),
    _rule("sexual orientation", "user.demographic.sexual_orientation", _CODED),
    _rule(
        "ip, ip address, ip addr, ipv4, ipv4 address, ipv6, ipv6 address, remote addr, remote address",
        "user.device.ip_address",
        fits=_of_no_machine,
    ),
    _rule(
        "device id, device identifier, device token, device uuid, advertising id, idfa, gaid, udid",
        "user.device.device_id",
        _IDS,
    ),
    _rule("imei, mac address, mac addr", "user.device.device_id", _DIGITS, _of_no_machine),
    _rule("cookie, cookie id", "user.device.cookie_id", _IDS),
    _rule("user agent", "user.device"),
    _rule(
        "lat, latitude, lon, lng, longitude, geo location, geo point, coordinates",
        "user.location.precise",
        _COORDINATES,
        _of_no_place,
    ),
    _rule(
        "iban, bank account*, account number, account no, routing number, sort code",
        "user.financial.bank_account",
        _DIGITS,
    ),
    _rule(
        "card number, card num, card no, credit card, debit card", "user.financial.credit_card", _DIGITS, _payment_card
    ),
    _rule("cc number, cc num, cc no, ccn, cvv, cvc, card holder", "user.financial.credit_card", _DIGITS),
    _rule("pan, last4, last four, last4 digits, last four digits", "user.financial.credit_card", _DIGITS, _on_a_card),
    _rule("salary, net worth, credit score", "user.financial", _AMOUNTS),
    _rule(
        "ssn, social security*, national id*, national identity*, national identification*, national insurance*, aadhaar, cpf, "
        "nino",
        "user.government_id.national_identification_number",
        _DIGITS,
    ),
    _rule("passport*, passport id", "user.government_id.passport_number", _DIGITS),
    _rule(
        "driver license*, driver licence*, drivers license*, drivers licence*, driving license*, driving licence*",
        "user.government_id.drivers_license_number",
        _DIGITS,
    ),
    _rule("license plate, licence plate, number plate, registration plate", "user.government_id.vehicle_registration"),
    _rule("birth certificate*", "user.government_id.birth_certificate", _DIGITS),
    _rule("tax id, tax number, taxpayer id", "user.government_id", _DIGITS, _of_no_firm),
    _rule(
        "street, street name, street address, street line, street number, street no, house, house number, house no",
        "user.contact.address.street",
        _CODED,
        _of_no_place,
    ),
    _rule("address, addr, address line, addr line", "user.contact.address.street", fits=_address),
    _rule("city, town", "user.contact.address.city", fits=_of_no_place),
    _rule("zip, zip code, post code, postal code", "user.contact.address.postal_code", _CODED, _of_no_place),
    _rule("country, country code, country name", "user.contact.address.country", fits=_in_an_address_or_of_a_person),
    _rule("province, county", "user.contact.address.state", fits=_in_an_address_or_of_a_person),
    _rule("state, state code, state name", "user.contact.address.state", fits=_in_an_address),
    _rule("website, website url, homepage", "user.contact.url", fits=_of_a_person),
    _rule(
        ", ".join(
            f"{network}{what}"
            for network in ("facebook", "instagram", "linkedin", "tiktok", "twitter")
            for what in ("", " handle", " id", " profile", " url")
        ),
        "user.social",
    ),
    _rule(
        "avatar, avatar url, profile image, profile image url, profile photo, profile picture, selfie",
        "user.content.self_image",
    ),
    _rule("employer, employer name", "user.workplace"),
    _rule("job title, occupation, profession", "user.job_title"),
    _rule("medical record*, medical record id, mrn", "user.health_and_medical.record_id", _DIGITS),
    _rule(
        "blood type, blood group, medical condition, medical history, allergy, allergies",
        "user.health_and_medical",
        _CODED,
    ),
    _rule("diagnosis, disability, prescription", "user.health_and_medical", _CODED, _near_a_person),
    _rule("browsing history", "user.behavior.browsing_history"),
    _rule("search history, search query, search term", "user.behavior.search_history"),
)


def endings() -> Iterator[tuple[str, Rule]]:
    """Every ending, its words without anything between them, with its rule."""
    for endings, rule in _RULES:
        for ending in endings.replace(" ", "").split(","):
            yield ending.removesuffix("*"), rule
            if ending.endswith("*"):
                yield from ((f"{ending[:-1]}{number}", rule) for number in ("number", "num", "no", "nr"))


RULES = dict(endings())
"""By the words that a name ends with, without anything between them: `first_name` and `firstname` are the same."""
MOST_WORDS = 5
"""How many words an ending may have."""
