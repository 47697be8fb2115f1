"""`GET /connection_type` and `GET /connection_type/{type}/secret`."""

import base64

import pytest

from connectory.catalog.drawings import drawing_complaints

DATABASES = ["bigquery", "mariadb", "mongodb", "mssql", "mysql", "postgres", "redshift", "snowflake"]


def listed(answer):
    assert answer.status_code == 200, answer.text
    return [(item["type"], item["identifier"]) for item in answer.json()["items"]]


def test_databases_come_first_then_saas_then_the_rest_each_in_order(api, catalog):
    page = api.get("/connection_type").json()
    kinds = [item["type"] for item in page["items"]]
    order = {"database": 0, "saas": 1}
    assert kinds == sorted(kinds, key=lambda kind: order.get(kind, 2))
    for kind in set(kinds):
        names = [item["identifier"] for item in page["items"] if item["type"] == kind]
        assert names == sorted(names)
    assert page["total"] == len(page["items"]) == len(catalog.connectors)
    assert (page["page"], page["size"], page["pages"]) == (1, 50, 1)
    assert page["items"][-1] == {
        "identifier": "manual",
        "type": "manual",
        "human_readable": "Manual Connector",
        "encoded_icon": base64.b64encode(catalog.get("manual").icon.encode()).decode(),
        "authorization_required": False,
        "user_guide": None,
        "supported_actions": [],
        "category": "MANUAL",
    }


def test_every_type_has_an_icon_which_no_page_can_be_attacked_with(api, catalog):
    for item in api.get("/connection_type?size=100").json()["items"]:
        icon = base64.b64decode(item["encoded_icon"], validate=True).decode()
        assert icon == catalog.get(item["identifier"]).icon
        assert list(drawing_complaints(icon)) == []


def test_search_finds_identifier_and_human_name_in_any_case(api):
    assert ("database", "postgres") in listed(api.get("/connection_type?search=POSTGRESQL"))
    assert listed(api.get("/connection_type?search=ledg")) == [("database", "api_ledger")]
    assert listed(api.get("/connection_type?search=nothing+like+it")) == []


def test_system_type_filters_and_a_type_of_which_none_is_installed_is_empty(api):
    assert listed(api.get("/connection_type?system_type=manual")) == [("manual", "manual")]
    assert all(kind == "saas" for kind, _ in listed(api.get("/connection_type?system_type=saas")))


def test_an_unknown_system_type_is_a_422_that_lists_the_known_ones(api):
    answer = api.get("/connection_type?system_type=spaceship")
    assert answer.status_code == 422
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["query", "system_type"]
    assert "database, manual, saas" in problem["msg"]
    assert "spaceship" not in answer.text


def test_pages_are_cut_and_one_past_the_end_is_empty(api):
    everything = listed(api.get("/connection_type?size=100"))
    assert listed(api.get("/connection_type?size=2&page=2")) == everything[2:4]
    assert listed(api.get("/connection_type?size=2&page=999")) == []


@pytest.mark.parametrize("query", ["page=0", "page=x", "size=0", "size=101", "page=99999999999999999999"])
def test_a_page_that_cannot_be_is_a_422(api, query):
    assert api.get(f"/connection_type?{query}").status_code == 422


def test_a_secret_schema_is_the_connectors_own(api, catalog):
    for identifier, connector in catalog.connectors.items():
        answer = api.get(f"/connection_type/{identifier}/secret")
        assert answer.status_code == 200
        assert answer.json() == connector.schema
        assert answer.json()["title"] == f"{identifier}_schema"
        assert answer.json()["additionalProperties"] is False


def test_an_unknown_type_is_a_404_with_the_specifications_message(api):
    answer = api.get("/connection_type/no_such_type/secret")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "No connection type found with name 'no_such_type'."}


def test_a_path_that_is_no_identifier_is_not_repeated(api):
    answer = api.get("/connection_type/S3cret%20Pw/secret")
    assert answer.status_code == 404
    assert "S3cret" not in answer.text


def test_plugins_shows_every_record(api, catalog):
    page = api.get("/plugins").json()
    assert page["total"] == len(catalog.records)
    assert {
        "identifier": "api_ledger",
        "distribution": "acme-api-ledger",
        "version": "1.0",
        "target": "ledger_for_api_tests",
        "status": "loaded",
        "reason": None,
        "remark": None,
    } in page["items"]


def test_the_form_of_every_connector_shows_every_field_and_no_other(api, catalog):
    for identifier, connector in catalog.connectors.items():
        form = api.get(f"/connection_type/{identifier}/form").json()
        assert [field["name"] for field in form["fields"]] == list(connector.schema["properties"]), identifier
        named = [name for choice in form["choices"] for option in choice["options"] for name in option["fields"]]
        assert set(named) <= connector.schema["properties"].keys(), identifier
        assert ("anyOf" in connector.schema) is ("Address" in str(form["choices"])), identifier
        hidden = {name for name, found in connector.schema["properties"].items() if found.get("sensitive")}
        secret = {field["name"] for field in form["fields"] if field["widget"] in {"secret", "secret_textarea", "json"}}
        assert hidden <= secret, identifier


def test_the_form_of_a_type_that_cannot_be_used_is_a_404(api):
    answer = api.get("/connection_type/no_such/form")
    assert (answer.status_code, answer.json()) == (404, {"detail": "No connection type found with name 'no_such'."})
