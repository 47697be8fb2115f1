"""The JSON Schema of secrets: its shape, and that it tells the truth."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from connectory import Host, Name, Port, SecretGroup, Secrets, SecretText, Text
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.validation import SecretsInvalid, parse_secrets
from testkit.certificates import SOME_CERTIFICATE

PEM = SOME_CERTIFICATE


class KeyFile(SecretGroup):
    """Speaks to programmers."""

    private_key: SecretText
    count: int | None = Field(default=None, ge=1)


class Account(Secrets):
    id: Name
    token: SecretText
    note: Name | None = None


class Service(Secrets):
    zebra: Name
    domain: Host = Field(default="api.example", title="Domain", description="Where it is.")
    port: Port = 443
    key_file: KeyFile | None = Field(default=None, title="Key file", description="Its content.")
    account: Account | None = None
    tokens: list[SecretText] | None = None
    region: Literal["eu", "us"] = "eu"
    retries: Annotated[int, Field(ge=0, le=9)] = 3


@cache
def rendered(model: type[Secrets]) -> dict:
    return secret_json_schema(model, "thing", "A Thing")


def test_the_frame_is_the_specifications():
    schema = rendered(Service)
    assert schema["title"] == "thing_schema"
    assert schema["description"] == "A Thing secrets schema"
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["zebra"]
    assert rendered(Secrets)["required"] == []


def test_properties_stay_in_declaration_order_at_every_depth(database):
    assert list(rendered(Service)["properties"]) == list(Service.model_fields)
    assert list(rendered(Service)["properties"]["account"]["properties"]) == ["id", "token", "note"]
    assert list(rendered(database)["properties"]) == ["url", *database.model_fields]


def test_sensitive_is_said_at_every_depth_and_nowhere_else(database):
    properties = rendered(Service)["properties"]
    assert [name for name, found in properties.items() if found.get("sensitive")] == ["key_file", "tokens"]
    assert properties["account"]["properties"]["token"]["sensitive"] is True
    assert "sensitive" not in properties["account"]["properties"]["id"]
    database_properties = rendered(database)["properties"]
    assert [name for name, found in database_properties.items() if found.get("sensitive")] == ["url", "password"]


def test_optional_fields_have_no_null_and_no_default_null(database):
    for model in (Service, database):
        text = json.dumps(rendered(model))
        assert "null" not in text
    assert "anyOf" not in json.dumps(rendered(Service))


def test_nothing_refers_elsewhere():
    text = json.dumps(rendered(Service))
    assert "$ref" not in text
    assert "$defs" not in text


def test_limits_are_json_schemas_words():
    properties = rendered(Service)["properties"]
    assert (properties["port"]["minimum"], properties["port"]["maximum"]) == (1, 65535)
    assert (properties["retries"]["minimum"], properties["retries"]["maximum"]) == (0, 9)
    assert properties["key_file"]["properties"]["count"]["minimum"] == 1
    assert not re.search(r'"(ge|le|gt|lt|multiple_of|writeOnly|format)"', json.dumps(properties))


def test_defaults_and_texts_are_kept_and_a_docstring_is_not_shown():
    properties = rendered(Service)["properties"]
    assert properties["domain"]["default"] == "api.example"
    assert properties["domain"]["title"] == "Domain"
    assert properties["domain"]["description"].startswith("Where it is. Must be a host name or an IP address")
    assert properties["key_file"]["description"] == "Its content."
    assert "Speaks to programmers" not in json.dumps(properties)


def test_a_default_of_a_sensitive_field_is_never_shown():
    class Careless(Secrets):
        token: SecretStr = SecretStr("S3cretDefault")

    assert "S3cretDefault" not in json.dumps(rendered(Careless))


def test_the_schema_follows_its_standard(database):
    for model in (Service, database, Secrets):
        jsonschema_rs.meta.validate(rendered(model) | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_a_url_stands_for_the_parts(database):
    validator = jsonschema_rs.validator_for(rendered(database))
    assert validator.is_valid({"url": "postgresql://u:p@h/d"})
    assert validator.is_valid({"host": "h", "username": "u"})
    assert not validator.is_valid({"host": "h"})
    assert not validator.is_valid({})
    assert not validator.is_valid({"url": "postgresql://u:p@h/d", "host": "h"})
    assert validator.is_valid({"url": "postgresql://u@h", "ssl_mode": "disable"})


def test_no_pattern_is_longer_than_a_person_reads(database):
    for model in (Service, database):
        assert all(len(found["pattern"]) <= 200 for found in objects_in(rendered(model)) if "pattern" in found)


def test_a_url_is_described_by_its_form(database):
    url = rendered(database)["properties"]["url"]
    assert "postgresql://username:password@host:port/dbname" in url["description"]
    assert url["pattern"] == r"^(?:postgresql|postgres|postgresql\+psycopg2):\/\/[!-~]+$"


def test_a_pattern_that_is_too_long_is_said_in_words():
    class Long(Secrets):
        word: Annotated[str, Text("one of a hundred words", pattern="|".join(f"word{n}" for n in range(100)))]

    word = rendered(Long)["properties"]["word"]
    assert "pattern" not in word
    assert word["description"] == "Must be one of a hundred words."


def objects_in(schema: object) -> Iterator[dict]:
    """Every object in `schema`, at any depth."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects_in(inner)


# Truth: the schema accepts what the validator accepts, except for the two leniencies (null, decimal strings). Where it accepts
# more, the refusal names the field, and a rule that the field's description holds.

plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(st.integers(), st.floats(), st.booleans())
anything = st.one_of(plain_text.filter(lambda text: not text.isdecimal()), numbers, st.just([]), st.just({}))
some_hosts = st.sampled_from(
    [
        *["db", "db_1.example", "127.0.0.1", "[::1]", "::1"],
        *["127.1", "0x7f.1", "::ffff:1.2.3.4", "a,b", "a:1", "-a", "a."],
    ]
)
some_urls = st.sampled_from(
    [
        "postgresql://u:p@h:5432/d",
        "postgres://u@h",
        "postgresql://h/d",
        "postgresql://u@h/d?sslmode=require",
        "postgresql://u@h/d?sslmode=require&sslmode=require",
        "postgresql://u@h?application_name=a%20b",
        "postgresql://u@h?application_name=",
        "postgresql://u@h/d?hostaddr=1",
        "postgresql://u:a@b@h",
        "postgresql://u:%00@h",
        "postgresql://u:%41@h",
        "postgresql://u@[::1]:1",
        "postgresql://u@h:0",
        "postgresql://u@" + "h" * 64,
        "postgresql://u@h/" + "d" * 2040,
        "mysql://u@h",
    ]
)
certificates = st.sampled_from(
    [
        "# A\n" + PEM,
        PEM.replace("MIIB", "MIIC"),
        PEM + PEM[:99],
        PEM,
        PEM + PEM,
        PEM[:-1],
        "\t" + PEM,
        "\x1c" + PEM,
        "\u00a0" + PEM,
        PEM.replace("MIIB", ""),
        "/etc/passwd",
    ]
)
modes = st.sampled_from(["disable", "disabled", "require", "verify-full", "verify_full", "REQUIRE", ""])

submissions = st.fixed_dictionaries(
    {},
    optional={
        "url": st.one_of(some_urls, anything),
        "host": st.one_of(some_hosts, anything),
        "port": st.one_of(st.integers(-2, 70000), st.sampled_from([5432.0, 5432.5, 1e5]), anything),
        "username": st.one_of(plain_text, anything),
        "password": st.one_of(plain_text, anything),
        "dbname": plain_text,
        "db_schema": plain_text,
        "application": plain_text,
        "ssl_mode": st.one_of(modes, anything),
        "ssl_ca": st.one_of(certificates, anything),
        "hostaddr": plain_text,
    },
)
likely = st.fixed_dictionaries(
    {"host": some_hosts, "username": plain_text},
    optional={"port": st.integers(0, 65536), "password": plain_text, "ssl_mode": modes, "ssl_ca": certificates},
)
likely_urls = st.fixed_dictionaries(
    {"url": some_urls},
    optional={"db_schema": plain_text, "ssl_mode": modes, "ssl_ca": certificates, "application": plain_text},
)


@cache
def validator_of(model: type[Secrets]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(rendered(model))


def accepts(model: type[Secrets], payload: object) -> bool:
    try:
        parse_secrets(model, payload)
    except SecretsInvalid:
        return False
    return True


ABOUT_A_URL = {"url_invalid", "url_and_parts"}


def assert_truth(model: type[Secrets], payload: object) -> None:
    refusals = list(validator_of(model).iter_errors(payload))
    try:
        parse_secrets(model, payload)
    except SecretsInvalid as refused:
        for problem in [] if refusals else refused.problems:
            found = rendered(model)
            for name in problem["loc"]:
                found = found["items"] if isinstance(name, int) else found["properties"][name]
            assert problem["loc"]
            assert problem["type"] in ABOUT_A_URL or problem["msg"] in found["description"]
    else:
        assert not refusals


def is_finite(value: object) -> bool:
    return not isinstance(value, float) or (value == value and abs(value) != float("inf"))  # JSON holds no others


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(submissions, likely, likely_urls).filter(lambda payload: all(map(is_finite, payload.values()))))
def test_the_schema_tells_the_truth(database, payload):
    assert_truth(database, payload)


service_values = st.fixed_dictionaries(
    {},
    optional={
        "zebra": plain_text,
        "domain": some_hosts,
        "port": st.one_of(st.integers(-1, 65537), st.floats(allow_nan=False, allow_infinity=False)),
        "region": st.sampled_from(["eu", "us", "mars", 1, True]),
        "retries": st.integers(-1, 10),
        "tokens": st.lists(st.one_of(plain_text, st.integers()), max_size=3),
        "key_file": st.fixed_dictionaries(
            {}, optional={"private_key": plain_text, "count": st.integers(-1, 2), "other": plain_text}
        ),
        "account": st.one_of(
            st.none(), st.fixed_dictionaries({"id": plain_text}, optional={"token": plain_text, "note": plain_text})
        ),
    },
).map(lambda payload: {name: value for name, value in payload.items() if value is not None})


@settings(max_examples=400)
@given(service_values)
def test_the_schema_tells_the_truth_of_nested_values_too(payload):
    assert_truth(Service, payload)


@pytest.mark.parametrize("number", [1e20, 1e308, -1e300, 5.0])
def test_a_whole_number_is_an_integer_however_large(number):
    class Counting(Secrets):
        count: int

    assert jsonschema_rs.validator_for(rendered(Counting)).is_valid({"count": number})
    assert accepts(Counting, {"count": number})


def test_the_leniencies_are_the_only_difference(database):
    validator = jsonschema_rs.validator_for(rendered(database))
    for lenient in ({"port": "5432"}, {"password": None}):
        payload = {"host": "h", "username": "u"} | lenient
        assert accepts(database, payload)
        assert not validator.is_valid(payload)
