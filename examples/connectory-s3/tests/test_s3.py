"""The connector keeps the contract, against moto's server with authentication on. `moto_server` must be on the PATH."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from connectory import FailureCode
from connectory.testing import ConnectorConformance, Payload, free_port, running_server

MAY_LIST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
UNCHECKED = 6
"""Requests before moto begins to check who sends them: those below, which make the bucket and the users."""


@pytest.fixture(scope="session")
def store() -> Iterator[dict[str, str]]:
    """A store with a bucket, and secrets for a user who may list it."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running_server(
        ["moto_server", "-H", "127.0.0.1", "-p", str(port)],
        port,
        environment={"INITIAL_NO_AUTH_ACTION_COUNT": str(UNCHECKED)},
    ):
        made = {
            "endpoint_url": address,
            "region_name": "us-east-1",
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
        }
        boto3.client("s3", **made).create_bucket(Bucket="books")
        iam = boto3.client("iam", **made)
        iam.create_user(UserName="reader")
        iam.put_user_policy(UserName="reader", PolicyName="list", PolicyDocument=json.dumps(MAY_LIST))
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        iam.create_user(UserName="nobody")
        other = iam.create_access_key(UserName="nobody")["AccessKey"]
        yield {
            "endpoint": address, "bucket": "books",
            "access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"],
            "other_id": other["AccessKeyId"], "other_key": other["SecretAccessKey"],
        }  # fmt: skip


class TestS3Conformance(ConnectorConformance):
    identifier = "s3"
    distribution = "connectory-s3"
    golden_schema = Path(__file__).with_name("secret_schema.json")
    short_deadline = 5.0  # boto3 takes most of a second to make its client

    @pytest.fixture
    def good_secrets(self, store: dict[str, str]) -> Payload:
        return {name: store[name] for name in ("endpoint", "bucket", "access_key_id", "secret_access_key")}

    @pytest.fixture
    def bad_secrets(self, good_secrets: Payload, store: dict[str, str]) -> dict[FailureCode, Payload]:
        another = {"access_key_id": store["other_id"], "secret_access_key": store["other_key"]}
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"secret_access_key": "another key"},
            FailureCode.PERMISSION_DENIED: good_secrets | another,
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"bucket": "nothing"},
        }

    def secrets_for_server(self, host: str, port: int) -> Payload:
        return {
            "endpoint": f"http://{host}:{port}",
            "bucket": "books",
            "access_key_id": "AKIA0000000000000000",
            "secret_access_key": "any key",
        }

    def test_an_unknown_key_is_refused(self, good_secrets: Payload) -> None:
        outcome = self.check(good_secrets | {"access_key_id": "AKIA0000000000000000"})
        assert outcome.report.code is FailureCode.AUTH_FAILED
