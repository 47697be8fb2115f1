"""`/data_category`."""

import pytest

from connectory.api.datasets import data_categories


def found(api, **query):
    answer = api.get("/data_category", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_taxonomy_is_listed_by_key_and_searched(api):
    everything = found(api, size=100)
    keys = [item["fides_key"] for item in everything["items"]]
    assert keys == sorted(keys)
    assert len(keys) == everything["total"] > 80
    assert [item["fides_key"] for item in found(api, page=2, size=1)["items"]] == keys[1:2]
    [email] = [
        item for item in found(api, search=" CONTACT.email")["items"] if item["fides_key"] == "user.contact.email"
    ]
    assert email["name"]
    assert email["description"]
    assert found(api, search=email["description"].lower()[3:])["total"] >= 1
    assert found(api, search="no such thing")["items"] == []


def test_those_that_the_operator_names_are_there_too():
    own = {"fides_key": "acme.loyalty", "name": None, "description": None}
    assert data_categories._found(("acme.loyalty", "user.contact"), "loyalty") == [own]
    [known] = [
        one for one in data_categories._found(("user.contact",), "user.contact") if one["fides_key"] == "user.contact"
    ]
    assert known["name"]


@pytest.mark.parametrize(("scope", "status"), [("dataset:read", 200), ("connection:read", 403)])
def test_it_needs_the_scope_of_datasets(anonymous, token_for, scope, status):
    headers = {"Authorization": f"Bearer {token_for(scope)}"}
    assert anonymous.get("/api/v1/data_category", headers=headers).status_code == status
