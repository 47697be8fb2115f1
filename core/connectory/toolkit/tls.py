"""TLS for connections that a connector opens itself."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from connectory.contract.check import CheckContext, CheckFailed, FailureCode
from connectory.contract.ssl_mode import SslMode


def tls_context(mode: SslMode, ca: str | None) -> ssl.SSLContext:
    """An `ssl.SSLContext` that enforces `mode`.

    Args:
        mode: what to verify.
        ca: PEM certificates to trust instead of the system's. Default: the system's.

    Raises:
        CheckFailed: `tls_untrusted` where `ca` holds no usable certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = mode is SslMode.VERIFY_FULL
    context.verify_mode = ssl.CERT_REQUIRED if mode.verifies else ssl.CERT_NONE
    if mode.verifies:
        if ca is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(cadata=ca)
            except (ssl.SSLError, ValueError) as error:
                raise CheckFailed(
                    FailureCode.TLS_UNTRUSTED,
                    remedy="The CA certificate in the secrets is not a readable PEM certificate.",
                ) from error
    return context


def system_certificates() -> str:
    """The certificates that this machine trusts, as PEM: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or OpenSSL's own.

    For drivers that verify by a file and know no system store. May be empty; nothing is trusted then.
    """
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else sorted(Path(paths.capath or "/nonexistent").glob("*.0"))
    texts = dict.fromkeys(file.read_text("ascii", "ignore") for file in files if file.is_file())
    return "\n".join(texts)


def tls_failure(error: OSError) -> FailureCode:
    """The code for a failed handshake, by the type of `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FailureCode.TLS_UNTRUSTED
    if isinstance(error, TimeoutError):
        return FailureCode.TIMEOUT
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":  # OpenSSL's reason for bytes that are no TLS record
        return FailureCode.PROTOCOL_MISMATCH
    return FailureCode.TLS_FAILED


def server_name(host: str) -> str:
    """`host` as TLS says it: an IPv6 address without brackets, a name without the dot of the DNS's root (RFC 6066 §3)."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")


def encrypted(connection: socket.socket, settings: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """`connection` after a TLS handshake, which takes it over.

    Args:
        connection: its timeout is that of each wait of the handshake.
        settings: see `tls_context`.
        host: the name that the certificate must be for, where `settings` say so.

    Raises:
        CheckFailed: the handshake failed; the code is that of `tls_failure`.
    """
    try:
        return settings.wrap_socket(connection, server_hostname=server_name(host))
    except OSError as error:
        raise CheckFailed(tls_failure(error)) from error


def request_tls(
    context: CheckContext,
    connection: socket.socket,
    mode: SslMode,
    host: str,
    *,
    request: bytes,
    accepted: bytes,
    declined: bytes,
    settings: Callable[[], ssl.SSLContext],
) -> ssl.SSLSocket | None:
    """Encrypt `connection` as the step `tls`, for protocols whose client asks for TLS and gets one byte as the answer.

    Args:
        connection: a fresh connection, on which nothing was sent. It is taken over where TLS is agreed on.
        mode: with `disabled` nothing is asked, and the step is reported as skipped.
        host: the name that the certificate must be for, where the mode says so.
        request, accepted, declined: what to send, and the two answers that the protocol knows.
        settings: makes the TLS settings: `tls_context`, and what the plugin adds to it.

    Returns:
        The encrypted connection; `None` where it stays plain, as the mode allows.

    Raises:
        CheckFailed: `tls_failed` where TLS is needed and declined, `protocol_mismatch` for any other answer, or what
            `settings` and `tls_failure` say.
    """
    if mode is SslMode.DISABLED:
        context.skip_step("tls")
        return None
    with context.step("tls"):
        connection.settimeout(context.timeout)
        try:
            connection.sendall(request)
            answer = connection.recv(1)
        except ConnectionError as error:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH) from error
        except TimeoutError as error:
            raise CheckFailed(FailureCode.TIMEOUT) from error
        if answer == accepted:
            try:
                return settings().wrap_socket(connection, server_hostname=host)
            except OSError as error:
                raise CheckFailed(tls_failure(error)) from error
        if answer != declined:
            raise CheckFailed(FailureCode.PROTOCOL_MISMATCH)
        if mode.needs_tls:
            raise CheckFailed(FailureCode.TLS_FAILED)
    return None
