"""Whom clients of httpx trust, read once.

httpx reads the machine's authorities for each client, also for one that only talks to a service without TLS. That takes 0.06 s of
a processor, more than most tests.
"""

import os
import ssl
from functools import cache
from typing import Any

import httpx
from httpx._transports import default as transports


def read_authorities_once() -> None:
    """Have clients that trust whom the machine trusts share what was read of that, while the environment names the same."""
    transports.create_ssl_context = _shared_or_new


def _shared_or_new(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None and trust_env:
        return _machines(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return httpx.create_ssl_context(verify, cert, trust_env)


@cache
def _machines(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
