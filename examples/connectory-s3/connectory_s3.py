"""A connector for object stores that speak S3, with its driver boto3."""

from typing import Annotated

from pydantic import Field

from connectory import CheckContext, CheckFailed, Connector, Description, FailureCode, Name, Secrets, SecretText
from connectory.toolkit import HttpAddress, Public, failure_of_status

KeyId = Annotated[Name, Public("It names the key, and users must see which one is stored.")]
BY_ERROR = {  # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    "InvalidAccessKeyId": FailureCode.AUTH_FAILED,
    "SignatureDoesNotMatch": FailureCode.AUTH_FAILED,
    "AccessDenied": FailureCode.PERMISSION_DENIED,
    "NoSuchBucket": FailureCode.DATABASE_NOT_FOUND,
}


class S3Secrets(Secrets):
    """The fields of a connection. Only a signature travels, made with the secret key."""

    endpoint: HttpAddress = Field(title="Endpoint", description="Address of the store.")
    region: Name = Field(default="us-east-1", title="Region")
    access_key_id: KeyId = Field(title="Access key id")
    secret_access_key: SecretText = Field(title="Secret access key")
    bucket: Name = Field(title="Bucket", description="A bucket that the key may list.")


class S3(Connector[S3Secrets]):
    """Lists one object of the bucket."""

    identifier, type = "s3", "object_store"
    sentences = {FailureCode.DATABASE_NOT_FOUND: "The key was accepted, but the bucket does not exist."}
    description = Description(human_readable="S3", category="STORAGE", drivers=("boto3", "httpx"), sentences=sentences)

    def test(self, secrets: S3Secrets, context: CheckContext) -> None:
        import boto3
        from botocore import exceptions as errors
        from botocore.config import Config

        with context.http(secrets.endpoint):  # reports how far the network leads, and whether it is encrypted
            pass
        limits = Config(
            connect_timeout=context.timeout, read_timeout=context.timeout, retries={"total_max_attempts": 1},
            proxies={}, s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
        )  # fmt: skip
        failures = {errors.ReadTimeoutError: FailureCode.TIMEOUT, errors.BotoCoreError: FailureCode.PROTOCOL_MISMATCH}
        with context.step("query", failures):
            client = boto3.client(
                "s3", secrets.region, endpoint_url=secrets.endpoint, config=limits,
                aws_access_key_id=secrets.access_key_id, aws_secret_access_key=secrets.secret_access_key.get_secret_value(),
            )  # fmt: skip
            try:
                client.list_objects_v2(Bucket=secrets.bucket, MaxKeys=1)
            except errors.ClientError as refused:
                status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
                code = BY_ERROR.get(refused.response["Error"]["Code"]) or failure_of_status(status)
                raise CheckFailed(code or FailureCode.PROTOCOL_MISMATCH) from None
