"""Connectory: connect a product to other people's databases and services through installable connectors.

What a first connector needs is here. More has rooms of its own: `connectory.toolkit` for TLS, certificates, HTTP and error codes,
`connectory.consent` for a person's consent, `connectory.data` for connections that are used and not only tested,
`connectory.sources` for connectors that deployers define in files, and `connectory.testing` for tests. Importing this brings in
pluggy and pydantic, nothing else.
"""

import importlib
import warnings
from typing import Any

from connectory.contract.check import CheckContext, CheckFailed, CheckSkipped, FailureCode
from connectory.contract.connector import Connector
from connectory.contract.description import Description
from connectory.contract.fields import Endpoint, Host, Name, Port, SecretText, Text
from connectory.contract.hookspecs import hookimpl
from connectory.contract.secrets import SecretGroup, Secrets
from connectory.contract.settings import DeployerSettings
from connectory.contract.ssl_mode import SslCaField, SslMode, SslModeField
from connectory.contract.urls import UrlGrammar

__all__ = [
    "CheckContext",
    "CheckFailed",
    "CheckSkipped",
    "Connector",
    "DeployerSettings",
    "Description",
    "Endpoint",
    "FailureCode",
    "Host",
    "Name",
    "Port",
    "SecretGroup",
    "SecretText",
    "Secrets",
    "SslCaField",
    "SslMode",
    "SslModeField",
    "Text",
    "UrlGrammar",
    "hookimpl",
]

_TOOLKIT, _CONSENT, _SOURCES = "connectory.toolkit", "connectory.consent", "connectory.sources"
# Names of 0.1 that moved or went: where each is now, and what to use.
_MOVED = {
    **dict.fromkeys(("Address", "PemCertificates", "PemPrivateKey", "QueryKey"), _TOOLKIT),
    **dict.fromkeys(("path_of", "request_tls", "rsa_private_key", "system_certificates"), _TOOLKIT),
    **dict.fromkeys(("tls_context", "tls_failure"), _TOOLKIT),
    "Authorization": _CONSENT,
    **dict.fromkeys(("ConnectorSource", "ConnectorUnusable", "SourcedConnector"), _SOURCES),
}
_GONE = {
    "Grammar": "connectory.Text",
    "Integer": "int, which takes a decimal string in every field of Secrets",
    "SSL_MODE_QUERY_KEY": "the name of the field, as in query={'sslmode': 'ssl_mode'}",
    "UrlText": "nothing: the part's field says what it may hold",
    "text": "connectory.Text",
}


def __getattr__(name: str) -> Any:
    """A name of version 0.1, with a `DeprecationWarning` that says what to use now."""
    if name in _MOVED:
        module, instead = _MOVED[name], f"{_MOVED[name]}.{name}"
    elif name in _GONE:
        module, instead = "connectory.contract.names_of_0_1", _GONE[name]
    else:
        raise AttributeError(f"module 'connectory' has no attribute '{name}'")
    warnings.warn(f"connectory.{name} is deprecated and goes with 1.0; use {instead}", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(module), name)
