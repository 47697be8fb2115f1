"""One vocabulary for TLS, for every connector that opens a connection of its own."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from connectory.contract.check import CheckContext, CheckFailed, FailureCode
from connectory.contract.fields import Endpoint, PemCertificates
from connectory.contract.urls import QueryKey


class SslMode(StrEnum):
    """How much TLS a connection asks for."""

    DISABLED = "disabled"
    """Never use TLS. A server that then asks for the password in clear is refused."""
    PREFERRED = "preferred"
    """Use TLS where the server offers it, without verifying who answers. The default of most databases' clients."""
    REQUIRED = "required"
    """Use TLS or fail, without verifying who answers."""
    VERIFY_CA = "verify-ca"
    """Use TLS or fail, and accept only a certificate that a known CA signed."""
    VERIFY_FULL = "verify-full"
    """As `verify-ca`, and the certificate must be for the host's name."""

    @property
    def verifies(self) -> bool:
        """Whether the server's certificate is checked."""
        return self in {SslMode.VERIFY_CA, SslMode.VERIFY_FULL}

    @property
    def needs_tls(self) -> bool:
        """Whether a connection without TLS is a failure."""
        return self not in {SslMode.DISABLED, SslMode.PREFERRED}


_LARGEST_PIPE = 2**20  # what a user may ask for on Linux, /proc/sys/fs/pipe-max-size

# libpq's spellings. `allow` (plaintext first) is read as `preferred`, which protects at least as well.
_ALIASES = {
    "disable": SslMode.DISABLED,
    "allow": SslMode.PREFERRED,
    "prefer": SslMode.PREFERRED,
    "require": SslMode.REQUIRED,
}
SSL_MODE_SPELLINGS = (*(mode.value for mode in SslMode), *_ALIASES)
"""Every spelling of a mode that is accepted."""


def _canonical(value: Any) -> Any:
    known = _ALIASES.get(value, value) if isinstance(value, str) else None
    if known not in set(SslMode):
        raise PydanticCustomError("enum", f"Must be one of: {', '.join(SSL_MODE_SPELLINGS)}.")
    return SslMode(known)


SslModeField = Annotated[
    SslMode,
    BeforeValidator(_canonical),
    WithJsonSchema({"type": "string", "enum": list(SSL_MODE_SPELLINGS)}),
    Endpoint(),
    Field(title="SSL Mode", description="How much TLS to ask for, and what to verify."),
]
"""The field type for `ssl_mode`: a mode of `SslMode`, or libpq's spelling of one."""

SslCaField = Annotated[
    PemCertificates | None,
    Field(title="CA certificate", description="PEM certificates to trust instead of the system's."),
]
"""The field type for `ssl_ca`; its default is `None`."""


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


SSL_MODE_QUERY_KEY = QueryKey("ssl_mode", {spelling: _canonical(spelling) for spelling in SSL_MODE_SPELLINGS})
"""For a `UrlGrammar`: a query key that gives the field `ssl_mode`."""


def system_certificates() -> str:
    """The certificates that this machine trusts, as PEM: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or OpenSSL's own.

    For drivers that verify by a file and know no system store. May be empty; nothing is trusted then.
    """
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else sorted(Path(paths.capath or "/nonexistent").glob("*.0"))
    texts = dict.fromkeys(file.read_text("ascii", "ignore") for file in files if file.is_file())
    return "\n".join(texts)


@contextmanager
def path_of(content: str) -> Iterator[str]:
    """A path from which a driver can read `content` once, for drivers that take certificates only as files.

    No file is written: the path is one end of a pipe, which holds up to 1 MiB (`pipe-max-size`, proc(5)). Of longer content a
    thread writes the rest, so a driver must then release the interpreter while it reads.
    """
    reader, writer = os.pipe()
    rest = _fill(writer, content.encode())
    thread = threading.Thread(target=_feed, args=(writer, rest), daemon=True)
    if rest:
        thread.start()
    else:
        os.close(writer)
    try:
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
        if rest:
            thread.join()


def _fill(pipe: int, content: bytes) -> bytes:
    """Write as much as the pipe holds, and return the rest.

    Before anybody reads, because libpq reads a certificate without releasing the interpreter: it would wait for ever for a
    thread that has not written yet.
    """
    # Asked for twice the length: a pipe counts pages, and not all of them need be full. Where it may not grow, it stays.
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, min(2 * len(content), _LARGEST_PIPE))
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while content:
            content = content[os.write(pipe, content) :]
    os.set_blocking(pipe, True)
    return content


def _feed(pipe: int, content: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as file:
        file.write(content)


def tls_failure(error: OSError) -> FailureCode:
    """The code for a failed handshake, by the type of `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return FailureCode.TLS_UNTRUSTED
    if isinstance(error, TimeoutError):
        return FailureCode.TIMEOUT
    if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":  # OpenSSL's reason for bytes that are no TLS record
        return FailureCode.PROTOCOL_MISMATCH
    return FailureCode.TLS_FAILED


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
