"""Run the application with uvicorn: one line when it is ready, and an end within seconds when it is told to end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

import uvicorn

from connectory.api.app import create_app, open_service
from connectory.api.http.http_connections import KEPT_ALIVE, bounded_connections, end_late
from connectory.api.http.logs import configure_logs, log
from connectory.api.node.heartbeat import node_name
from connectory.api.node.service import Service
from connectory.api.operating.console import installed_console
from connectory.catalog.catalog import Catalog
from connectory.catalog.record import PluginRecord
from connectory.catalog.survey import Survey
from connectory.checks.linux import give_back_large_blocks
from connectory.console_link import CONSOLE_SETTINGS, console_installed, local_origin, make_link, origin_of
from connectory.keys import reload_keys
from connectory.known_settings import unknown_settings
from connectory.settings import Settings
from connectory.startup import CannotStart, root_client_id
from connectory.store.audit import Actor, append
from connectory.store.clients import find_client
from connectory.store.errors import StoreFailed, StoreUnavailable

GRACE = 3
"""Seconds that requests may take to finish once the service ends; connection tests are ended at once."""


def serve(settings: Settings, survey: Survey) -> None:
    """Serve until SIGTERM or SIGINT. SIGHUP makes it read its keys again.

    Args:
        survey: of the installed plugins, which may still be going on.

    Raises:
        CannotStart, SurveyFailed: with one line that says what to do.
    """
    configure_logs(settings.log_level)
    # By itself this signal ends a process. Until the keys are open there is nothing to read again.
    signal.signal(signal.SIGHUP, lambda *_: None)
    listener = _listen(settings)
    try:
        catalog = survey.catalog()
        service = open_service(settings, catalog)
    except BaseException:
        listener.close()
        raise
    signal.signal(signal.SIGHUP, lambda *_: _start_reload(service))
    _log_what_is_amiss(settings, catalog)
    config = uvicorn.Config(
        create_app(service, installed_console(settings, local_origin(*listener.getsockname()[:2]))),
        log_config=None,
        access_log=False,
        loop="uvloop",
        http=bounded_connections(  # type: ignore[arg-type]  # uvicorn only calls it
            patience=settings.request_timeout, most=settings.max_connections, tests=settings.probe_concurrency
        ),
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEPT_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    # What start-up made stays for good: keep the collector from walking through it again and again.
    gc.freeze()
    gc.enable()
    give_back_large_blocks()
    # Uvicorn sends itself the signal once more when everything is closed; by then it has been obeyed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Server(config, service).run([listener])


def _log_what_is_amiss(settings: Settings, catalog: Catalog) -> None:
    for line in unknown_settings(os.environ, catalog, (CONSOLE_SETTINGS,) if console_installed() else ()):
        log.warning(line)
    for name in settings.selection.unmatched(catalog.records):
        log.warning(str(name))
    for record in catalog.not_loaded:
        _log_plugin("plugin not loaded", record, status=record.status, reason=record.reason)
    for record in catalog.records:
        if record.remark:
            _log_plugin("plugin remark", record, remark=record.remark)


def _log_plugin(event: str, record: PluginRecord, **said: str) -> None:
    log.warning(event, plugin=record.identifier, distribution=record.distribution, version=record.version, **said)


def _listen(settings: Settings) -> socket.socket:
    """Bound before anything is opened, so that a second service on the same port changes nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"Cannot listen on {settings.host} port {settings.port} ({error.strerror or type(error).__name__}); "
            "change CONNECTORY_HOST or CONNECTORY_PORT."
        ) from None
    return listener


def _what_it_uses(settings: Settings) -> str:
    """What somebody who starts the service should see: above all, which store it has found."""
    said = ["documentation: /docs"] if settings.docs else []
    said.append(f"store: {settings.store_shown}")
    if settings.embedded and settings.root_client_path.exists():
        said.append(f"root client: {settings.root_client_path}")
    if settings.egress_policy.decide("127.0.0.1", None).allowed:
        said.append("tests may connect to loopback")
    return "; ".join(said)


def console_link(service: Service, host: str, port: int) -> str | None:
    """A link that signs whoever sits at the terminal in to the console, as the root client. Elsewhere none is made: it would be
    kept, as in a journal.
    """
    client_id = root_client_id(service.settings) if sys.stdout.isatty() and console_installed() else None
    if client_id is None:
        return None
    try:
        with service.store.read() as database:
            root = find_client(database, client_id)
        if root is None:
            return None
        origin = origin_of(service.settings, host, port)
        return make_link(service.store, Actor("serve"), client_id=root.id, scopes=root.scopes, origin=origin).url
    except (StoreUnavailable, StoreFailed) as problem:
        log.warning("no_console_link", reason=str(problem))
        return None


class _Server(uvicorn.Server):
    """Says when it is ready. Told to end by SIGTERM, it drains first, and told again, or by SIGINT, it ends connection tests
    at once.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._drained_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            link = await asyncio.to_thread(console_link, self._service, host, port)
            sign_in = "" if link is None else f". Sign in to the console, once, within ten minutes: {link}"
            uses = _what_it_uses(self._service.settings)
            print(f"Connectory is ready on http://{shown}:{port} ({uses}){sign_in}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._service.settings.drain and self._drained_at is None:
            self._service.runner.take_no_more()  # which `/ready` tells
            self._drained_at = time.monotonic() + self._service.settings.drain
            return
        self._service.runner.kill_all()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:  # ten times a second
        if self._drained_at is not None and time.monotonic() >= self._drained_at and not self.should_exit:
            self.handle_exit(signal.SIGTERM, None)
        if counter % 10 == 0:
            end_late(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)


_one_reload = threading.Lock()


def _start_reload(service: Service) -> None:
    # It waits for a file, a database, and perhaps another service; a thread of this kind does not keep the process.
    threading.Thread(target=_reload, args=[service], name="reload", daemon=True).start()


def _reload(service: Service) -> None:
    """Take the keys as they are now, or keep those that are in use and say why."""
    with _one_reload:
        try:
            reload_keys(
                service.settings, service.store, service.vault, warn=lambda text: log.warning("keys", warning=text)
            )
        except (CannotStart, StoreUnavailable, StoreFailed) as problem:
            _note_reload(service, result_code="failed", reason=str(problem))
            log.error("keys_not_reloaded", reason=str(problem), kept=service.vault.ring.fingerprints())
            return
        _note_reload(service)
        log.info("keys_reloaded", primary=service.vault.ring.primary, keys=service.vault.ring.fingerprints())
        service.heartbeat.beat()


def _note_reload(service: Service, *, result_code: str = "succeeded", **more: str) -> None:
    ring = service.vault.ring
    held = " ".join(f"{kid}={fingerprint}" for kid, fingerprint in ring.fingerprints().items())
    entry = Actor("serve").did(
        "keys_reloaded",
        object=ring.primary,
        result_code=result_code,
        details={"node": node_name(), "keys": held, **more},
    )
    try:
        with service.store.write() as database:
            append(database, entry)
    except (StoreUnavailable, StoreFailed) as problem:
        log.error("audit_entry_lost", action=entry.action, reason=str(problem))
