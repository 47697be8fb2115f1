"""Field types for certificates and keys as PEM text (RFC 7468), checked as far as that is quick, whatever was sent.

A certificate is decoded by OpenSSL. Of a private key only the frame is looked at: an encrypted one can be made so that opening
it takes hours, and nothing but the end of the process stops that.
"""

from __future__ import annotations

import binascii
import re
import ssl
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from connectory.contract.fields import Endpoint, Role, Text

# Not `\s`, which means other characters in Python than in ECMA-262.
_SPACE = r"[ \t\r\n]*"
_CERTIFICATE = r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+\/= \t\r\n]+-----END CERTIFICATE-----"
# What may stand before a certificate: RFC 7468 §5.2 lets generators explain what follows, and bundles of authorities do.
_EXPLANATION = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_WITH_SPACE = re.compile(_CERTIFICATE + _SPACE)

_CERTIFICATES = Text(
    "one or more PEM certificates, each of them whole, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----",
    max_length=65536,
    pattern=rf"(?:(?:(?!-----BEGIN ){_EXPLANATION})*{_CERTIFICATE})+{_SPACE}",
    shown=f"{_EXPLANATION}*{_CERTIFICATE}{_SPACE}",
)
_PRIVATE_KEY = Text(
    "a whole PEM private key, from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----",
    max_length=16384,
    pattern=(
        rf"{_SPACE}-----BEGIN (?:RSA |ENCRYPTED )?PRIVATE KEY-----[A-Za-z0-9+\/= \t\r\n]+"
        rf"-----END (?:RSA |ENCRYPTED )?PRIVATE KEY-----{_SPACE}"
    ),
    shown=(
        rf"{_SPACE}-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[A-Za-z0-9+\/= \t\r\n]+"
        rf"-----END (?:[A-Z]+ )?PRIVATE KEY-----{_SPACE}"
    ),
)


def _unfit(expected: Text) -> PydanticCustomError:
    """The refusal that the text's own pattern ends with."""
    return PydanticCustomError("string_pattern_mismatch", f"Must be {expected.expected}.")


def _readable(bundle: str) -> str:
    """The certificates of `bundle`, without what explains them: drivers differ in what they make of other text."""
    certificates = "".join(_WITH_SPACE.findall(bundle))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except ssl.SSLError:
        raise _unfit(_CERTIFICATES) from None
    return certificates


def _whole(key: SecretStr) -> SecretStr:
    """`key`, where its labels agree and what stands between them is one whole DER value."""
    _, begin, body, end, _ = key.get_secret_value().split("-----")
    try:
        content = binascii.a2b_base64("".join(body.split()), strict_mode=True)
    except binascii.Error:
        content = b""
    if begin.removeprefix("BEGIN ") != end.removeprefix("END ") or not _is_sequence(content):
        raise _unfit(_PRIVATE_KEY)
    return key


def _is_sequence(der: bytes) -> bool:
    """Whether `der` is one SEQUENCE and nothing more, by its tag and length (X.690 §8.1)."""
    if len(der) < 2 or der[0] != 0x30:
        return False
    length, start = der[1], 2
    if length > 0x7F:
        start += length & 0x7F
        length = int.from_bytes(der[2:start])
    return len(der) == start + length


PemCertificates = Annotated[str, AfterValidator(_readable), _CERTIFICATES, Endpoint(), Role("tls")]
"""CA certificates as PEM text, never as a path: a path would make the service read its own files for the caller.

Each must be one that OpenSSL reads. Text before a certificate, such as its subject in a bundle, is left out of the value.
"""

PemPrivateKeyForm = Annotated[SecretStr, _PRIVATE_KEY]
"""A private key as PEM text, PKCS#8 (also encrypted) or PKCS#1, of which only the form is checked."""

PemPrivateKey = Annotated[SecretStr, AfterValidator(_whole), _PRIVATE_KEY]
"""The same, which must also be whole: one that was cut off is refused. Reading it is for the test."""
