"""A connector for directories that speak LDAP, with its driver ldap3."""

from math import ceil
from typing import Annotated

from pydantic import Field

from connectory import (
    CheckContext, Connector, Description, Endpoint, FailureCode, Host, Name, Port, Secrets, SecretText, SslCaField, SslMode,
    SslModeField,
)  # fmt: skip
from connectory.toolkit import SslModes, is_verified, tls_context


class LdapSecrets(Secrets):
    """The fields of a connection. A simple bind sends the password as it is, so there is no mode without TLS."""

    host: Host = Field(title="Host", description="Name or address of the directory server.")
    port: Port = Field(default=636, title="Port")
    bind_dn: Name = Field(title="Bind DN", description="Distinguished name of the user.")
    password: SecretText = Field(title="Password")
    base_dn: Name = Field(title="Base DN", description="The entry below which to search.")
    starttls: Annotated[bool, Endpoint()] = Field(default=False, title="StartTLS", description="As on port 389.")
    ssl_mode: Annotated[SslModeField, SslModes("required", "verify-ca", "verify-full")] = SslMode.VERIFY_FULL
    ssl_ca: SslCaField = None


class Ldap(Connector[LdapSecrets]):
    """Binds, and reads the base entry."""

    identifier, type = "ldap", "directory"
    sentences = {FailureCode.DATABASE_NOT_FOUND: "The login was accepted, but there is no entry of the base DN."}
    description = Description(human_readable="LDAP", category="DIRECTORY", drivers=("ldap3",), sentences=sentences)

    def test(self, secrets: LdapSecrets, context: CheckContext) -> None:
        import ldap3
        from ldap3.core import exceptions as errors

        failures = {
            errors.LDAPInvalidCredentialsResult: FailureCode.AUTH_FAILED,
            errors.LDAPNoSuchObjectResult: FailureCode.DATABASE_NOT_FOUND,
            errors.LDAPResponseTimeoutError: FailureCode.TIMEOUT,
            errors.LDAPExceptionError: FailureCode.PROTOCOL_MISMATCH,
        }
        context.connect(secrets.host, secrets.port)[0].close()
        user, patience = (secrets.bind_dn, secrets.password.get_secret_value()), ceil(context.timeout)
        server = ldap3.Server(secrets.host, secrets.port, get_info=ldap3.NONE, connect_timeout=patience)
        link = ldap3.Connection(server, *user, receive_timeout=patience, raise_exceptions=True, auto_referrals=False)
        with context.step("tls", failures):
            link.open(read_server_info=False)
            if secrets.starttls:
                link.extended("1.3.6.1.4.1.1466.20037")  # RFC 4511 §4.14.1
            tls = tls_context(secrets.ssl_mode, secrets.ssl_ca)
            link.socket = tls.wrap_socket(link.socket, server_hostname=secrets.host)
            context.report_tls(verified=is_verified(link.socket))
        with context.step("authenticate", failures):
            link.bind(read_server_info=False)
        with context.step("query", failures):
            link.search(secrets.base_dn, "(objectClass=*)", ldap3.BASE, attributes=["1.1"])
