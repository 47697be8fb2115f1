"""Run what is due by schedule, on whichever node claims it: by the machinery that requests use, under its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from connectory.api.datasets.check_runs import run_check
from connectory.api.datasets.discovery import connector_of
from connectory.api.datasets.discovery_runs import Subject
from connectory.api.datasets.discovery_shapes import DiscoveryRequest
from connectory.api.http.errors import Refused
from connectory.api.http.logs import log
from connectory.api.node.due_work import DueWork
from connectory.api.node.service import Service
from connectory.api.stored.verdicts import SCHEDULE
from connectory.api.testing.test_runs import run_scheduled_test
from connectory.store.connections import StoredConnection, get_by_id
from connectory.store.datasets import get, keys_of
from connectory.store.envelopes import has_tokens, load_envelopes
from connectory.store.schedules import DueItem, Kind, claim, count_due, finish, keep, release
from connectory.store.timestamps import database_now, utc_now

_LATE = timedelta(minutes=1)
_AGAIN = timedelta(seconds=30)
"""After which something is tried again that there was no room for."""
_MARGIN = 30.0
"""Seconds that a claim lasts longer than what was claimed may take: to record it, and for busy machines."""
_SESSIONS = 2
"""Sessions of checks at once, of the four of a node: those that people wait for find a place."""
_QUEUED = 10.0
"""Seconds that a session may wait for its turn."""


class _NoRoom(Exception):
    """There was no room for it now."""


class _Lost(Exception):
    """Another node may have claimed it meanwhile, or it was taken back."""


@dataclass(frozen=True)
class _Secrets:
    """A connection, and what it is tested with."""

    connection: StoredConnection
    envelope: str | None
    has_tokens: bool


class ScheduleRunner:
    """Runs what is due, for one event loop.

    Args:
        at_once: tests and checks at the same time.
        clock: the time that all nodes share. Default: that of the database.
    """

    def __init__(
        self, service: Service, *, at_once: int, clock: Callable[[Connection], datetime] = database_now
    ) -> None:
        self._service, self._clock = service, clock
        settings = service.settings
        longest = max(settings.probe_queue_wait + settings.probe_deadline, _QUEUED + settings.discovery_deadline)
        self._lasts = timedelta(seconds=longest + _MARGIN)
        self._sessions = asyncio.Semaphore(_SESSIONS)
        self.work = DueWork("schedules", at_once, self._count, self._claim, self._run)

    async def _count(self) -> int:
        counts = self._service.health_counts
        counts.due, counts.late = await self._service.threads.read(self._backlog)
        return counts.due

    def _backlog(self) -> tuple[int, int]:
        with self._service.store.read() as database:
            now = self._clock(database)
            found = count_due(database, now=now, late_before=now - _LATE)
        return found.due, found.late

    async def _claim(self, most: int) -> Sequence[DueItem]:
        if not self._service.runner.able:  # the service is ending, or cannot run anything now
            return ()
        return await self._service.threads.write(self._claimed, most)

    def _claimed(self, most: int) -> list[DueItem]:
        with self._service.store.write() as database:
            return claim(database, most, now=self._clock(database), lasts=self._lasts)

    async def _run(self, item: DueItem) -> None:
        threads, counts = self._service.threads, self._service.health_counts
        try:
            found = await threads.read(self._load, item.connection_id)
            if found is not None:
                await (self._test(found) if item.kind == "test" else self._check(item, found))
        except (_NoRoom, Refused):
            counts.runs[item.kind, "postponed"] += 1
            await threads.write(self._release, item)
        except _Lost:
            log.warning("schedule_claim_lost", connection_id=item.connection_id, kind=item.kind)
        except BaseException:
            counts.runs[item.kind, "failed_to_run"] += 1
            raise
        else:
            await threads.write(self._finish, item)

    def _load(self, connection_id: str) -> _Secrets | None:
        with self._service.store.read() as database:
            connection = get_by_id(database, connection_id)
            if connection is None or connection.disabled:
                return None
            envelope = load_envelopes(database, connection_id)[0] if connection.has_secrets else None
            return _Secrets(connection, envelope, has_tokens(database, connection_id))

    async def _test(self, found: _Secrets) -> None:
        report = await run_scheduled_test(self._service, found.connection, found.envelope, has_tokens=found.has_tokens)
        self._note(found.connection, "test", report.status if report.conclusive else "inconclusive")

    async def _check(self, item: DueItem, found: _Secrets) -> None:
        connection = found.connection
        for key in await self._service.threads.read(self._dataset_keys, connection.id):
            async with self._sessions:
                await self._service.threads.write(self._keep, item)
                await self._check_one(found, key)

    async def _check_one(self, found: _Secrets, fides_key: str) -> None:
        service, connection = self._service, found.connection
        dataset = await service.threads.read(self._dataset, connection.id, fides_key)
        if dataset is None:
            return
        try:
            connector = connector_of(service, connection)
        except Refused:  # this node lacks it, or the type can be discovered no more
            self._note(connection, "check", "inconclusive", dataset=fides_key)
            return
        subject = Subject("", utc_now(), connection, connector, found.envelope, DiscoveryRequest(), SCHEDULE)
        if service.discoveries.full:
            raise _NoRoom
        done = await service.discoveries.start(run_check(service, subject, fides_key, dataset))
        if done.of_service == "busy":
            raise _NoRoom
        result = done.outcome if done.of_service is None else "inconclusive"
        self._note(connection, "check", result, dataset=fides_key)

    def _note(self, connection: StoredConnection, kind: Kind, result: str, **more: str) -> None:
        self._service.health_counts.runs[kind, result] += 1
        log.info("schedule_ran", connection_key=connection.key, kind=kind, result=result, **more)

    def _dataset_keys(self, connection_id: str) -> list[str]:
        with self._service.store.read() as database:
            return keys_of(database, connection_id)

    def _dataset(self, connection_id: str, fides_key: str) -> str | None:
        with self._service.store.read() as database:
            found = get(database, connection_id, fides_key)
        return None if found is None else found.dataset

    def _keep(self, item: DueItem) -> None:
        with self._service.store.write() as database:
            if not keep(database, item, now=self._clock(database), lasts=self._lasts):
                raise _Lost

    def _finish(self, item: DueItem) -> None:
        with self._service.store.write() as database:
            finish(database, item, now=self._clock(database))

    def _release(self, item: DueItem) -> None:
        # Where the service is ending, another node may go on at once.
        pause = _AGAIN if self._service.runner.able else timedelta(0)
        with self._service.store.write() as database:
            release(database, item, until=self._clock(database) + pause)
