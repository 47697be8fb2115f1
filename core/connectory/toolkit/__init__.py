"""What a connector needs when its driver does not do it, or must be kept from doing it its own way.

- Addresses and links: `Address`, `Link`.
- TLS: `tls_context`, `tls_failure`, `is_verified`, `system_certificates`, and `request_tls` for databases that ask as
  PostgreSQL does.
- What a field says of itself: `Public`, for one that is shown although it is named like a secret; `Role`, for what it is
  for; `SslModes`, which narrows `SslModeField` to the modes that a protocol has.
- Certificates and keys as PEM text: `PemCertificates`, `PemPrivateKey`, `PemPrivateKeyForm`, `rsa_private_key`.
- Files for drivers that take nothing else: `path_of`.
- What a driver's data means: `failure_of_sqlstate`, `failure_of_status`, `Failures`.
- HTTP: `HttpAddress`, for a field that holds one; `HttpClient`, which `context.http` gives; `wait_in`, `number_in`,
  `bounded_wait` for the waits that headers ask for.
- Urls: `QueryKey`, for query keys that are not simply a field's value.
"""

from connectory.contract.check import Address, Failures, Link
from connectory.contract.fields import HttpAddress, Public, Role
from connectory.contract.pem import PemCertificates, PemPrivateKey, PemPrivateKeyForm
from connectory.contract.ssl_mode import SslModes
from connectory.contract.urls import QueryKey
from connectory.toolkit.files import path_of
from connectory.toolkit.http import HttpClient, bounded_wait, failure_of_status, number_in, wait_in
from connectory.toolkit.pem import rsa_private_key
from connectory.toolkit.postgres import request_tls
from connectory.toolkit.sqlstate import failure_of_sqlstate
from connectory.toolkit.tls import is_verified, system_certificates, tls_context, tls_failure

__all__ = [
    "Address",
    "Failures",
    "HttpAddress",
    "HttpClient",
    "Link",
    "PemCertificates",
    "PemPrivateKey",
    "PemPrivateKeyForm",
    "Public",
    "QueryKey",
    "Role",
    "SslModes",
    "bounded_wait",
    "failure_of_sqlstate",
    "failure_of_status",
    "is_verified",
    "number_in",
    "path_of",
    "request_tls",
    "rsa_private_key",
    "system_certificates",
    "tls_context",
    "tls_failure",
    "wait_in",
]
