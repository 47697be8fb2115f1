"""What can go wrong with keys and envelopes. No message carries key bytes, plaintext, or any part of an envelope's body."""


class KeyRingInvalid(Exception):
    """The keys cannot be read or changed. The message is one sentence: where they are, what is wrong, what to do."""


class EnvelopeUnreadable(Exception):
    """Base of the three reasons for which an envelope does not open."""


class KeyMissing(EnvelopeUnreadable):
    """The key ring has no key of this id."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"Key {kid!r} is not in the key ring; add it to the key file, or store the secrets again.")
        self.kid = kid


class KeyMismatch(EnvelopeUnreadable):
    """The key ring has a key of this id, but its bytes are not the ones the envelope was sealed with.

    Damage to the first 48 bytes of an envelope's body looks the same: they are what the key is recognised by.
    """

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"Key {kid!r} in the key ring is not the key this was sealed with; restore its original bytes in the key "
            "file, or store the secrets again."
        )
        self.kid = kid


class Tampered(EnvelopeUnreadable):
    """The envelope is damaged, or belongs to another row, column or table."""

    def __init__(self) -> None:
        super().__init__("The sealed value is damaged or was moved here from another place; store the secrets again.")
