"""The sealed envelope opens in its own place with its own key, and says which of the three reasons kept it shut."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.vault import EnvelopeUnreadable, KeyMismatch, KeyMissing, KeyRing, Tampered, Vault

PLACE = {"table": "connections", "row_id": "7b0e", "column": "secrets_sealed"}
MARKER = b"hunter2-marker"
KEY = os.urandom(32)
VAULT = Vault(KeyRing("2026-11", {"2026-11": KEY, "2026-05": os.urandom(32)}))


def body_of(envelope: str) -> bytes:
    text = envelope.split(".")[2]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def with_body(envelope: str, body: bytes) -> str:
    return ".".join([*envelope.split(".")[:2], base64.urlsafe_b64encode(body).rstrip(b"=").decode()])


@given(plaintext=st.binary(max_size=5000), table=st.text(), row_id=st.text(), column=st.text())
def test_what_was_sealed_opens_in_its_place(plaintext, table, row_id, column):
    envelope = VAULT.seal(plaintext, table=table, row_id=row_id, column=column)
    assert VAULT.open(envelope, table=table, row_id=row_id, column=column) == plaintext


@given(
    here=st.tuples(st.text(), st.text(), st.text()),
    there=st.tuples(st.text(), st.text(), st.text()),
)
def test_what_was_sealed_opens_in_no_other_place(here, there):
    envelope = VAULT.seal(MARKER, table=here[0], row_id=here[1], column=here[2])
    if here != there:
        with pytest.raises(Tampered):
            VAULT.open(envelope, table=there[0], row_id=there[1], column=there[2])


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"table": "datasets"},
        {"row_id": "7b0f"},
        {"column": "masked_sealed"},
        {"table": "connections7", "row_id": "b0e"},  # same characters in a row, other boundaries
    ],
)
def test_a_moved_envelope_does_not_open(elsewhere):
    envelope = VAULT.seal(MARKER, **PLACE)
    with pytest.raises(Tampered):
        VAULT.open(envelope, **PLACE | elsewhere)


def test_the_format_is_the_documented_one():
    envelope = VAULT.seal(MARKER, **PLACE)
    version, kid, _ = envelope.split(".")
    assert (version, kid) == ("cs1", "2026-11")
    assert envelope.isascii()
    assert "=" not in envelope
    assert len(body_of(envelope)) == 16 + 32 + 12 + len(MARKER) + 16


def test_an_envelope_opens_with_another_reading_of_the_format():
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    envelope = VAULT.seal(MARKER, **PLACE)
    body = body_of(envelope)
    commitment, salt, nonce, sealed = body[:16], body[16:48], body[48:60], body[60:]
    okm = hkdf_sha256(KEY, salt, b"conn-secrets/v1", 64)
    parts = [b"cs1", b"2026-11", b"connections", b"7b0e", b"secrets_sealed"]
    associated = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert commitment == okm[32:48]
    assert AESGCM(okm[:32]).decrypt(nonce, sealed, associated) == MARKER


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 in five lines."""
    import hmac

    pseudorandom = hmac.digest(salt, key, "sha256")
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


def test_sealing_twice_gives_two_unrelated_envelopes():
    first, second = VAULT.seal(MARKER, **PLACE), VAULT.seal(MARKER, **PLACE)
    assert body_of(first)[:60] != body_of(second)[:60]
    assert body_of(first)[60:] != body_of(second)[60:]


def test_a_key_that_is_no_longer_primary_still_opens():
    older = Vault(KeyRing("2026-11", {"2026-11": KEY})).seal(MARKER, **PLACE)
    newer = Vault(KeyRing("2027-01", {"2026-11": KEY, "2027-01": os.urandom(32)}))
    assert newer.open(older, **PLACE) == MARKER
    assert newer.seal(MARKER, **PLACE).split(".")[1] == "2027-01"


def test_a_missing_key_is_named():
    envelope = VAULT.seal(MARKER, **PLACE)
    other = Vault(KeyRing("2027-01", {"2027-01": os.urandom(32)}))
    with pytest.raises(KeyMissing, match="'2026-11'") as unreadable:
        other.open(envelope, **PLACE)
    assert unreadable.value.kid == "2026-11"


