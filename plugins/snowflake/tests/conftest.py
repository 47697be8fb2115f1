"""Snowflake's stand-in, and running the connector's test the way the service does: in a process of its own."""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.documents.validation import secrets_document
from servers.snowflake.server import SnowflakeServer

Check = Callable[..., CheckReport]
CheckAll = Callable[[list[dict[str, Any]]], list[CheckReport]]

PASSWORD = "p@ss w/:rd"


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    """The key pair of the user ANN."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def snowflake(key: rsa.RSAPrivateKey) -> Iterator[SnowflakeServer]:
    """An account with the user ANN, who has a password and a key, and OWNER, who has the role of that name besides."""
    public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with SnowflakeServer() as server:
        server.create_user("ANN", PASSWORD, public_key=public_key)
        server.create_user("OWNER", PASSWORD, roles=("PUBLIC", "OWNER"))
        yield server


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """The event loop of the runner that most tests share: it keeps a process with the driver's modules imported."""
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="session")
def runner(loop: asyncio.Runner) -> Iterator[CheckRunner]:
    """The runner that most tests share, with the service's own deadline."""
    runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), concurrency=4)
    loop.run(runner.start())
    yield runner
    loop.run(runner.stop())


@pytest.fixture
def check_all(snowflake: SnowflakeServer, runner: CheckRunner, loop: asyncio.Runner) -> CheckAll:
    """Test connections with each of these secrets, several at once, and return the reports."""
    connector = find_connector("snowflake", "connectory-snowflake", {"CONNECTORY_SNOWFLAKE_ENDPOINT": snowflake.url})

    async def run(all_secrets: list[dict[str, Any]]) -> list[CheckReport]:
        documents = [secrets_document(connector.secrets_model, secrets) for secrets in all_secrets]
        tests = [runner.run(number, connector, lambda it=it: it) for number, it in enumerate(documents)]
        return await asyncio.gather(*tests)

    return lambda all_secrets: loop.run(run(all_secrets))


@pytest.fixture
def check(snowflake: SnowflakeServer, runner: CheckRunner, loop: asyncio.Runner) -> Check:
    """Test a connection of ANN's with these changes, against `endpoint` (default: the stand-in), and return the report.

    With a `deadline`, or where a test has changed the certificates to trust, it has a runner of its own.
    """

    def run(*, endpoint: str | None = None, deadline: float | None = None, **changes: Any) -> CheckReport:
        environment = {"CONNECTORY_SNOWFLAKE_ENDPOINT": endpoint or snowflake.url}
        connector = find_connector("snowflake", "connectory-snowflake", environment)
        secrets = {
            "account_identifier": snowflake.account,
            "user_login_name": "ann",
            "password": PASSWORD,
            "warehouse_name": "compute_wh",
        } | changes
        document = secrets_document(connector.secrets_model, secrets)
        if deadline is None and "SSL_CERT_FILE" not in os.environ:
            return loop.run(runner.run("test", connector, lambda: document))

        async def once() -> CheckReport:
            own = CheckRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline or 10)
            await own.start()
            try:
                return await own.run("test", connector, lambda: document)
            finally:
                await own.stop()

        return asyncio.run(once())

    return run
