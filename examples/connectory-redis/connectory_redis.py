"""A connector for Redis, with its driver redis-py."""

from typing import Annotated

from pydantic import Field

from connectory import (
    CheckContext, CheckFailed, Connector, Description, FailureCode, Host, Name, Port, Secrets, SecretText, SslCaField,
    SslMode, SslModeField,
)  # fmt: skip
from connectory.toolkit import SslModes


class RedisSecrets(Secrets):
    """The fields of a connection. Redis speaks TLS from the first byte or not at all, so `preferred` would mean nothing."""

    host: Host = Field(title="Host", description="Name or address of the Redis server.")
    port: Port = Field(default=6379, title="Port")
    username: Name = Field(default="default", title="User name", description="A user of the server's ACL.")
    password: SecretText = Field(title="Password")
    database: int = Field(default=0, ge=0, title="Database", description="Number of the database.")
    ssl_mode: Annotated[SslModeField, SslModes("disabled", "required", "verify-ca", "verify-full")] = (
        SslMode.VERIFY_FULL
    )
    ssl_ca: SslCaField = None


class Redis(Connector[RedisSecrets]):
    """Logs in, and selects the database."""

    identifier, type = "redis", "database"
    sentences = {
        FailureCode.DATABASE_NOT_FOUND: "The login was accepted, but the server has no database of this number."
    }
    description = Description(human_readable="Redis", category="DATABASE", drivers=("redis",), sentences=sentences)

    def test(self, secrets: RedisSecrets, context: CheckContext) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        failures = {
            redis.AuthenticationError: FailureCode.AUTH_FAILED,
            redis.TimeoutError: FailureCode.TIMEOUT,
            redis.RedisError: FailureCode.PROTOCOL_MISMATCH,
        }
        with context.open(secrets.host, secrets.port, tls=secrets.ssl_mode, ca=secrets.ssl_ca) as link:
            client = redis.Redis(
                host=secrets.host, port=secrets.port, username=secrets.username, socket_timeout=context.timeout,
                password=secrets.password.get_secret_value(), ssl=link.encrypted, ssl_ca_data=link.ca,
                ssl_cert_reqs="required" if secrets.ssl_mode.verifies else "none",
                ssl_check_hostname=secrets.ssl_mode is SslMode.VERIFY_FULL, retry=Retry(NoBackoff(), 0),
            )  # fmt: skip
            with context.step("authenticate", failures):
                if not client.ping():
                    raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
            with context.step("query", failures | {redis.ResponseError: FailureCode.DATABASE_NOT_FOUND}):
                client.select(secrets.database)