def test_other_bytes_under_the_same_id_are_a_mismatch_and_not_damage():
    envelope = VAULT.seal(MARKER, **PLACE)
    with pytest.raises(KeyMismatch, match="'2026-11'") as unreadable:
        Vault(KeyRing("2026-11", {"2026-11": os.urandom(32)})).open(envelope, **PLACE)
    assert unreadable.value.kid == "2026-11"


def test_no_flipped_bit_goes_unnoticed():
    envelope = VAULT.seal(MARKER, **PLACE)
    body = body_of(envelope)
    for bit in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        # The commitment and the salt decide which key it is; everything after is covered by the tag.
        with pytest.raises(KeyMismatch if bit < 48 * 8 else Tampered):
            VAULT.open(with_body(envelope, bytes(flipped)), **PLACE)


def test_an_envelope_relabelled_with_another_key_id_does_not_open():
    envelope = VAULT.seal(MARKER, **PLACE).replace("2026-11", "2026-05")
    with pytest.raises(KeyMismatch):
        VAULT.open(envelope, **PLACE)
    same_bytes = Vault(KeyRing("copy", {"copy": KEY}))
    with pytest.raises(Tampered):
        same_bytes.open(VAULT.seal(MARKER, **PLACE).replace("2026-11", "copy"), **PLACE)


def test_a_truncated_or_extended_envelope_does_not_open():
    envelope = VAULT.seal(MARKER, **PLACE)
    for length in range(len(envelope)):
        with pytest.raises(EnvelopeUnreadable):
            VAULT.open(envelope[:length], **PLACE)
    for tail in ("A", "=", "\n", " ", ".A", "é"):
        with pytest.raises(Tampered):
            VAULT.open(envelope + tail, **PLACE)


def test_another_spelling_of_the_same_bytes_does_not_open():
    envelope = VAULT.seal(b"x", **PLACE)  # 77 bytes leave 4 spare bits in the last character
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = envelope[:-1] + alphabet[alphabet.index(envelope[-1]) ^ 1]
    assert body_of(respelled) == body_of(envelope)
    with pytest.raises(Tampered):
        VAULT.open(respelled, **PLACE)


@pytest.mark.parametrize(
    "text", ["", "cs1", "cs1..", "cs2.2026-11.AAAA", "cs1.a b.AAAA", "cs1.2026-11.AAAA", "cs1.x.A", "☃"]
)
def test_what_is_no_envelope_is_tampered(text):
    with pytest.raises(Tampered):
        VAULT.open(text, **PLACE)


@given(st.text())
def test_arbitrary_text_is_never_anything_but_unreadable(text):
    with pytest.raises(EnvelopeUnreadable):
        VAULT.open(text, **PLACE)


def test_errors_and_reprs_show_neither_plaintext_nor_key_nor_envelope():
    envelope = VAULT.seal(MARKER, **PLACE)
    body = envelope.split(".")[2]
    assert repr(VAULT) == "Vault()"
    failures = [
        (Vault(KeyRing("2027-01", {"2027-01": os.urandom(32)})), PLACE),
        (Vault(KeyRing("2026-11", {"2026-11": os.urandom(32)})), PLACE),
        (VAULT, PLACE | {"row_id": "other"}),
    ]
    for vault, place in failures:
        with pytest.raises(EnvelopeUnreadable) as failure:
            vault.open(envelope, **place)
        shown = f"{failure.value!r} {failure.value}"
        assert MARKER.decode() not in shown
        assert body not in shown
        assert failure.value.__cause__ is None


def test_rows_that_are_sealed_together_open_apart():
    rows = [(str(number), [("one", b"first"), ("other", b"second")]) for number in range(3)]
    sealed = VAULT.seal_rows(rows, table="t")
    for (row_id, columns), envelopes in zip(rows, sealed, strict=True):
        for (column, plaintext), envelope in zip(columns, envelopes, strict=True):
            assert VAULT.open(envelope, table="t", row_id=row_id, column=column) == plaintext
    bodies = [body_of(envelope) for envelopes in sealed for envelope in envelopes]
    assert len({body[16:48] for body in bodies}) == len(rows)  # a salt for each row
    assert len({body[48:60] for body in bodies}) == len(bodies)  # a nonce for each envelope
    with pytest.raises(Tampered):
        VAULT.open(sealed[0][0], table="t", row_id="1", column="one")
