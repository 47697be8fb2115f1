"""The JSON document that a key ring is kept as.

    {
      "primary": "2026-11",
      "keys": {"2026-11": "base64:<44 characters>", "2026-05": "base64:<44 characters>"},
      "created": {"2026-11": "2026-11-27T09:30:00+00:00"}
    }

`created` may be left out, as a whole or for some of the keys. What stands for each key depends on its `KeyCodec`.
"""

import base64
import binascii
import json
import re
from datetime import datetime
from itertools import pairwise
from typing import Any, Protocol

from connectory.vault.errors import KeyRingInvalid
from connectory.vault.keyring import KEY_BYTES, KeyRing

PLAIN = "base64:"
"""What an unprotected key starts with."""

_KID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MEMBERS = {"primary", "keys"}


class KeyCodec(Protocol):
    """How one key is written in a document."""

    @property
    def confidential(self) -> bool:
        """Whether who can read what is written has the keys."""

    def encode(self, kid: str, key: bytes) -> str:
        """The text that stands for a key.

        Raises:
            KeyRingInvalid: it cannot be made now.
        """

    def decode(self, where: str, kid: str, text: object) -> bytes:
        """The key that a text stands for.

        Args:
            where: how a message calls the place of this key.

        Raises:
            KeyRingInvalid: the text does not stand for a key, or that cannot be found out now.
        """


class PlainKeys:
    """Keys as they are, in base64."""

    confidential = True

    def encode(self, kid: str, key: bytes) -> str:  # noqa: ARG002
        """ "base64:" and 44 characters."""
        return PLAIN + base64.b64encode(key).decode()

    def decode(self, where: str, kid: str, text: object) -> bytes:  # noqa: ARG002
        """The 32 bytes."""
        if not isinstance(text, str) or not text.startswith(PLAIN):
            raise KeyRingInvalid(
                f'{where} does not start with "{PLAIN}"; passphrases are not accepted, give 32 random bytes in base64.'
            )
        return key_of_base64(where, text.removeprefix(PLAIN))


def key_of_base64(where: str, text: str) -> bytes:
    """The key that base64 text holds.

    Args:
        where: how a message calls the place of this key.

    Raises:
        KeyRingInvalid: it is not base64 of 32 bytes, or these are not random.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyRingInvalid(f"{where} is not valid base64; copy it again in full, padding included.") from None
    if len(key) != KEY_BYTES:
        raise KeyRingInvalid(f"{where} is {len(key)} bytes long; give exactly {KEY_BYTES} random bytes in base64.")
    if len({(after - before) % 256 for before, after in pairwise(key)}) == 1:
        raise KeyRingInvalid(f"{where} repeats or counts up one byte; give {KEY_BYTES} random bytes in base64.")
    # 32 random bytes are all printable ASCII once in 10^13 keys; a passphrase in base64 always is.
    if all(0x20 <= byte < 0x7F for byte in key):
        raise KeyRingInvalid(f"{where} is text, not random bytes; passphrases are not accepted, generate a key.")
    return key


def parse_keyring(source: str, content: bytes, codec: KeyCodec) -> KeyRing:
    """The ring that a document holds.

    Args:
        source: how a message calls the document, like "key file /run/keys.json".

    Raises:
        KeyRingInvalid: it is anything but a primary and well-formed random keys.
    """
    document = _parse(source, content)
    if not isinstance(document, dict) or set(document) - {"created"} != _MEMBERS:
        raise KeyRingInvalid(
            f'{_sentence(source)} must be a JSON object with the members "primary" and "keys", and perhaps "created", '
            "no others."
        )
    primary, encoded = document["primary"], document["keys"]
    if not isinstance(encoded, dict) or not encoded:
        raise KeyRingInvalid(f'In {source}, "keys" must be an object that maps at least one key id to a key.')
    for position, kid in enumerate(encoded, start=1):
        # The id is not quoted: a key pasted in its place would end up in a log.
        if not _KID.fullmatch(kid):
            raise KeyRingInvalid(
                f"In {source}, the id of key number {position} is not 1 to 32 letters, digits, '_' or '-'; rename it."
            )
    if not isinstance(primary, str) or primary not in encoded:
        raise KeyRingInvalid(f'In {source}, "primary" names none of the keys; set it to one of: {", ".join(encoded)}.')
    keys = {kid: codec.decode(f"In {source}, key {kid!r}", kid, text) for kid, text in encoded.items()}
    return KeyRing(primary, keys, _created(source, document.get("created", {}), keys))


def format_keyring(ring: KeyRing, codec: KeyCodec) -> str:
    """The document that holds a ring. ASCII, with a line end.

    Raises:
        KeyRingInvalid: a key cannot be encoded now.
    """
    document = {
        "primary": ring.primary,
        "keys": {kid: codec.encode(kid, ring.key(kid)) for kid in ring.kids()},
        "created": {kid: ring.created[kid].isoformat() for kid in ring.kids() if kid in ring.created},
    }
    return json.dumps(document, indent=2) + "\n"


def _parse(source: str, content: bytes) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):  # raised from None: a JSONDecodeError carries the document, keys included
        raise KeyRingInvalid(
            f"{_sentence(source)} is not JSON, or names a member twice; restore it from a backup, or correct it by hand."
        ) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _created(source: str, times: object, keys: dict[str, bytes]) -> dict[str, datetime]:
    try:
        if not isinstance(times, dict) or not times.keys() <= keys.keys():
            raise ValueError
        created = {kid: datetime.fromisoformat(text) for kid, text in times.items()}
        if any(time.tzinfo is None for time in created.values()):
            raise ValueError
    except (ValueError, TypeError):
        raise KeyRingInvalid(
            f'In {source}, "created" must map ids of its keys to times like "2026-11-27T09:30:00+00:00"; correct it, or '
            "leave it out."
        ) from None
    return created


def _sentence(source: str) -> str:
    return source[0].upper() + source[1:]
