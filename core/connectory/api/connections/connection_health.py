"""How connections are, as this node sees them: what a page of them shows beside each, and the numbers of all."""

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer, json_response
from connectory.api.http.errors import PROTECTED
from connectory.api.node.service import Service, service_of
from connectory.catalog.loaded import LoadedConnector
from connectory.store.connections import StoredConnection
from connectory.store.summary import summarize

router = Router(prefix="/api/v1", tags=["Connections"], responses=PROTECTED)

_Count = Annotated[int, Field(ge=0, examples=[3])]


class ByStatus(Answer):
    """Numbers of connections by the last test of the secrets that are stored now."""

    passed: _Count
    failed: _Count
    untested: _Count


class ConnectionSummary(Answer):
    """Numbers of connections."""

    total: _Count
    disabled: _Count
    by_type: Annotated[dict[str, _Count], Field(examples=[{"postgres": 3}])]
    by_test_status: ByStatus
    by_failure_code: Annotated[dict[str, _Count], Field(examples=[{"auth_failed": 1}])]
    connector_missing: Annotated[_Count, Field(description="Of types that this node has no connector of.")]
    secrets_unreadable: Annotated[_Count, Field(description="With secrets of keys that this node cannot use.")]


@router.get(
    "/connection/summary",
    operation_id="getConnectionSummary",
    summary="How many connections there are, and how they are",
    dependencies=[needs("connection:read")],
    response_model=ConnectionSummary,
)
async def summary(request: Request) -> Response:
    """Each number is that of `GET /connection` with the filter of its name. Only types and codes that occur are listed."""
    service = service_of(request)
    return await service.threads.read(_summary, service)


def _summary(service: Service) -> Response:
    with service.store.look() as database:
        found = summarize(database, types=service.catalog.connectors.keys(), kids=usable_kids(service))
    return json_response(
        {
            "total": found.total,
            "disabled": found.disabled,
            "by_type": dict(sorted(found.by_type.items())),
            "by_test_status": {"passed": found.passed, "failed": found.failed, "untested": found.untested},
            "by_failure_code": dict(sorted(found.by_failure_code.items())),
            "connector_missing": found.of_other_types,
            "secrets_unreadable": found.of_other_keys,
        }
    )


def usable_kids(service: Service) -> frozenset[str]:
    """The ids of the keys that this node has, with the bytes that they are known by."""
    counted = service.heartbeat.secrets
    return frozenset(service.vault.ring.kids()) - frozenset(counted.mismatched_kids if counted else ())


def health_of(service: Service, rows: Sequence[StoredConnection], authorized: Collection[str]) -> list[dict[str, Any]]:
    """`ConnectionHealth` of each connection.

    Args:
        authorized: ids of those that have tokens.
    """
    kids = usable_kids(service)
    return [
        _health(row, service.catalog.get(row.connection_type), kids, has_tokens=row.id in authorized) for row in rows
    ]


def _health(
    row: StoredConnection, connector: LoadedConnector | None, kids: frozenset[str], *, has_tokens: bool
) -> dict[str, Any]:
    state: Literal["absent", "stored", "unreadable"] = "absent"
    if row.secrets_kid is not None:
        state = "stored" if row.secrets_kid in kids else "unreadable"
    return {
        "secrets_state": state,
        "authorized": has_tokens and connector is not None and connector.asks_for_consent,
        "last_failure_code": row.last_failure_code if row.last_test_succeeded is False else None,
        "connector": "missing" if connector is None else "present",
    }
