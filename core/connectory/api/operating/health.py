"""`/health`, `/ready`, `/api/v1/status` and `/metrics`: what load balancers and monitoring ask."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from connectory.api.access.bearer import needs
from connectory.api.access.routes import Router
from connectory.api.http.answers import Answer
from connectory.api.http.errors import PROTECTED, errors
from connectory.api.node.health_counts import HealthCounts
from connectory.api.node.service import Service, service_of
from connectory.catalog.record import PluginStatus
from connectory.checks.confinement import Level, NativeConnections

router = Router(tags=["Operation"])


class Health(Answer):
    """That the process answers."""

    status: Literal["healthy"]


Part = Literal["database", "prober"]
"""What a node needs to do its work: a database that it can write to, and a runner that takes connection tests."""


class Ready(Answer):
    """Whether this node can do its work, and what of it fails."""

    status: Annotated[Literal["ready", "not_ready"], Field(examples=["ready"])]
    failing: Annotated[
        list[Part],
        Field(
            description="`database`: it cannot be written to. `prober`: no connection tests are taken, for example because the "
            "service is ending.",
            examples=[[]],
        ),
    ]


class NodeStatus(Ready):
    """The state of this node, with what only its operator should know."""

    confinement: Annotated[Level, Field(description="What confines connection tests.", examples=["landlock"])]
    native_connections: Annotated[
        NativeConnections,
        Field(
            description="What native code in connection tests connects to by TCP: `limited`, ports of its own connection; "
            "`open`, whatever the machine can.",
            examples=["limited"],
        ),
    ]
    unreadable_rows: Annotated[
        int,
        Field(
            description="Connections whose secrets no key opens that this node has, counted within the last minute or two.",
            ge=0,
            examples=[0],
        ),
    ]
    missing_kids: Annotated[list[str], Field(description="The ids of the keys that they need.", examples=[[]])]


@router.get("/health", operation_id="getHealth", summary="Whether the process answers")
async def health() -> Health:
    """Always 200 while the service runs, whatever the state of its database."""
    return Health(status="healthy")


@router.get(
    "/ready",
    operation_id="getReadiness",
    summary="Whether this node can do its work",
    responses={503: {"model": Ready, "description": "This node cannot do its work now"}},
)
async def ready(request: Request, response: Response) -> Ready:
    """Of this node alone, and at the same cost whatever is stored.

    The last heartbeat tells whether the database can be written to; one follows within seconds of a request that the database
    failed. Secrets that cannot be read are not a reason to be out of service; see `/api/v1/status`.
    """
    failing = _failing(service_of(request))
    response.status_code = 503 if failing else 200
    return Ready(status="not_ready" if failing else "ready", failing=failing)


@router.get(
    "/api/v1/status",
    operation_id="getStatus",
    summary="The state of this node, for its operator",
    dependencies=[needs("connection:read")],
    responses=PROTECTED,
)
async def status(request: Request) -> NodeStatus:
    """What `/ready` says, and what it does not tell strangers."""
    service = service_of(request)
    failing, secrets = _failing(service), service.heartbeat.secrets
    return NodeStatus(
        status="not_ready" if failing else "ready",
        failing=failing,
        confinement=service.runner.confinement,
        native_connections=service.runner.native_connections,
        unreadable_rows=secrets.unreadable_rows if secrets else 0,
        missing_kids=sorted({*secrets.missing_kids, *secrets.mismatched_kids}) if secrets else [],
    )


def _failing(service: Service) -> list[Part]:
    able: dict[Part, bool] = {"database": service.heartbeat.writable, "prober": service.runner.able}
    return [part for part, is_able in able.items() if not is_able]


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Counters in the Prometheus text format",
    dependencies=[needs("connection:read")],
    response_class=PlainTextResponse,
    responses=errors(401, 403, 503),
)
async def metrics(request: Request) -> Response:
    """Requests by method, route and status; connection tests by type and result; tests that run or wait now; what ran by
    schedule, and what is late; calls of webhooks; connections whose secrets cannot be read; connectors by status, and names in
    the allow and deny lists that match none.
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
    yield from _health_over_time(service.health_counts)
    if service.heartbeat.secrets is not None:
        yield GaugeMetricFamily(
            "connectory_unreadable_rows",
            "Connections whose secrets need a key that this node does not have",
            value=service.heartbeat.secrets.unreadable_rows,
        )


def _health_over_time(counts: HealthCounts) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    runs = CounterMetricFamily("connectory_schedule_runs", "What ran by schedule", labels=["kind", "result"])
    for (kind, result), count in list(counts.runs.items()):
        runs.add_metric([kind, result], count)
    yield runs
    due = "What is due by schedule on all nodes and does not run yet"
    yield GaugeMetricFamily("connectory_schedule_due", due, value=counts.due)
    late = "What of it has been due for more than a minute"
    yield GaugeMetricFamily("connectory_schedule_late", late, value=counts.late)
    deliveries = CounterMetricFamily("connectory_webhook_deliveries", "Calls of webhooks", labels=["result"])
    for result, count in list(counts.deliveries.items()):
        deliveries.add_metric([result], count)
    yield deliveries
    pending = "Events that webhooks have still to be told, on all nodes"
    yield GaugeMetricFamily("connectory_webhook_pending", pending, value=counts.pending)
