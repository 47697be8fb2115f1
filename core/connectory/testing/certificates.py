"""A throw-away certificate authority, server certificates it signed, and some that it did not."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

# Debian's store has 220 KB, more than a pipe holds by default.
_AMONG_OTHERS = "An authority among many\n" * 10_000


@dataclass(frozen=True)
class ServerCertificate:
    """A certificate chain and its private key, as PEM files that servers can load."""

    chain_file: Path
    key_file: Path

    def server_context(self, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A TLS context for the server side of a connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain_file, self.key_file)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@dataclass(frozen=True)
class Certificates:
    """What a test run trusts, and what it must not trust.

    Attributes:
        ca_pem, other_ca_pem: two authorities, as PEM.
        ca_file, other_ca_file: the same in files, among so much other text as a machine's own store has certificates.
        server: for localhost, 127.0.0.1 and ::1, signed by `ca_pem`.
        wrong_host: signed by the same authority for `elsewhere.example`, so that only a check of the host refuses it.
        untrusted: has the right names, and is signed by `other_ca_pem`.
    """

    ca_pem: str
    other_ca_pem: str
    ca_file: Path
    other_ca_file: Path
    server: ServerCertificate
    wrong_host: ServerCertificate
    untrusted: ServerCertificate


def make_certificates(folder: Path) -> Certificates:
    """Make two authorities and three server certificates.

    Args:
        folder: where their files go; it must exist.
    """
    import trustme

    authority, other_authority = trustme.CA(), trustme.CA()
    loopback_names = ("localhost", "127.0.0.1", "::1")
    ca_file, other_ca_file = folder / "ca.pem", folder / "other-ca.pem"
    ca_pem, other_ca_pem = authority.cert_pem.bytes().decode(), other_authority.cert_pem.bytes().decode()
    ca_file.write_text(_AMONG_OTHERS + ca_pem)
    other_ca_file.write_text(_AMONG_OTHERS + other_ca_pem)
    return Certificates(
        ca_pem=ca_pem,
        other_ca_pem=other_ca_pem,
        ca_file=ca_file,
        other_ca_file=other_ca_file,
        server=_issue(authority, folder, "server", *loopback_names),
        wrong_host=_issue(authority, folder, "wrong-host", "elsewhere.example"),
        untrusted=_issue(other_authority, folder, "untrusted", *loopback_names),
    )


def _issue(authority: trustme.CA, folder: Path, name: str, *identities: str) -> ServerCertificate:
    issued = authority.issue_cert(*identities)
    certificate = ServerCertificate(chain_file=folder / f"{name}.pem", key_file=folder / f"{name}.key")
    certificate.chain_file.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    certificate.key_file.touch(mode=0o600)
    certificate.key_file.write_bytes(issued.private_key_pem.bytes())
    return certificate
