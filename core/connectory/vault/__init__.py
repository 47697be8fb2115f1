"""Secrets at rest: the key ring (`keyring`), where it is kept (`providers`), and the sealed envelope (`envelope`).

Depends on `cryptography` and the standard library only, so a command that repairs keys runs without the rest of the
product; `transit` also needs `hvac`, once it is used.
"""

from connectory.vault.envelope import Vault
from connectory.vault.errors import (
    EnvelopeUnreadable,
    KeyMismatch,
    KeyMissing,
    KeyRingInvalid,
    Tampered,
)
from connectory.vault.keyfile import add_key, generate_keyring, load_keyring
from connectory.vault.keyring import KeyRing
from connectory.vault.providers import EnvironmentKeys, FileKeys, KeyProvider, TransitWrappedKeys
from connectory.vault.transit import TransitConfig

__all__ = [
    "EnvelopeUnreadable",
    "EnvironmentKeys",
    "FileKeys",
    "KeyMismatch",
    "KeyMissing",
    "KeyProvider",
    "KeyRing",
    "KeyRingInvalid",
    "Tampered",
    "TransitConfig",
    "TransitWrappedKeys",
    "Vault",
    "add_key",
    "generate_keyring",
    "load_keyring",
]
