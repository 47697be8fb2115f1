"""PostgreSQL's question whether the server offers TLS, which other databases that grew from it ask too.

Facts are from the PostgreSQL documentation, chapter "Frontend/Backend Protocol", section "SSL Session Encryption".
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

from connectory.contract.check import CheckContext, CheckFailed, FailureCode
from connectory.contract.ssl_mode import SslMode
from connectory.toolkit.tls import encrypted, is_verified, tls_context

SSL_REQUEST = struct.pack("!II", 8, 80877103)


def request_tls(
    context: CheckContext,
    connection: socket.socket,
    mode: SslMode,
    host: str,
    *,
    ca: str | None = None,
    settings: Callable[[], ssl.SSLContext] | None = None,
    request: bytes = SSL_REQUEST,
    accepted: bytes = b"S",
    declined: bytes = b"N",
) -> ssl.SSLSocket | None:
    """Ask for TLS and encrypt `connection`, as the step `tls`. Where it stays plain, the step is reported as skipped.

    Args:
        context: of the test.
        connection: a fresh connection, on which nothing was sent. It is taken over where TLS is agreed on.
        mode: with `disabled` nothing is asked.
        host: the name that the certificate must be for, where the mode says so.
        ca: PEM certificates to trust instead of the machine's. Default: the machine's.
        settings: makes the TLS settings. Default: `tls_context(mode, ca)`.
        request, accepted, declined: what to send, and the two answers of one byte. Default: PostgreSQL's.

    Returns:
        The encrypted connection; `None` where it stays plain, as the mode allows.

    Raises:
        CheckFailed: `tls_failed` where TLS is needed and declined, `protocol_mismatch` for any other answer, or what
            `settings` and the handshake say.
        OSError: the connection ended; the service knows what that means.
    """
    if mode is SslMode.DISABLED:
        context.skip_step("tls")
        return None
    with context.step("tls"):
        connection.settimeout(context.timeout)
        connection.sendall(request)
        answer = connection.recv(1)
        if answer == accepted:
            agreed = encrypted(connection, settings() if settings is not None else tls_context(mode, ca), host)
            context.report_tls(verified=is_verified(agreed))
            return agreed
        if answer != declined:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        if mode.needs_tls:
            raise CheckFailed(FailureCode.TLS_FAILED)
        context.skip_step("tls")
    return None
