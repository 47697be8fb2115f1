"""A vault that is in use takes another ring."""

import os
import threading

from connectory.store.envelopes import open_masked, open_secrets, seal
from connectory.vault import KeyRing, Vault

KEYS = {"one": os.urandom(32), "two": os.urandom(32)}


def test_what_is_sealed_while_the_ring_changes_has_the_key_that_it_names():
    """Both envelopes of a connection, and the key id beside them."""
    rings = [KeyRing(primary, KEYS) for primary in KEYS]
    vault, over = Vault(rings[0]), threading.Event()

    def exchange() -> None:
        while not over.is_set():
            for ring in rings:
                vault.ring = ring

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(500):
            sealed = seal(vault, "row", secrets=b"S", masked=b"M")
            only = Vault(KeyRing(sealed.kid, {sealed.kid: KEYS[sealed.kid]}))
            assert open_secrets(only, "row", sealed.secrets) == b"S"
            assert open_masked(only, "row", sealed.masked) == b"M"
    finally:
        over.set()
        thread.join()
