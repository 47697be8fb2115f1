"""The query keys of a url: several may give one field, each once, and some mean nothing."""

import pytest

from connectory import UrlGrammar
from connectory.contract.urls import UrlInvalid
from connectory.toolkit import QueryKey

GRAMMAR = UrlGrammar(
    schemes={"ledger": {}},
    query={
        "mode": "mode",
        "tls": QueryKey("mode", {"true": "on", "false": "off"}),
        "driver": QueryKey(None, {"Ledger Driver 1": None}),
        "app": QueryKey(None),
    },
)


def test_a_field_has_one_query_key_at_a_time():
    assert GRAMMAR.parse("ledger://h?tls=true") == {"host": "h", "mode": "on"}
    for query in ("tls=true&mode=on", "mode=on&tls=true", "mode=on&driver=Ledger+Driver+1&tls=false"):
        with pytest.raises(UrlInvalid, match="repeats a query key"):
            GRAMMAR.parse(f"ledger://h?{query}")


def test_a_rendered_url_names_each_field_once():
    assert GRAMMAR.render({"host": "h", "mode": "on"}) == "ledger://h?mode=on"
    assert GRAMMAR.render({"host": "h", "mode": "auto"}) == "ledger://h?mode=auto"


@pytest.mark.parametrize("space", ["%20", "+"])
def test_a_space_of_a_known_value_may_be_a_plus(space):
    assert GRAMMAR.parse(f"ledger://h?driver=Ledger{space}Driver{space}1") == {"host": "h"}


def test_a_plus_in_free_text_is_ambiguous_and_refused():
    with pytest.raises(UrlInvalid, match="query"):
        GRAMMAR.parse("ledger://h?mode=a+b")


def test_a_key_without_a_meaning_may_have_any_text():
    url = "ledger://h?app=Cluster-0%20%F0%9F%94%91&mode=on"
    assert GRAMMAR.parse(url) == {"host": "h", "mode": "on"}
    with pytest.raises(UrlInvalid, match="repeats"):
        GRAMMAR.parse("ledger://h?app=a&app=b")
