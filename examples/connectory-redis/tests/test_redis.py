"""The connector keeps the contract, against a real Redis. `redis-server` must be on the PATH."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectory import FailureCode
from connectory.testing import (
    Certificates,
    ConnectorConformance,
    Payload,
    free_port,
    make_certificates,
    running_server,
)

PASSWORD = "the right password"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def redis(certificates: Certificates) -> Iterator[tuple[int, int]]:
    """The ports for plain connections and for TLS."""
    plain, encrypted, server = free_port(), free_port(), certificates.server
    options = {
        "bind": "127.0.0.1", "port": plain, "save": "", "requirepass": PASSWORD, "tls-port": encrypted, "tls-auth-clients": "no",
        "tls-cert-file": server.chain_file, "tls-key-file": server.key_file, "tls-ca-cert-file": server.chain_file,
    }  # fmt: skip
    command = ["redis-server", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    with running_server(command, plain, encrypted):
        yield plain, encrypted


class TestRedisConformance(ConnectorConformance):
    identifier = "redis"
    distribution = "connectory-redis"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, redis: tuple[int, int], certificates: Certificates) -> Payload:
        return self.secrets_for_server("127.0.0.1", redis[1]) | {
            "ssl_mode": "verify-full",
            "ssl_ca": certificates.ca_pem,
        }

    @pytest.fixture
    def bad_secrets(self, good_secrets: Payload, certificates: Certificates) -> dict[FailureCode, Payload]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "another password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"database": 4711},
            FailureCode.TLS_UNTRUSTED: good_secrets | {"ssl_ca": certificates.other_ca_pem},
        }

    def secrets_for_server(self, host: str, port: int) -> Payload:
        return {"host": host, "port": port, "password": PASSWORD, "ssl_mode": "disabled"}

    def test_without_tls_it_says_so(self, redis: tuple[int, int]) -> None:
        outcome = self.check(self.secrets_for_server("127.0.0.1", redis[0]))
        assert (outcome.report.status, outcome.report.encrypted) == ("succeeded", False)
