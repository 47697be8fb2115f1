"""The connector keeps the contract, against a real OpenLDAP. `slapd` must be on the PATH."""

from collections.abc import Iterator
from pathlib import Path

import ldap3
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

READER, PASSWORD = "cn=reader,cn=books", "the right password"
CONFIGURATION = """
TLSCertificateFile {certificate.chain_file}
TLSCertificateKeyFile {certificate.key_file}
objectclass ( 1.3.6.1.4.1.32473.1 NAME 'thing' SUP top STRUCTURAL MAY ( cn $ userPassword ) )
database ldif
suffix "cn=books"
rootdn "cn=root,cn=books"
rootpw secret
directory {folder}
access to dn.exact="cn=closed,cn=books" by * none
access to attrs=userPassword by anonymous auth
access to * by users read
"""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def slapd(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports for LDAP and for LDAPS."""
    folder, ports = tmp_path_factory.mktemp("directory"), (free_port(), free_port())
    (folder / "data").mkdir()
    file = folder / "slapd.conf"
    file.write_text(CONFIGURATION.format(certificate=certificates.server, folder=folder / "data"))
    addresses = f"ldap://127.0.0.1:{ports[0]} ldaps://127.0.0.1:{ports[1]}"
    with running_server(["slapd", "-d", "0", "-f", file, "-h", addresses], *ports):
        with ldap3.Connection(
            ldap3.Server("127.0.0.1", ports[0]), "cn=root,cn=books", "secret", raise_exceptions=True
        ) as root:
            root.add("cn=books", "thing")
            root.add(READER, "thing", {"userPassword": PASSWORD})
            root.add("cn=closed,cn=books", "thing")
        yield ports


class TestLdapConformance(ConnectorConformance):
    identifier = "ldap"
    distribution = "connectory-ldap"
    golden_schema = Path(__file__).with_name("secret_schema.json")

    @pytest.fixture
    def good_secrets(self, slapd: tuple[int, int], certificates: Certificates) -> Payload:
        return self.secrets_for_server("localhost", slapd[1]) | {"ssl_ca": certificates.ca_pem}

    @pytest.fixture
    def bad_secrets(
        self, good_secrets: Payload, slapd: tuple[int, int], certificates: Certificates
    ) -> dict[FailureCode, Payload]:
        return {
            FailureCode.AUTH_FAILED: good_secrets | {"password": "another password"},
            FailureCode.DATABASE_NOT_FOUND: good_secrets | {"base_dn": "cn=nothing,cn=books"},
            FailureCode.TLS_UNTRUSTED: good_secrets | {"ssl_ca": certificates.other_ca_pem},
        }

    def secrets_for_server(self, host: str, port: int) -> Payload:
        return {"host": host, "port": port, "bind_dn": READER, "password": PASSWORD, "base_dn": "cn=books"}

    def test_it_asks_for_tls_on_the_plain_port(
        self, good_secrets: Payload, slapd: tuple[int, int], certificates: Certificates
    ) -> None:
        upgraded = good_secrets | {"port": slapd[0], "starttls": True}
        report = self.check(upgraded).report
        assert (report.status, report.encrypted, report.verified) == ("succeeded", True, True)
        stranger = self.check(upgraded | {"ssl_ca": certificates.other_ca_pem}).report
        assert stranger.code is FailureCode.TLS_UNTRUSTED
