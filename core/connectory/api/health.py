"""`/health`, `/ready` and `/metrics`: what load balancers and monitoring ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from connectory.api.answers import Answer
from connectory.api.bearer import needs
from connectory.api.errors import Problem, errors
from connectory.api.service import Service, service_of
from connectory.catalog.record import PluginStatus
from connectory.checks.confinement import Level
from connectory.store.rotation import status

router = APIRouter(tags=["Operation"])


class Health(Answer):
    """That the process answers."""

    status: Literal["healthy"]


class Ready(Answer):
    """Whether every stored secret can be opened, which keys that takes are missing, and what confines connection tests."""

    ready: Annotated[bool, Field(examples=[True])]
    unreadable_rows: Annotated[int, Field(ge=0, examples=[0])]
    missing_kids: Annotated[list[str], Field(examples=[[]])]
    confinement: Annotated[Level, Field(examples=["landlock"])]


@router.get("/health", operation_id="getHealth", summary="Whether the process answers")
async def health() -> Health:
    """Always 200 while the service runs, whatever the state of its database."""
    return Health(status="healthy")


@router.get(
    "/ready",
    operation_id="getReadiness",
    summary="Whether every stored secret can be used",
    responses={
        503: {
            "model": Ready | Problem,
            "description": "The database does not answer, keys are missing that stored secrets need, or the service is ending",
        }
    },
)
async def ready(request: Request, response: Response) -> Ready:
    """503 names the keys that are missing; connections whose secrets need no missing key still work."""
    service = service_of(request)
    found = await service.threads.read(status, service.store, service.vault)
    missing = sorted({*found.missing_kids, *found.mismatched_kids})
    usable = not missing and not service.runner.ending
    response.status_code = 200 if usable else 503
    return Ready(
        ready=usable,
        unreadable_rows=found.unreadable_rows,
        missing_kids=missing,
        confinement=service.runner.confinement,
    )


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Counters in the Prometheus text format",
    dependencies=[needs("connection:read")],
    response_class=PlainTextResponse,
    responses=errors(401, 403, 503),
)
async def metrics(request: Request) -> Response:
    """Requests by method, route and status; connection tests by type and result; tests that run or wait now; connectors by
    status, and names in the allow and deny lists that match none.
    """
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
    plugins = GaugeMetricFamily("connectory_plugins", "Installed connectors by status", labels=["status"])
    statuses = Counter(record.status for record in service.catalog.records)
    for plugin_status in PluginStatus:
        plugins.add_metric([plugin_status], statuses[plugin_status])
    yield plugins
    yield GaugeMetricFamily(
        "connectory_plugin_names_unmatched",
        "Names in the allow and deny lists that are not installed connectors",
        value=len(service.settings.selection.unmatched(service.catalog.records)),
    )
    yield GaugeMetricFamily(
        "connectory_tests_in_flight", "Connection tests that run or wait", value=service.runner.in_flight
    )
