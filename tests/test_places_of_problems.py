"""Whatever is wrong with secrets is told at a place that a form can show, in words for people: for every installed connector."""

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectory.catalog.catalog import Catalog, build_catalog
from connectory.catalog.loaded import LoadedConnector
from connectory.documents.masking import merge_documents
from connectory.documents.sensitivity import MASK, accepted_names
from connectory.documents.validation import MAX_DEPTH, FieldProblem, SecretsInvalid, secrets_document

WEB_SERVICES = [
    *["adobe_campaign", "auth0", "datadog", "hubspot", "mailchimp", "outreach"],
    *["salesforce", "segment", "sendgrid", "sentry", "stripe", "zendesk"],
]
IDENTIFIERS = [
    *["bigquery", "manual", "mariadb", "mongodb", "mssql", "mysql", "postgres", "redshift", "snowflake"],
    *WEB_SERVICES,
]


@cache
def catalog() -> Catalog:
    return build_catalog(environment={})


def test_no_connector_is_left_out() -> None:
    # Other tests of this process may have installed connectors of their own.
    ours = {name for name, one in catalog().connectors.items() if one.record.distribution.startswith("connectory")}
    assert ours == set(IDENTIFIERS)


def connector_of(identifier: str) -> LoadedConnector:
    found = catalog().get(identifier)
    assert found is not None
    return found


def problems(connector: LoadedConnector, payload: Any, stored: Any = None) -> list[FieldProblem]:
    """What is told where `payload` is sent."""
    try:
        if stored is not None:
            payload = merge_documents(connector.secrets_model, payload, stored, replace=False)
        secrets_document(connector.secrets_model, payload)
    except SecretsInvalid as refused:
        return refused.problems
    return []


def deep(value: Any) -> Any:
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    return value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.just(MASK)
urls = st.builds(
    "{}://{}".format, st.sampled_from(["postgresql", "mongodb+srv", "mysql", "snowflake", "redshift", "mssql"]), texts
)
values = st.one_of(
    scalars,
    urls,
    st.sampled_from(["a.example", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", 0, "x" * 5000]),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2)),
    scalars.map(deep),
)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_every_problem_has_a_place_and_speaks_to_people(identifier: str) -> None:
    connector = connector_of(identifier)
    fields = accepted_names(connector.secrets_model)
    names = st.sampled_from([*fields, "hostname", "nothing like it", "", "\0"]) | texts
    misspelt = st.sampled_from(fields or ["x"]).flatmap(
        lambda name: st.sampled_from([name[1:], name + "s", name.title()])
    )
    members = st.dictionaries(names | misspelt, values, max_size=5)
    nested = st.builds(lambda outer, inner, name: outer | {name: inner}, members, members, names)

    # One module makes the secrets of all twelve web services, so that together they get four times as many as any other.
    @settings(
        max_examples=50 if identifier in WEB_SERVICES else 150, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(members | nested, st.none() | st.just({}) | st.just({"url": "postgresql://u:p@h/d"}))
    def judge(payload: dict[str, Any], stored: dict[str, Any] | None) -> None:
        for problem in problems(connector, payload, stored):
            assert problem["loc"], problem
            assert problem["loc"][0] in {*fields, MASK}, problem
            assert connector.schema["title"] not in problem["msg"]
            assert connector.secrets_model.__name__ not in problem["msg"]
            assert "Input should" not in problem["msg"]

    judge()


def test_a_misspelt_host_of_postgresql_is_told_at_the_host() -> None:
    found = problems(connector_of("postgres"), {"hostname": "db.example"})
    assert {tuple(problem["loc"]) for problem in found} == {("host",)}
    assert any("Did you mean 'host'?" in problem["msg"] for problem in found)


def test_a_misspelt_password_of_postgresql_is_told_at_the_password() -> None:
    [problem] = problems(connector_of("postgres"), {"host": "db.example", "passwrd": "S3cret"})
    assert problem["loc"] == ["password"]
    assert "Did you mean 'password'?" in problem["msg"]


def test_a_service_record_of_mongodb_has_no_port() -> None:
    """The url is refused when it is stored, before the DNS is asked."""
    url = "mongodb+srv://u:p@cluster.example:27017/app"
    [problem] = problems(connector_of("mongodb"), {"url": url})
    assert problem["loc"] == ["url"]
    assert "must not hold a port" in problem["msg"]
    assert problems(connector_of("mongodb"), {"url": url.replace(":27017", "")}) == []
