"""TLS for connections that a connector opens itself."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from connectory.contract.check import CheckFailed, FailureCode
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


def is_verified(connection: ssl.SSLSocket | ssl.SSLObject) -> bool:
    """Whether the certificate of the server at the other end was verified, for `CheckContext.report_tls`.

    Raises:
        ValueError: the handshake is not done.
    """
    if connection.version() is None:
        raise ValueError("the handshake must be done first")
    # To a client, CERT_OPTIONAL is the same as CERT_REQUIRED.
    return connection.context.verify_mode is not ssl.CERT_NONE


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
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":  # OpenSSL's reason for bytes that are not a TLS record
        return FailureCode.PROTOCOL_MISMATCH
    return FailureCode.TLS_FAILED


def server_name(host: str) -> str:
    """`host` as TLS says it: an IPv6 address without brackets, a name without the dot of the DNS's root (RFC 6066 §3)."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host.removesuffix(".")


def encrypted(
    connection: socket.socket, settings: ssl.SSLContext, host: str, untrusted: str | None = None
) -> ssl.SSLSocket:
    """`connection` after a TLS handshake, which takes it over.

    Args:
        connection: its timeout is that of each wait of the handshake.
        settings: see `tls_context`.
        host: the name that the certificate must be for, where `settings` say so.
        untrusted: what to say where the certificate is not accepted. Default: the standard sentence.

    Raises:
        CheckFailed: the handshake failed; the code is that of `tls_failure`.
    """
    try:
        return settings.wrap_socket(connection, server_hostname=server_name(host))
    except OSError as error:
        code = tls_failure(error)
        raise CheckFailed(code, remedy=untrusted if code is FailureCode.TLS_UNTRUSTED else None) from error
