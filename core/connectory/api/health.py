"""`/health`, `/ready` and `/metrics`: what load balancers and monitoring ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from connectory.api.bearer import ScopedRoute, needs
from connectory.api.jsonbody import json_response
from connectory.api.openapi import answers, reference
from connectory.api.service import Service, service_of
from connectory.store.rotation import status

public = APIRouter(tags=["Operation"])
router = APIRouter(tags=["Operation"], route_class=ScopedRoute)

_PUBLIC: dict[str, Any] = {"security": []}


@public.get(
    "/health",
    operation_id="getHealth",
    summary="Whether the process answers",
    responses=answers(ok=(200, "Health", {"status": "healthy"})),
    openapi_extra=_PUBLIC,
)
async def health() -> Response:
    """Always 200 while the service runs, whatever the state of its database."""
    return Response(b'{"status":"healthy"}', media_type="application/json")


@public.get(
    "/ready",
    operation_id="getReadiness",
    summary="Whether every stored secret can be used",
    responses=answers(ok=(200, "Ready", {"ready": True, "unreadable_rows": 0, "missing_kids": []}))
    | {
        503: {
            "description": "The database does not answer, or keys are missing that stored secrets need",
            "content": {
                "application/json": {"schema": {"anyOf": [reference("Ready"), reference("Problem")]}},
            },
        }
    },
    openapi_extra=_PUBLIC,
)
def ready(request: Request) -> Response:
    """503 names the keys that are missing; connections whose secrets need no missing key still work."""
    service = service_of(request)
    found = status(service.store, service.vault)
    missing = sorted({*found.missing_kids, *found.mismatched_kids})
    answer = {"ready": not missing, "unreadable_rows": found.unreadable_rows, "missing_kids": missing}
    return json_response(answer, 503 if missing else 200)


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Counters in the Prometheus text format",
    responses=answers(401, 403, 503, ok=(200, None, None))
    | {200: {"description": "Done", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
    openapi_extra=needs("connection:read"),
)
def metrics(request: Request) -> Response:
    """Requests by method, route and status; connection tests by type and result; tests that run or wait now."""
    # Imported when first asked for: it costs start-up time and most deployments of one machine never ask.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    service = service_of(request)

    class Snapshot(Collector):
        def collect(self) -> Iterator[Any]:
            return _families(service)

    registry = CollectorRegistry()
    registry.register(Snapshot())
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _families(service: Service) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    requests = CounterMetricFamily("connectory_requests", "Finished requests", labels=["method", "route", "status"])
    for (method, route, code), count in list(service.request_counts.items()):
        requests.add_metric([method, route, str(code)], count)
    yield requests
    tests = CounterMetricFamily("connectory_tests", "Finished connection tests", labels=["connection_type", "result"])
    for (connection_type, result), count in list(service.test_counts.items()):
        tests.add_metric([connection_type, result], count)
    yield tests
    yield GaugeMetricFamily(
        "connectory_tests_in_flight", "Connection tests that run or wait", value=service.runner.in_flight
    )
