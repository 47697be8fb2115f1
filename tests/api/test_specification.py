"""Every JSON example of the specification works as printed and gets the printed answer."""

import pytest

POSTGRESQL = {
    "name": "Application PostgreSQL DB",
    "key": "application_postgresql_db",
    "connection_type": "postgres",
    "access": "read",
}
CONNECTIONS = {
    "PostgreSQL": POSTGRESQL,
    "MongoDB": {
        "name": "My Mongo DB",
        "key": "my_mongo_db",
        "connection_type": "mongodb",
        "access": "write",
        "disabled": False,
    },
    "MySQL": {
        "name": "My MySQL DB",
        "key": "my_mysql_db",
        "connection_type": "mysql",
        "access": "write",
        "disabled": False,
    },
    "MariaDB": {
        "name": "My Maria DB",
        "key": "my_maria_db",
        "connection_type": "mariadb",
        "access": "write",
        "disabled": False,
    },
    "MsSQL": {
        "name": "My MsSQL DB",
        "key": "my_mssql_db",
        "connection_type": "mssql",
        "access": "write",
        "disabled": False,
    },
    "Manual": {
        "name": "Manual connector",
        "key": "manual_connector",
        "connection_type": "manual",
        "access": "read",
        "disabled": False,
        "description": "Connector describing manual actions",
    },
}
SECRETS = {
    "postgres": {
        "host": "host.docker.internal",
        "port": 5432,
        "dbname": "postgres_example",
        "username": "postgres",
        "password": "postgres",
    },
    "mongodb": {"url": "mongodb://mongo_user:mongo_pass@mongodb_example/mongo_test"},
    "redshift": {
        "url": "redshift+psycopg2://username@host.amazonaws.com:5439/database",
        "db_schema": "my_test_schema",
    },
    "bigquery": {
        "dataset": "some-dataset",
        "keyfile_creds": {
            "type": "service_account",
            "project_id": "project-12345",
            "private_key_id": "qo28cy4nlwu",
            "private_key": "-----BEGIN PRIVATE KEY-----\nqi2unhflhncflkjas\nkqiu34c\n-----END PRIVATE KEY-----\n",
            "client_email": "something@project-12345.iam.gserviceaccount.com",
            "client_id": "287345028734538",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/something%40project-12345.iam.gserviceaccount.com",
        },
    },
}
ITEM_MEMBERS = {
    "name",
    "key",
    "description",
    "connection_type",
    "access",
    "created_at",
    "updated_at",
    "disabled",
    "last_test_timestamp",
    "last_test_succeeded",
}


@pytest.mark.parametrize("example", CONNECTIONS.values(), ids=CONNECTIONS)
def test_each_connection_of_the_specification_is_stored_as_printed(api, example):
    answer = api.patch("/connection", json=[example])
    assert answer.status_code == 200, answer.text
    assert answer.json()["failed"] == []
    [stored] = answer.json()["succeeded"]
    assert set(stored) == ITEM_MEMBERS
    expected = {
        "disabled": False,
        "description": None,
        "last_test_timestamp": None,
        "last_test_succeeded": None,
    } | example
    assert {name: stored[name] for name in expected} == expected


@pytest.mark.parametrize("identifier", SECRETS)
def test_each_secret_of_the_specification_is_stored_as_printed(api, identifier):
    api.create(f"my_{identifier}_db", identifier)
    answer = api.put(f"/connection/my_{identifier}_db/secret?verify=false", json=SECRETS[identifier])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["msg"] == f"Secrets updated for ConnectionConfig with key: my_{identifier}_db."
    assert (body["test_status"], body["failure_reason"]) == (None, None)


