"""The application: opens what it needs when it starts, and closes it when it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.routing import Mount

from connectory.api.access import clients, introspection, token_endpoint
from connectory.api.connections import connection_health, connection_types, connections, draft_tests, secrets
from connectory.api.connections.connection_types import RenderedTypes
from connectory.api.consents import consent_answers, consents
from connectory.api.datasets import data_categories, dataset_checks, datasets, discovery
from connectory.api.http.errors import install_error_handlers
from connectory.api.http.hosts import HostCheck, names_of
from connectory.api.http.logs import log
from connectory.api.http.middleware import BodyLimit, Surroundings
from connectory.api.node.check_runner import runner_of
from connectory.api.node.failed_logins import FailedLogins
from connectory.api.node.heartbeat import Heartbeat, node_name
from connectory.api.node.limits import TokenBuckets
from connectory.api.node.recordings import Recordings
from connectory.api.node.service import Service
from connectory.api.node.store_threads import StoreThreads
from connectory.api.node.token_turns import TokenTurns
from connectory.api.openapi import install_openapi
from connectory.api.operating import audit, documentation, egress, health, keys, plugins
from connectory.api.operating.console import PATH, Console
from connectory.api.testing import connection_tests, test_history
from connectory.api.watching import history, schedules, webhooks
from connectory.api.watching.schedule_runner import ScheduleRunner
from connectory.api.watching.webhook_runner import WebhookRunner
from connectory.catalog.catalog import Catalog, build_catalog
from connectory.keys import open_vault
from connectory.known_settings import changed_settings
from connectory.settings import Settings
from connectory.startup import ensure_root_client, open_database
from connectory.store.audit import Actor, append, purge
from connectory.store.engine import Store
from connectory.store.timestamps import utc_now

_DESCRIPTION = (
    "Connect a product to other people's databases and services. To begin, get a token at `/api/v1/oauth/token`, list the "
    "connection types, store a connection with `PATCH /api/v1/connection`, and set its secrets."
)


def open_service(settings: Settings, catalog: Catalog | None = None) -> Service:
    """Open the database and the key ring, and load the plugins.

    Args:
        catalog: default: what is installed and the settings allow.

    Raises:
        CannotStart: with one line that says what to do.
    """
    catalog = build_catalog(settings.selection) if catalog is None else catalog
    store = open_database(settings)
    try:
        vault = open_vault(settings, store, warn=lambda text: log.warning("keys", warning=text))
        ensure_root_client(settings, store)
        with store.write() as database:
            started = {"node": node_name(), **changed_settings(settings, catalog, os.environ)}
            append(database, Actor("serve").did("service_started", details=started))
    except BaseException:
        store.close()
        raise
    threads = StoreThreads(store)
    recordings = Recordings(threads)
    failed_logins = FailedLogins(store)
    chores = [failed_logins.flush]
    if settings.audit_retention:
        chores.append(_purge(store, settings.audit_retention))
    if settings.history_retention:
        chores.append(history.purging(store, days=settings.history_retention))
    return Service(
        settings,
        store,
        vault,
        catalog,
        runner_of(settings),
        threads,
        recordings,
        TokenTurns(store, vault, threads, recordings, deadline=settings.probe_deadline),
        Heartbeat(store, vault, chores),
        test_limit=TokenBuckets(rate=settings.test_rate, burst=settings.test_burst),
        login_limit=TokenBuckets(rate=settings.login_failure_rate, burst=settings.login_failure_burst),
        failed_logins=failed_logins,
    )


def _purge(store: Store, days: int) -> Callable[[], None]:
    return lambda: purge(store, before=utc_now() - timedelta(days=days))


def create_app(service: Service, console: Console | None = None) -> FastAPI:
    """The ASGI application for an open service. It starts the test runner, and closes the service when it ends.

    Args:
        console: what is mounted at `/console`. Default: nothing.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        schedules = ScheduleRunner(service, at_once=service.settings.schedule_concurrency).work
        calls = WebhookRunner(service).work
        try:
            await service.runner.start()
            await run_in_threadpool(service.heartbeat.start)
            if service.settings.schedule_concurrency:
                schedules.start()
            calls.start()
            yield
        finally:
            if console is not None:
                await console.close()
            schedules.take_no_more()
            await service.runner.stop()
            await asyncio.gather(schedules.finish(), calls.finish(), service.discoveries.finish())
            await service.recordings.finish()
            await run_in_threadpool(service.heartbeat.stop)
            await run_in_threadpool(service.failed_logins.end)
            service.threads.close()
            service.store.close()

    app = FastAPI(
        title="Connectory",
        version=version("connectory"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/openapi.json" if service.settings.docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.rendered_types = RenderedTypes(service.catalog)
    # What is asked for most comes first: routes are tried one after the other.
    for router in (
        connection_types.router,
        connection_health.router,  # whose path is one of a connection's too, so before
        connections.router,
        secrets.router,
        connection_tests.router,
        draft_tests.router,
        test_history.router,
        schedules.router,
        history.router,
        webhooks.router,
        consents.router,
        consent_answers.router,
        consent_answers.public,
        datasets.router,
        data_categories.router,
        dataset_checks.router,
        discovery.router,
        plugins.router,
        egress.router,
        audit.router,
        keys.router,
        clients.router,
        token_endpoint.router,
        introspection.router,
        health.router,
    ):
        # Not include_router, which wraps every route once more: 13 to 25 µs on each request, of the 160 µs CPU that
        # `GET /connection_type` takes; with it, `make bench` measures more than two floors.
        app.router.routes.extend(router.routes)
    if service.settings.docs:
        app.router.routes.extend(documentation.ROUTES)
    console_path = app.state.console_path = None if console is None else PATH
    if console is not None:
        app.router.routes.append(Mount(PATH, app=console))
    install_error_handlers(app)
    install_openapi(app, service.catalog)
    app.add_middleware(BodyLimit, limit=service.settings.max_body_bytes, unless_under=console_path)
    if (names := names_of(service.settings)) is not None:
        app.add_middleware(HostCheck, names=names)
    app.add_middleware(Surroundings, counts=service.request_counts)
    return app
