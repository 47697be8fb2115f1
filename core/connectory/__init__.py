"""Connectory: connect a product to other people's databases and services through installable connectors.

Everything a plugin author needs is here. Importing it brings in pluggy and pydantic, nothing else.
"""

from connectory.contract.check import Address, CheckContext, CheckFailed, CheckSkipped, FailureCode
from connectory.contract.consent import Authorization
from connectory.contract.description import Description
from connectory.contract.fields import (
    Endpoint,
    Grammar,
    Host,
    Integer,
    Name,
    PemCertificates,
    PemPrivateKey,
    Port,
    SecretText,
    text,
)
from connectory.contract.hookspecs import ConnectorUnusable, hookimpl
from connectory.contract.secrets import SecretGroup, Secrets
from connectory.contract.settings import DeployerSettings
from connectory.contract.sources import ConnectorSource, SourcedConnector
from connectory.contract.ssl_mode import SSL_MODE_QUERY_KEY, SslCaField, SslMode, SslModeField
from connectory.contract.urls import QueryKey, UrlGrammar, UrlText
from connectory.toolkit.files import path_of
from connectory.toolkit.pem import rsa_private_key
from connectory.toolkit.tls import request_tls, system_certificates, tls_context, tls_failure

__all__ = [
    "SSL_MODE_QUERY_KEY",
    "Address",
    "Authorization",
    "CheckContext",
    "CheckFailed",
    "CheckSkipped",
    "ConnectorSource",
    "ConnectorUnusable",
    "DeployerSettings",
    "Description",
    "Endpoint",
    "FailureCode",
    "Grammar",
    "Host",
    "Integer",
    "Name",
    "PemCertificates",
    "PemPrivateKey",
    "Port",
    "QueryKey",
    "SecretGroup",
    "SecretText",
    "Secrets",
    "SourcedConnector",
    "SslCaField",
    "SslMode",
    "SslModeField",
    "UrlGrammar",
    "UrlText",
    "hookimpl",
    "path_of",
    "request_tls",
    "rsa_private_key",
    "system_certificates",
    "text",
    "tls_context",
    "tls_failure",
]
