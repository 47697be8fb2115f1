"""Reading the private key of a connection, for drivers that want it read, in the process of its test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectory.contract.check import CheckFailed, FailureCode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


def rsa_private_key(pem: str, passphrase: str | None = None, *, remedy: str) -> RSAPrivateKey:
    """The RSA key in `pem`, a value of `PemPrivateKey`. Spaces for line breaks, as one-line forms leave them, are mended.

    Only for `connectory_test_connection`: an encrypted key can be made so that opening it takes hours, and nothing but the
    end of the process stops that. Needs the distribution `cryptography`, which the plugin must require.

    Args:
        pem: the key, PKCS#8 or PKCS#1.
        passphrase: opens an encrypted key. Default: the key is not encrypted.
        remedy: what to say when it cannot be read.

    Raises:
        CheckFailed: `auth_failed` with `remedy`, at the step `authenticate`.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    _, begin, body, end, _ = pem.strip().split("-----")
    lines = [f"-----{begin}-----", *body.split(), f"-----{end}-----"]
    unreadable = CheckFailed(FailureCode.AUTH_FAILED, step="authenticate", remedy=remedy)
    try:
        key = load_pem_private_key("\n".join(lines).encode(), passphrase.encode() if passphrase is not None else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise unreadable from error
    if not isinstance(key, RSAPrivateKey):
        raise unreadable
    return key
