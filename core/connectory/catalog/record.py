"""What is known of one connector, whether it works or not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PluginStatus(StrEnum):
    """Whether a connector loaded, and if not, why."""

    LOADED = "loaded"
    BLOCKED = "blocked"
    """The deployer's allow or deny list excludes it; it was not imported."""
    FAILED = "failed"
    """It raised, took too long, or does not implement the hooks as specified."""
    INCOMPATIBLE = "incompatible"
    """Its distribution asks for another version of `connectory`; it was not imported."""
    CONFLICT = "conflict"
    """Something else claims the same identifier; what has no right to it was not loaded."""


@dataclass(frozen=True, order=True)
class PluginRecord:
    """What the catalogue tells of one connector, installed or found by a source: where it is from, and its status.

    Attributes:
        identifier: the entry point's name, or what the source calls the connector.
        distribution: the distribution that declares it, in its normalised name, e.g. `connectory-postgres`.
        version: that distribution's version.
        target: what the entry point names, e.g. `connectory_postgres` or `package.module:object`; of a connector that a
            source has found, what the source makes it from, e.g. a file.
        status: whether it loaded.
        reason: one line that says why it is not `loaded`, with the remedy; empty when it is.
        remark: what a loaded connector does and should not, with the remedy, in one line; empty where there is nothing to say.
        source: the entry point of group `connectory.sources` that found the connector; empty where none did.
    """

    identifier: str
    distribution: str
    version: str
    target: str
    status: PluginStatus = PluginStatus.LOADED
    reason: str = ""
    source: str = ""
    remark: str = ""
