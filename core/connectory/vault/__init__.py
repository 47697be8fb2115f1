"""Secrets at rest: the key ring (`keyring`), and the sealed envelope (`envelope`).

Depends on `cryptography` and the standard library only, so a command that repairs keys runs without the rest of the product.
"""

from connectory.vault.envelope import Vault
from connectory.vault.errors import EnvelopeUnreadable, KeyMismatch, KeyMissing, KeyRingInvalid, Tampered
from connectory.vault.keyring import KeyRing, add_key, generate_keyring, load_keyring

__all__ = [
    "EnvelopeUnreadable",
    "KeyMismatch",
    "KeyMissing",
    "KeyRing",
    "KeyRingInvalid",
    "Tampered",
    "Vault",
    "add_key",
    "generate_keyring",
    "load_keyring",
]