def test_set_secrets_with_verify_then_test(api, postgres):
    """The specification's success: its host does not exist here, so a real PostgreSQL stands in."""
    api.patch("/connection", json=[POSTGRESQL | {"key": "app_postgres_db"}])
    secrets = SECRETS["postgres"] | {"host": postgres.host, "port": postgres.port, "dbname": "postgres"}
    secrets |= {"username": postgres.superuser, "password": postgres.password}
    api.put("/connection/app_postgres_db/secret?verify=true", json=secrets)
    body = api.get("/connection/app_postgres_db/test").json()
    assert {name: body[name] for name in ("msg", "test_status", "failure_reason")} == {
        "msg": "Test completed for ConnectionConfig with key: app_postgres_db.",
        "test_status": "succeeded",
        "failure_reason": None,
    }


def test_set_secrets_that_do_not_work(api):
    api.patch("/connection", json=[CONNECTIONS["MongoDB"] | {"key": "app_mongo_db"}])
    body = api.put("/connection/app_mongo_db/secret", json=SECRETS["mongodb"]).json()
    assert body["msg"] == "Secrets updated for ConnectionConfig with key: app_mongo_db."
    assert body["test_status"] == "failed"
    assert body["failure_reason"]


def test_the_url_with_hyphens_gets_the_helpful_404(api):
    api.patch("/connection", json=[POSTGRESQL])
    for method, path in (
        ("PUT", "/connection/application-postgresql-db/secret?verify=true"),
        ("GET", "/connection/application-postgresql-db/test"),
    ):
        answer = api(method, path, json=SECRETS["postgres"])
        assert answer.status_code == 404
        assert answer.json()["detail"] == (
            "No connection configuration found with key 'application-postgresql-db'. "
            "Did you mean 'application_postgresql_db'?"
        )


def test_associate_a_dataset(api):
    api.create("my_connection_key")
    dataset = {
        "fides_key": "example_test_dataset",
        "name": "Example Test Dataset",
        "description": "Example of a dataset containing a variety of related tables like customers, products, addresses, etc.",
        "collections": [],
    }
    answer = api.patch("/connection/my_connection_key/dataset", json=[dataset])
    assert answer.status_code == 200
    [saved] = answer.json()["succeeded"]
    assert {name: saved[name] for name in dataset} == dataset


def test_filters_and_search_as_printed(api):
    for item in (
        {"name": "Application Maria DB", "key": "app_mariadb_db", "connection_type": "mariadb", "access": "write"},
        {
            "name": "Application PostgreSQL DB",
            "key": "app_postgres_db",
            "description": "postgres backup",
            "connection_type": "postgres",
            "access": "write",
        },
        {
            "name": "My Mongo DB",
            "key": "app_mongo_db",
            "description": "Primary Mongo DB",
            "connection_type": "mongodb",
            "access": "write",
            "disabled": True,
        },
        {
            "name": "Application MySQL DB",
            "key": "app_mysql_db",
            "description": "My Backup MySQL DB",
            "connection_type": "mysql",
            "access": "read",
        },
    ):
        assert api.patch("/connection", json=[item]).json()["failed"] == []
    for query, expected in (
        ("connection_type=mariadb&connection_type=postgres", ["app_mariadb_db", "app_postgres_db"]),
        ("disabled=true", ["app_mongo_db"]),
        ("search=backup&connection_type=mysql", ["app_mysql_db"]),
        ("system_status=database&disabled=true", ["app_mongo_db"]),
    ):
        page = api.get(f"/connection?{query}").json()
        assert [item["key"] for item in page["items"]] == expected
        assert (page["total"], page["page"], page["size"]) == (len(expected), 1, 50)
        assert all(set(item) == ITEM_MEMBERS for item in page["items"])
    api.get("/connection/app_mongo_db/test")
    assert [item["key"] for item in api.get("/connection?test_status=failed").json()["items"]] == ["app_mongo_db"]


def test_available_types_as_printed(api):
    page = api.get("/connection_type").json()
    printed = ["bigquery", "mariadb", "mongodb", "mssql", "mysql", "postgres", "redshift", "snowflake"]
    databases = [item["identifier"] for item in page["items"] if item["type"] == "database"]
    assert [identifier for identifier in databases if identifier != "api_ledger"] == printed
    assert set(page) == {"items", "total", "page", "size", "pages"}
