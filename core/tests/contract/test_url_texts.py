"""Urls whose fields accept less than any text, and query keys with several spellings."""

import re

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory import QueryKey, UrlGrammar, UrlText
from connectory.contract.urls import UrlInvalid

GRAMMAR = UrlGrammar(
    schemes={"ledger": {}},
    query={
        "mode": QueryKey("mode", {"on": "on", "off": "off", "auto": "auto"}),
        "tls": QueryKey("mode", {"true": "on", "false": "off"}),
        "driver": QueryKey(None, {"Ledger Driver 1": None}),
        "app": QueryKey(None),
    },
    texts={"password": UrlText(5, without=';{ "'), "dbname": UrlText(3, without="]", basic_plane=True)},
)


def promises(url):
    return jsonschema_rs.is_valid({"type": "string", "pattern": f"^(?:{GRAMMAR.pattern})$"}, url)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8))
def test_the_pattern_promises_what_the_field_accepts_and_parsing_leaves_the_refusal_to_the_field(password):
    url = GRAMMAR.render({"host": "h", "username": "u", "password": password})
    accepted = len(password) <= 5 and not set(password) & set(';{ "')
    assert promises(url) == accepted
    assert bool(re.fullmatch(GRAMMAR.pattern, url)) == accepted
    assert GRAMMAR.parse(url)["password"] == password


@pytest.mark.parametrize(
    "url",
    [
        "ledger://u:a;@h",
        "ledger://u:a%3b@h",
        "ledger://u:a%3B@h",
        "ledger://h/%5d",
        "ledger://h/abcd",
        "ledger://h/%f0%9f%94%91",
    ],
)
def test_what_a_field_refuses_is_refused_in_every_spelling(url):
    assert not promises(url)


def test_a_field_has_one_query_key_at_a_time():
    assert GRAMMAR.parse("ledger://h?tls=true") == {"host": "h", "mode": "on"}
    for query in ("tls=true&mode=on", "mode=on&tls=true", "mode=on&driver=Ledger+Driver+1&tls=false"):
        assert not promises(f"ledger://h?{query}")
        with pytest.raises(UrlInvalid, match="repeats a query key"):
            GRAMMAR.parse(f"ledger://h?{query}")


def test_a_rendered_url_names_each_field_once():
    assert GRAMMAR.render({"host": "h", "mode": "on"}) == "ledger://h?mode=on"
    assert GRAMMAR.render({"host": "h", "mode": "auto"}) == "ledger://h?mode=auto"


@pytest.mark.parametrize("space", ["%20", "+"])
def test_a_space_of_a_known_value_may_be_a_plus(space):
    url = f"ledger://h?driver=Ledger{space}Driver{space}1"
    assert promises(url)
    assert GRAMMAR.parse(url) == {"host": "h"}


def test_a_key_without_a_meaning_may_have_any_text():
    url = "ledger://h?app=Cluster-0%20%F0%9F%94%91&mode=on"
    assert promises(url)
    assert GRAMMAR.parse(url) == {"host": "h", "mode": "on"}
    assert not promises("ledger://h?app=a&app=b")
