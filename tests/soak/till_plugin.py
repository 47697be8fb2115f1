"""A connector for "Till". The tests install it as a distribution.

A test without an address succeeds. One with an address connects there, starts a process of its own, and both hang.
"""

import os
import signal

from connectory import CheckContext, Host, Port, Secrets, SecretText, hookimpl


class TillSecrets(Secrets):
    token: SecretText
    host: Host | None = None
    port: Port | None = None


@hookimpl
def connectory_identifier() -> str:
    return "till"


@hookimpl
def connectory_type() -> str:
    return "database"


@hookimpl
def connectory_secret_schema() -> type[Secrets]:
    return TillSecrets


@hookimpl
def connectory_test_connection(secrets: TillSecrets, context: CheckContext) -> None:
    if secrets.host is None or secrets.port is None:
        return
    connection, _ = context.connect(secrets.host, secrets.port)
    with connection:
        if os.fork() == 0:
            os.setsid()
        signal.pause()
