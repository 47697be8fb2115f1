"""The stand-ins for Snowflake and BigQuery do what their docstrings say; the connectors' tests rest on it."""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectory.testing.certificates import Certificates
from servers.bigquery.server import BigQueryServer, ServiceAccount
from servers.snowflake.server import SnowflakeServer
from testkit.tls_front import TlsFront


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """One request with a JSON body, and the status and JSON of its answer."""
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    try:
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def snowflake() -> Iterator[SnowflakeServer]:
    with SnowflakeServer() as server:
        server.create_user("ANN", "S3cret")
        server.create_user("OWNER", "S3cret", roles=("PUBLIC", "OWNER"))
        server.create_user("LOCKED", "S3cret", refused_with="390102")
        yield server


@pytest.fixture(scope="module")
def bigquery() -> Iterator[BigQueryServer]:
    with BigQueryServer() as server:
        yield server


class TestSnowflake:
    def log_in(self, server: Any, query: str = "", **login: str) -> tuple[int, Any]:
        data = {"ACCOUNT_NAME": "acme", "LOGIN_NAME": "ann", "PASSWORD": "S3cret", "SESSION_PARAMETERS": {}} | login
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        return call(connection, "POST", f"/session/v1/login-request?{query}", {"data": data})

    def test_it_checks_the_password(self, snowflake: SnowflakeServer) -> None:
        assert self.log_in(snowflake)[1]["success"] is True
        for wrong in (
            {"PASSWORD": "s3cret"},
            {"PASSWORD": "S3cret "},
            {"LOGIN_NAME": "nobody"},
            {"LOGIN_NAME": "locked "},
        ):
            answer = self.log_in(snowflake, **wrong)[1]
            assert (answer["success"], answer["code"]) == (False, "390100")

    def test_it_refuses_with_the_code_it_was_told(self, snowflake: SnowflakeServer) -> None:
        assert self.log_in(snowflake, LOGIN_NAME="locked")[1]["code"] == "390102"

    def test_it_knows_one_account(self, snowflake: SnowflakeServer) -> None:
        assert self.log_in(snowflake, ACCOUNT_NAME="other")[0] == 404

    def test_it_refuses_a_token_of_another_key(self, snowflake: SnowflakeServer) -> None:
        assert self.log_in(snowflake, AUTHENTICATOR="SNOWFLAKE_JWT", TOKEN="a.b.c")[1]["code"] == "390144"

    @pytest.mark.parametrize(
        ("user", "query", "session"),
        [
            ("ann", "", ["PUBLIC", None, None, None]),
            ("ann", "warehouse=compute_wh&databaseName=app", ["PUBLIC", "COMPUTE_WH", "APP", None]),
            ("ann", "databaseName=app&schemaName=public", ["PUBLIC", None, "APP", "PUBLIC"]),
            ("ann", "databaseName=app&schemaName=nowhere", ["PUBLIC", None, "APP", None]),
            ("ann", "databaseName=owners&warehouse=owners_wh", ["PUBLIC", None, None, None]),
            ("owner", "databaseName=owners&warehouse=owners_wh&roleName=owner", ["OWNER", "OWNERS_WH", "OWNERS", None]),
        ],
    )
    def test_a_session_is_in_what_exists_and_may_be_used(
        self, snowflake: SnowflakeServer, user: str, query: str, session: list[str | None]
    ) -> None:
        info = self.log_in(snowflake, query, LOGIN_NAME=user)[1]["data"]["sessionInfo"]
        assert [info[name] for name in ("roleName", "warehouseName", "databaseName", "schemaName")] == session

    def test_a_role_that_is_not_granted_is_refused(self, snowflake: SnowflakeServer) -> None:
        assert self.log_in(snowflake, "roleName=owner")[1]["code"] == "390189"

    def test_behind_a_front_it_speaks_tls_on_every_address(
        self, snowflake: SnowflakeServer, certificates: Certificates
    ) -> None:
        trust = ssl.create_default_context(cadata=certificates.ca_pem)
        with TlsFront(snowflake, certificates.server) as front:
            for host in ("127.0.0.1", "::1"):
                connection = http.client.HTTPSConnection(host, front.port, timeout=20, context=trust)
                assert call(connection, "POST", "/session/v1/login-request", {"data": {}})[0] == 404
        assert b"login-request" in front.received


class TestBigQuery:
    def assertion(self, account: ServiceAccount, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        def encode(part: bytes) -> str:
            return base64.urlsafe_b64encode(part).decode().rstrip("=")

        now = int(time.time())
        payload = {"iss": account.email, "aud": "https://oauth2.googleapis.com/token", "scope": "s", "exp": now + 60}
        signed = f"{encode(b'{}')}.{encode(json.dumps(payload | claims).encode())}"
        signature = (key or account.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"

    def token(self, server: BigQueryServer, assertion: str) -> tuple[int, Any]:
        form = f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
        return call(http.client.HTTPConnection(server.host, server.port, timeout=20), "POST", "/token", form)

    def get(self, server: BigQueryServer, path: str, token: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
        return call(connection, "GET", f"/bigquery/v2/projects/{path}", Authorization=f"Bearer {token}")

    def test_it_gives_a_token_for_the_accounts_key_only(self, bigquery: BigQueryServer) -> None:
        account, other = bigquery.create_account("ann"), bigquery.create_account("other")
        assert self.token(bigquery, self.assertion(account))[0] == 200
        for wrong in (
            self.assertion(account, other.key),
            self.assertion(account, iss="nobody@example.com"),
            self.assertion(account, exp=1),
            self.assertion(account, aud="https://elsewhere.example/"),
        ):
            status, answer = self.token(bigquery, wrong)
            assert (status, answer["error"]) == (400, "invalid_grant")

    def test_a_disabled_account_gets_none(self, bigquery: BigQueryServer) -> None:
        account = bigquery.create_account("disabled", disabled=True)
        status, answer = self.token(bigquery, self.assertion(account))
        assert (status, answer["error"]) == (401, "disabled_client")

    def test_it_answers_only_who_has_a_token_and_the_permission(self, bigquery: BigQueryServer) -> None:
        reader, stranger = bigquery.create_account("ann"), bigquery.create_account("bob", reads_datasets=False)
        tokens = [self.token(bigquery, self.assertion(account))[1]["access_token"] for account in (reader, stranger)]
        assert self.get(bigquery, "demo-project/datasets/app", tokens[0])[1]["datasetReference"]["datasetId"] == "app"
        assert self.get(bigquery, "demo-project/datasets/app", tokens[1])[0] == 403
        assert self.get(bigquery, "demo-project/datasets/app", "made-up")[0] == 401
        assert self.get(bigquery, "demo-project/datasets/nowhere", tokens[0])[0] == 404
        assert self.get(bigquery, "nowhere/datasets/app", tokens[0])[0] == 404
