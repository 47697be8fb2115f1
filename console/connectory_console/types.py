"""What the API says of one connection type."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from connectory_console.api import ApiFailed, segment
from connectory_console.web import Visit


@dataclass(frozen=True)
class Kind:
    """One connection type, with the schema of its secrets and what the API says of their form."""

    identifier: str
    schema: Any
    described: dict[str, Any]

    @property
    def needs_consent(self) -> bool:
        """Whether a person has to consent before a test can succeed."""
        return bool(self.described["authorization_required"])


@dataclass(frozen=True)
class ShownKind(Kind):
    """The same, with what lists show of it."""

    about: dict[str, Any]

    @property
    def name(self) -> str:
        """For people."""
        return str(self.about["human_readable"])


async def kind_of(visit: Visit, identifier: str) -> Kind | None:
    """The type called `identifier`, or `None` where the service does not have it."""
    path = f"/connection_type/{segment(identifier)}"
    try:
        schema, described = await asyncio.gather(visit.api.get(f"{path}/secret"), visit.api.get(f"{path}/form"))
    except ApiFailed as failed:
        if failed.status == 404:
            return None
        raise
    return Kind(identifier, schema, described)


async def shown_kind_of(visit: Visit, identifier: str) -> ShownKind | None:
    """The same, for a page that is about the type."""
    kind, listed = await asyncio.gather(
        kind_of(visit, identifier), visit.api.get("/connection_type", search=identifier, size=100)
    )
    about = next((found for found in listed["items"] if found["identifier"] == identifier), None)
    return None if kind is None or about is None else ShownKind(kind.identifier, kind.schema, kind.described, about)


async def names_of_types(visit: Visit) -> dict[str, dict[str, Any]]:
    """What lists show of each type, by identifier."""
    listed = await visit.attempt("/connection_type", size=100)
    return {} if isinstance(listed, ApiFailed) else {found["identifier"]: found for found in listed["items"]}
