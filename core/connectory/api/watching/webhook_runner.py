"""Tell webhooks what they have still to be told, on whichever node claims it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson
from sqlalchemy.engine import Connection

from connectory.api.http.logs import log
from connectory.api.node.due_work import DueWork
from connectory.api.node.service import Service
from connectory.api.watching.webhook_calls import DEADLINE, Answer, call
from connectory.contract.check import FailureCode
from connectory.store.timestamps import database_now, utc_now
from connectory.store.webhooks import DueEvent, claim_events, count_events, open_secret, settle
from connectory.vault import EnvelopeUnreadable

AT_ONCE = 8
"""Calls of a node at the same time. Each takes up to ten seconds, of nothing but waiting."""
AGAIN = (
    timedelta(seconds=30),
    timedelta(minutes=4),
    timedelta(minutes=15),
    timedelta(minutes=40),
)
"""How long after each call that failed the next one follows; after the last, the event is given up: five calls in an hour."""
_LASTS = timedelta(seconds=DEADLINE + 30)
"""How long nobody else makes a call that was claimed: with time to record it."""


class WebhookRunner:
    """Calls webhooks, for one event loop.

    Args:
        clock: the time that all nodes share. Default: that of the database.
    """

    def __init__(self, service: Service, *, clock: Callable[[Connection], datetime] = database_now) -> None:
        self._service, self._clock = service, clock
        self.work = DueWork("webhooks", AT_ONCE, self._count, self._claim, self._deliver)

    async def _count(self) -> int:
        self._service.health_counts.pending, due = await self._service.threads.read(self._backlog)
        return due

    def _backlog(self) -> tuple[int, int]:
        with self._service.store.read() as database:
            return count_events(database, now=self._clock(database))

    async def _claim(self, most: int) -> Sequence[DueEvent]:
        return await self._service.threads.write(self._claimed, most)

    def _claimed(self, most: int) -> list[DueEvent]:
        with self._service.store.write() as database:
            return claim_events(database, most, now=self._clock(database), lasts=_LASTS)

    async def _deliver(self, event: DueEvent) -> None:
        now = utc_now()
        try:
            secret = open_secret(self._service.vault, event.connection_id, event.secret)
        except EnvelopeUnreadable:  # another node may have the key
            answer = Answer(failure_code=FailureCode.SECRETS_UNREADABLE)
        else:
            answer = await call(self._service, event.url, secret, event.body, at=int(now.timestamp()))
        await self._service.threads.write(self._settle, event, answer, now)

    def _settle(self, event: DueEvent, answer: Answer, at: datetime) -> None:
        pause = AGAIN[event.attempts] if not answer.delivered and event.attempts < len(AGAIN) else None
        told = {
            "state": "delivered" if answer.delivered else "retrying" if pause is not None else "given_up",
            "event_id": event.id,
            "at": at,
            "attempts": event.attempts + 1,
            "status": answer.status,
            "failure_code": answer.failure_code,
        }
        with self._service.store.write() as database:
            again_at = None if pause is None else self._clock(database) + pause
            settle(database, event, orjson.dumps(told).decode(), again_at=again_at)
        result = "delivered" if answer.delivered else "retried" if pause is not None else "given_up"
        self._service.health_counts.deliveries[result] += 1
        attempt = {"connection_id": event.connection_id, "event_id": event.id, "attempts": event.attempts + 1}
        if answer.delivered:
            log.info("webhook_delivered", **attempt, status=answer.status)
        else:
            log.warning(
                "webhook_not_delivered",
                **attempt,
                status=answer.status,
                failure_code=answer.failure_code,
                given_up=pause is None,
            )
