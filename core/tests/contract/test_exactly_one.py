"""Exactly one of some fields must be given. The schema says so too, except for what a url gives."""

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectory import Host, Name, Secrets, SecretText, UrlGrammar
from connectory.documents.json_schema import secret_json_schema
from connectory.documents.masking import merge_documents
from connectory.documents.validation import SecretsInvalid, parse_secrets


class Vault(Secrets):
    connectory_exactly_one = (("token", "password"), ("zone", "region"))

    token: SecretText | None = None
    password: SecretText | None = None
    zone: Host | None = None
    region: Host | None = None


class Warehouse(Secrets):
    connectory_url = UrlGrammar(
        schemes={"warehouse": {}},
        query={"token": "token", "zone": "zone"},
        required=frozenset({"host", "username"}),
    )
    connectory_exactly_one = (("password", "key", "token"),)

    host: Host
    port: int | None = None
    username: Name
    password: SecretText | None = None
    dbname: Name | None = None
    key: SecretText | None = None
    token: SecretText | None = None
    zone: Host | None = None


def accepts(model: type[Secrets], payload: Any) -> bool:
    try:
        parse_secrets(model, payload)
    except SecretsInvalid:
        return False
    return True


def refusal(model: type[Secrets], payload: Any) -> Any:
    with pytest.raises(SecretsInvalid) as caught:
        parse_secrets(model, payload)
    return caught.value.problems


def test_one_of_each_group_is_enough():
    assert parse_secrets(Vault, {"token": "t", "region": "r"}).token.get_secret_value() == "t"


@pytest.mark.parametrize("payload", [{"zone": "z"}, {"token": "t", "password": "p", "zone": "z"}])
def test_none_and_both_are_refused_and_the_message_names_the_fields(payload):
    message = "Must be supplied exactly one of: token, password"
    assert refusal(Vault, payload) == [{"loc": ["token"], "msg": message, "type": "exactly_one"}]


def test_null_is_absent():
    assert accepts(Vault, {"token": "t", "password": None, "zone": "z"})


def test_one_can_replace_the_other_in_a_merge():
    merged = merge_documents(Vault, {"token": None, "password": "p"}, {"token": "t", "zone": "z"}, replace=False)
    assert accepts(Vault, merged)


@pytest.mark.parametrize(
    ("payload", "accepted"),
    [
        ({"url": "warehouse://u:p@h/d"}, True),
        ({"url": "warehouse://u@h/d"}, False),
        ({"url": "warehouse://u@h:1/d", "key": "k"}, True),
        ({"url": "warehouse://u:p@h:1/d", "key": "k"}, False),
        ({"url": "warehouse://u@h/d?token=t"}, True),
        ({"url": "warehouse://u@h/a:b@c?zone=z", "key": "k"}, True),
        ({"url": "warehouse://u:p@h/d?token=t"}, False),
        ({"url": "warehouse://u@h/d?zone=z", "token": "t"}, True),
        ({"host": "h", "username": "u", "token": "t"}, True),
        ({"host": "h", "username": "u"}, False),
    ],
)
def test_what_a_url_gives_counts(payload, accepted):
    assert accepts(Warehouse, payload) == accepted


@pytest.mark.parametrize("url", ["warehouse://u:p@h:0/d", "warehouse://u:p@s@h/d", "https://u:p@h/d"])
def test_nothing_is_missed_that_may_stand_in_a_url_that_cannot_be_read(url):
    assert [problem["type"] for problem in refusal(Warehouse, {"url": url})] == ["url_invalid"]


some_urls = st.builds(
    "warehouse://{}@h{}{}{}".format,
    st.sampled_from(["u", "u:p", "u:p:q", "u%3Ap"]),
    st.sampled_from(["", ":1"]),
    st.sampled_from(["", "/", "/d"]),
    st.sampled_from(["", "?token=t", "?zone=z", "?zone=z&token=t"]),
)


@settings(max_examples=500)
@given(
    st.fixed_dictionaries(
        {},
        optional={name: st.just("x") for name in ("host", "username", "password", "key", "token", "zone")}
        | {"url": some_urls},
    )
)
def test_the_schema_accepts_what_the_validator_accepts(payload):
    """And the reverse, where there is no url."""
    valid = jsonschema_rs.is_valid(secret_json_schema(Warehouse, "warehouse", "Warehouse"), payload)
    if "url" in payload:
        assert valid or not accepts(Warehouse, payload)
    else:
        assert valid == accepts(Warehouse, payload)
