"""What the API says of one connection type."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from connectory_console.api import ApiFailed, segment
from connectory_console.web import Visit


@dataclass(frozen=True)
class Kind:
    """One connection type, with the schema of its secrets and what the API says of their fields."""

    about: dict[str, Any]
    schema: Any
    described: dict[str, Any]

    @property
    def identifier(self) -> str:
        """As in `connection_type`."""
        return str(self.about["identifier"])

    @property
    def name(self) -> str:
        """For people."""
        return str(self.about["human_readable"])

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to consent before a test can succeed."""
        return bool(self.about["authorization_required"])


async def kind_of(visit: Visit, identifier: str) -> Kind | None:
    """The type called `identifier`, or `None` where the service does not have it."""
    path = f"/connection_type/{segment(identifier)}"
    try:
        listed, schema, described = await asyncio.gather(
            visit.api.get("/connection_type", search=identifier, size=100),
            visit.api.get(f"{path}/secret"),
            visit.api.get(f"{path}/form"),
        )
    except ApiFailed as failed:
        if failed.status == 404:
            return None
        raise
    about = next((found for found in listed["items"] if found["identifier"] == identifier), None)
    return None if about is None else Kind(about, schema, described)


async def names_of_types(visit: Visit) -> dict[str, dict[str, Any]]:
    """What lists show of each type, by identifier."""
    listed = await visit.attempt("/connection_type", size=100)
    return {} if isinstance(listed, ApiFailed) else {found["identifier"]: found for found in listed["items"]}
