"""Tests whose connection has tokens: each in its turn among those of all nodes, and what it was given for them is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from connectory.api.http.logs import log
from connectory.api.node.recordings import RECORDING, Recordings, recorded
from connectory.api.node.store_threads import StoreThreads
from connectory.api.stored.sealing import open_tokens, seal_tokens
from connectory.store.connections import StoredConnection
from connectory.store.engine import Store
from connectory.store.envelopes import load_tokens
from connectory.store.token_turns import Turn, end, is_worth_trying, queue_up, renew_tokens
from connectory.vault import Vault

_MARGIN = 5.0
"""Seconds between the last try to record and the end of a turn: for clocks, and busy machines."""
_FIRST_LOOK, _RARELY = 0.01, 0.2
"""Seconds between looks at the queue: at first, and after a while."""


class TurnNotCome(Exception):
    """Other tests used the connection's tokens for as long as this one could wait."""


class TokenTurns:
    """The turns that this node takes.

    Args:
        deadline: seconds that a test takes at most. A turn is longer: nobody has the next one while this node still tries to
            record; and no longer, in case that the node has died.
    """

    def __init__(
        self, store: Store, vault: Vault, threads: StoreThreads, recordings: Recordings, *, deadline: float
    ) -> None:
        self.store, self.vault, self.threads, self.recordings = store, vault, threads, recordings
        self.lasts = timedelta(seconds=deadline + RECORDING + _MARGIN)
        self.unrecorded: dict[tuple[str, int], asyncio.Future[None]] = {}

    def of(self, connection: StoredConnection) -> ConnectionTurn:
        """The turn of one test of `connection`."""
        return ConnectionTurn(self, connection)

    async def recorded(self, connection: StoredConnection) -> None:
        """Return when what the test that has just ended was given is recorded.

        Raises:
            StoreUnavailable: it takes longer than a caller should wait; it is still tried.
        """
        recording = self.unrecorded.get(_subject(connection))
        if recording is not None:
            await recorded(recording)


class _Given(NamedTuple):
    """What a turn begins with: an envelope, or nothing where it was forgotten with the secrets."""

    tokens: str | None


@dataclass(eq=False)
class _Attempt:
    """One turn, its future in `TokenTurns.unrecorded`, and what is being written about its place in the queue."""

    turn: Turn
    recorded: asyncio.Future[None]
    write: asyncio.Future[_Given | None] | None = None


class ConnectionTurn:
    """The turn of one test, as the runner takes it: a `connectory.checks.token_turn.TokenTurn`."""

    def __init__(self, turns: TokenTurns, connection: StoredConnection) -> None:
        self._turns = turns
        self._connection = connection
        self._attempt: _Attempt | None = None

    async def take(self, patience: float) -> Mapping[str, Any] | None:
        """Wait for the turn; the tokens as they are then, or `None` where they were forgotten with the secrets.

        Args:
            patience: seconds that it may wait.

        Raises:
            TurnNotCome: it did not come in time.
            EnvelopeUnreadable: the tokens cannot be opened.
            StoreUnavailable: the database does not answer.
        """
        connection = self._connection
        recorded = asyncio.get_running_loop().create_future()
        attempt = self._attempt = _Attempt(Turn(connection.id, connection.secrets_version), recorded)
        self._turns.unrecorded[_subject(connection)] = recorded
        try:
            async with asyncio.timeout(patience) as limit:
                given = await self._given(attempt, timedelta(seconds=patience + _MARGIN))
        except TimeoutError:
            if not limit.expired():
                raise
            raise TurnNotCome from None
        return None if given.tokens is None else open_tokens(self._turns.vault, connection, given.tokens)

    async def _given(self, attempt: _Attempt, waits: timedelta) -> _Given:
        pause = _FIRST_LOOK
        while True:
            # Shielded: the place that is being taken must be known to be taken, or nobody gives it up.
            attempt.write = asyncio.ensure_future(self._turns.threads.write(self._try, attempt.turn, waits))
            given = await asyncio.shield(attempt.write)
            if given is not None:
                return given
            worth_trying = False
            while not worth_trying:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _RARELY)
                worth_trying = await self._turns.threads.read(self._look, attempt.turn)

    def _try(self, turn: Turn, waits: timedelta) -> _Given | None:
        with self._turns.store.write() as database:
            begun = queue_up(database, turn, waits=waits, lasts=self._turns.lasts)
            if begun is None:
                return _Given(None)
            return _Given(load_tokens(database, turn.connection_id)) if begun else None

    def _look(self, turn: Turn) -> bool:
        with self._turns.store.read() as database:
            return is_worth_trying(database, turn)

    def end(self, tokens: Mapping[str, Any] | None) -> None:
        """Have `tokens` recorded, if there are any, and the turn given to the next. Never blocks."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        what = f"tokens of the connection '{self._connection.key}'" if tokens is not None else "end of a turn"
        work = self._turns.recordings.keep(partial(self._end, attempt.turn, tokens), what, after=attempt.write)
        work.add_done_callback(lambda _: self._forget(attempt.recorded))

    def _forget(self, recorded: asyncio.Future[None]) -> None:
        recorded.set_result(None)
        subject = _subject(self._connection)
        if self._turns.unrecorded.get(subject) is recorded:
            del self._turns.unrecorded[subject]

    def _end(self, turn: Turn, tokens: Mapping[str, Any] | None) -> None:
        sealed = seal_tokens(self._turns.vault, self._connection, tokens) if tokens is not None else None
        with self._turns.store.write() as database:
            if sealed is None:
                end(database, turn)
                return
            kept = renew_tokens(database, turn, sealed)
        if not kept:  # a new consent or new secrets came meanwhile, or the turn was overdue
            log.warning("renewed tokens dropped", connection_key=self._connection.key)


def _subject(connection: StoredConnection) -> tuple[str, int]:
    return connection.id, connection.secrets_version
