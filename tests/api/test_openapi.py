"""The OpenAPI document is complete: summaries, examples, error answers, security."""

import jsonschema_rs
import pytest


@pytest.fixture(scope="session")
def document(anonymous):
    return anonymous.get("/openapi.json").json()


@pytest.fixture(scope="session")
def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_is_described(operations):
    """By a summary, a description and an identifier of its own."""
    identifiers = [operation["operationId"] for operation in operations.values()]
    assert len(set(identifiers)) == len(identifiers)
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_every_operation_documents_its_error_answers(operations):
    for name, operation in operations.items():
        answers = set(operation["responses"])
        assert "405" in answers, name
        if operation.get("security") and name != "GET /metrics":
            assert {"401", "403", "422", "503"} <= answers, name
        if "{" in name:
            assert "404" in answers, name
        if "requestBody" in operation:
            assert "413" in answers, name
        if name.endswith(("/test", "/secret")) and "connection_key" in name:
            assert "429" in answers, name


def test_every_json_answer_and_body_has_a_schema_and_success_an_example(operations):
    for name, operation in operations.items():
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if content is not None:
                assert content["schema"], (name, status)
                assert status != "200" or content["example"] is not None, name
        if "requestBody" in operation:
            for content in operation["requestBody"]["content"].values():
                assert content["schema"]
                assert content.get("examples") or content.get("example"), name


def test_examples_of_success_fit_their_schemas(document, operations):
    for name, operation in operations.items():
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json")
        if content is None or "Dataset" in str(content["schema"]):
            continue
        schema = content["schema"] | {"components": document["components"]}
        jsonschema_rs.validator_for(schema).validate(content["example"])
        assert name


def test_the_document_declares_client_credentials_with_every_scope(document):
    [scheme] = document["components"]["securitySchemes"].values()
    flow = scheme["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/api/v1/oauth/token"
    used = {
        scope
        for methods in document["paths"].values()
        for operation in methods.values()
        for requirement in operation.get("security", [])
        for scopes in requirement.values()
        for scope in scopes
    }
    assert used == set(flow["scopes"])


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    names = {reference.rpartition("/")[2] for reference in references(document)}
    assert names <= set(document["components"]["schemas"])
    assert set(document["components"]["schemas"]) - names == set()


def test_the_document_holds_nothing_of_the_environment(document, settings):
    text = str(document)
    assert str(settings.home) not in text
    assert "database_url" not in text


def test_docs_are_served_without_a_token(anonymous):
    answer = anonymous.get("/docs")
    assert answer.status_code == 200
    assert "docs/swagger-ui.js" in answer.text


def test_datasets_may_be_sent_as_json_and_as_yaml(operations, document):
    content = operations["PATCH /api/v1/connection/{connection_key}/dataset"]["requestBody"]["content"]
    assert list(content) == ["application/json", "application/yaml"]
    schema = content["application/yaml"]["schema"] | {"components": document["components"]}
    valid = jsonschema_rs.validator_for(schema)
    [example] = content["application/yaml"]["examples"].values()
    for value in (example["value"], example["value"]["dataset"]):
        valid.validate(value)
    assert not valid.is_valid(example["value"] | {"system": []})
