"""Where a deployment's keys come from: a file, a file whose keys a transit engine wraps, or the environment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from connectory.vault.document import PlainKeys, parse_keyring
from connectory.vault.errors import KeyRingInvalid
from connectory.vault.keyfile import Codec, change_keyring, generate_keyring, load_keyring, plain_keys
from connectory.vault.keyring import KeyRing
from connectory.vault.transit import TransitConfig, transit_keys


class KeyProvider(Protocol):
    """Gives the keys of a deployment, and changes them where that is possible.

    Every method raises KeyRingInvalid, with one sentence that says what to do, where it cannot do what it says.
    """

    @property
    def source(self) -> str:
        """How a message calls the place of the keys, like "key file /run/keys.json"."""

    @property
    def setting(self) -> str:
        """The setting that says where the keys are."""

    @property
    def warning(self) -> str | None:
        """What whoever runs the service should be told about keys from such a place; None if nothing."""

    def load(self) -> KeyRing:
        """The keys as they are now."""

    def create(self) -> KeyRing:
        """Make the first key. What is there already is never replaced."""

    def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the keys by what `change` makes of them, in one step; gives the new ones."""


@dataclass(frozen=True, slots=True)
class FileKeys:
    """Keys in a file: as they are, or as a codec writes them."""

    path: Path
    codec: Codec = plain_keys
    setting: str = "CONNECTORY_KEYS_FILE"
    warning: str | None = None

    @property
    def source(self) -> str:
        """ "key file" and its path."""
        return f"key file {self.path}"

    def load(self) -> KeyRing:
        """Read the file."""
        return load_keyring(self.path, self.codec)

    def create(self) -> KeyRing:
        """Write a new file, with one key."""
        return generate_keyring(self.path, self.codec)

    def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the file."""
        return change_keyring(self.path, change, self.codec)


@dataclass(frozen=True, slots=True)
class TransitWrappedKeys(FileKeys):
    """Keys in a file that is worth nothing without the transit engine of HashiCorp Vault or OpenBao."""

    config: TransitConfig = field(kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", partial(transit_keys, self.config))

    def rewrap(self) -> KeyRing:
        """Wrap every key again, with the newest version of the transit key; also those that were not wrapped."""
        return change_keyring(self.path, lambda ring: ring, partial(transit_keys, self.config, take_plain=True))


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """Keys in an environment variable, for development: whoever may look at the process sees them."""

    document: str | None = field(repr=False)
    setting: str = "CONNECTORY_KEYS_JSON"
    source: str = "CONNECTORY_KEYS_JSON"
    warning: str | None = (
        "The keys come from the environment, which is for development: it stays readable in /proc for the life of the "
        "process. Use a key file elsewhere."
    )

    def load(self) -> KeyRing:
        """Read the variable's value, as it was when the process started."""
        if not self.document:
            raise KeyRingInvalid(
                f"{self.setting} is not set; give it what `connectory keys generate` writes, or use a key file."
            )
        return parse_keyring(self.source, self.document.encode(), PlainKeys())

    def create(self) -> KeyRing:
        """Refused."""
        raise KeyRingInvalid(f"{self.setting} cannot be set here; set it where the process starts.")

    def change(self, change: Callable[[KeyRing], KeyRing]) -> KeyRing:  # noqa: ARG002
        """Refused."""
        raise KeyRingInvalid(
            f"{self.setting} cannot be changed here; change it where the process starts, and restart it."
        )
