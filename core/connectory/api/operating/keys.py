"""`/keys`: which keys there are, which nodes hold them, and how much is sealed with each. Never a key itself."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.errors import PROTECTED
from connectory.api.node.service import Service, service_of
from connectory.store.key_records import KeyRecord, count_by_kid, recorded_keys
from connectory.store.nodes import Node, running_nodes
from connectory.vault import KeyRing

router = Router(prefix="/api/v1", tags=["Keys"], responses=PROTECTED)

_KID = "2026-11"


class Key(Answer):
    """A key that this node or another one holds, or that stored secrets need."""

    kid: Annotated[str, Field(description="Its id.", examples=[_KID])]
    fingerprint: Annotated[
        str | None,
        Field(
            description="A public mark of its bytes; `null` where nobody has told it yet.",
            examples=["6b1f0a52d6e84b3f"],
        ),
    ]
    primary: Annotated[bool, Field(description="Whether this node seals with it.", examples=[True])]
    held: Annotated[bool, Field(description="Whether this node has it.", examples=[True])]
    rows: Annotated[int, Field(ge=0, description="Connections that it has sealed something of.", examples=[12])]
    first_used_at: Annotated[
        datetime | None, Field(description="When a node had it first.", examples=["2026-11-23T12:30:15.123456+00:00"])
    ]


class KeyNode(Answer):
    """A node that was heard of in the last two minutes."""

    name: Annotated[str, Field(examples=["connect-1 (process 7)"])]
    primary: Annotated[str, Field(description="Id of the key that it seals with.", examples=[_KID])]
    keys: Annotated[list[str], Field(description="Ids of the keys that it holds.", examples=[[_KID]])]
    seen_at: Annotated[datetime, Field(examples=["2026-11-23T12:30:15.123456+00:00"])]


class KeyOverview(Answer):
    """The keys, as this node and the database know them."""

    primary: Annotated[str, Field(description="Id of the key that this node seals with.", examples=[_KID])]
    keys: list[Key]
    nodes: list[KeyNode]


@router.get(
    "/keys",
    operation_id="listKeys",
    summary="List the keys, and the nodes that hold them",
    dependencies=[needs("key:read")],
    response_model=KeyOverview,
)
async def list_all(request: Request) -> Response:
    """Ids and fingerprints, both in order of the id, and never a key. Keys are changed by `connectory keys` alone."""
    service = service_of(request)
    return await service.threads.read(_list, service)


def _list(service: Service) -> Response:
    ring = service.vault.ring
    with service.store.read() as database:
        rows, recorded, nodes = count_by_kid(database), recorded_keys(database), running_nodes(database)
    kids = {*ring.kids(), *rows, *(kid for node in nodes for kid in node.fingerprints)}
    shown = {
        "primary": ring.primary,
        "keys": [_key(ring, kid, rows.get(kid, 0), recorded.get(kid)) for kid in sorted(kids)],
        "nodes": [_node(node) for node in nodes],
    }
    return json_response(shown)


def _key(ring: KeyRing, kid: str, rows: int, recorded: KeyRecord | None) -> dict[str, Any]:
    held = kid in ring.kids()
    return {
        "kid": kid,
        "fingerprint": ring.fingerprint(kid) if held else recorded and recorded.fingerprint,
        "primary": kid == ring.primary,
        "held": held,
        "rows": rows,
        "first_used_at": recorded and recorded.first_used_at,
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "primary": node.primary,
        "keys": sorted(node.fingerprints),
        "seen_at": node.seen_at,
    }
