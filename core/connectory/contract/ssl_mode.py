"""One vocabulary for TLS, for every connector that opens a connection of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from connectory.contract.fields import Endpoint, Role
from connectory.contract.pem import PemCertificates


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


# libpq's spellings. `allow` (plaintext first) is read as `preferred`, which protects at least as well.
_ALIASES = {
    "disable": SslMode.DISABLED,
    "allow": SslMode.PREFERRED,
    "prefer": SslMode.PREFERRED,
    "require": SslMode.REQUIRED,
}
SSL_MODE_SPELLINGS = (*(mode.value for mode in SslMode), *_ALIASES)
"""Every spelling of a mode that is accepted."""


def canonical(value: Any) -> Any:
    known = _ALIASES.get(value, value) if isinstance(value, str) else None
    if known not in set(SslMode):
        raise _unknown(SSL_MODE_SPELLINGS)
    return SslMode(known)


def _unknown(spellings: Iterable[str]) -> PydanticCustomError:
    return PydanticCustomError("enum", f"Must be one of: {', '.join(spellings)}.")


@dataclass(frozen=True, init=False)
class SslModes:
    """Narrows `SslModeField` to the modes that a protocol has: `Annotated[SslModeField, SslModes("disabled", "verify-full")]`.

    For instance, where TLS starts with the first byte there is nothing that `preferred` could mean. Libpq's spellings of these
    modes stay.

    Args:
        modes: values of `SslMode`, at least one.

    Raises:
        ValueError: one of them is not a mode, or there is none.
    """

    modes: tuple[SslMode, ...]

    def __init__(
        self, *modes: SslMode | Literal["disabled", "preferred", "required", "verify-ca", "verify-full"]
    ) -> None:
        if not modes:
            raise ValueError("Name at least one mode.")
        object.__setattr__(self, "modes", tuple(map(SslMode, modes)))

    @property
    def spellings(self) -> list[str]:
        """Every spelling that is accepted."""
        return [*self.modes, *(alias for alias, mode in _ALIASES.items() if mode in self.modes)]

    def _check(self, mode: SslMode) -> SslMode:
        if mode not in self.modes:
            raise _unknown(self.spellings)
        return mode

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"enum": self.spellings}


SslModeField = Annotated[
    SslMode,
    BeforeValidator(canonical),
    WithJsonSchema({"type": "string", "enum": list(SSL_MODE_SPELLINGS)}),
    Endpoint(),
    Role("tls"),
    Field(title="SSL Mode", description="How much TLS to ask for, and what to verify."),
]
"""The field type for `ssl_mode`: a mode of `SslMode`, or libpq's spelling of one."""

SslCaField = Annotated[
    PemCertificates | None,
    Field(title="CA certificate", description="PEM certificates to trust instead of the system's."),
]
"""The field type for `ssl_ca`; its default is `None`."""
