"""Whether the connections of a connector that opens sessions can be used. Of others these rules say nothing."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import pytest

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.sessions.facts import as_told
from connectory.checks.sessions.runner import SessionNotOpened
from connectory.checks.sessions.session import OperationFailed, Session
from connectory.contract.data import Batch, CollectionInfo, Kind, Path, Read, Rows
from connectory.contract.session import DataFailure
from connectory.testing.far_ends import FarEnd, flooding_server, silent_server
from connectory.testing.payloads import Payload
from connectory.testing.rules.complaints import OUR_FAULT, expect_none
from connectory.testing.rules.facts import GRACE, Facts
from connectory.testing.rules.rule import rule

_COLLECTIONS = 3
"""Collections that are read: enough to meet several kinds of fields."""
_BATCH = 10
_COMPARABLE = {Kind.INTEGER, Kind.STRING, Kind.UUID, Kind.OBJECT_ID}


_ResultT = TypeVar("_ResultT")


class SessionRules(Facts):
    """Whether what a session says of collections holds, and whether it comes to an end."""

    @pytest.fixture
    def opening_connector(self, connector: LoadedConnector) -> LoadedConnector:
        """The connector, where it opens sessions."""
        if not connector.opens_sessions:
            pytest.skip("It opens no sessions; Connector.open_session is optional.")
        return connector

    @rule(
        fix="Sort what discover() or collections() gives by name, and leave out of it what changes by itself.",
        needs="good_secrets with Connector.open_session, or Connector.collections",
    )
    def test_a_discovery_says_the_same_each_time(
        self, connector: LoadedConnector, request: pytest.FixtureRequest
    ) -> None:
        """Datasets are made from it and compared with it later: what differs without a change is taken for one."""
        if connector.opens_sessions:
            good_secrets: Payload = request.getfixturevalue("good_secrets")
            first, second = (self._use(good_secrets, _discovered) for _ in range(2))
        elif connector.knows_collections:
            first, second = (list(map(as_told, connector.collections())) for _ in range(2))
        else:
            pytest.skip("It does not say what a connection holds; Connector.open_session and collections are optional.")
        refs = [info.ref for info in first]
        assert refs == [info.ref for info in second], "Two discoveries give other collections, or in another order."
        expect_none(
            [
                f"{one.ref.name} differs from one discovery to the next."
                for one, two in zip(first, second, strict=True)
                if one != two
            ]
            + [f"{ref.name} is given twice." for number, ref in enumerate(refs) if ref in refs[:number]]
        )

    @rule(
        fix="Give each batch the kinds and the order of Read.fields, and the kinds that discover() declares.",
        needs="good_secrets, and Connector.open_session",
    )
    def test_a_read_gives_the_declared_fields(self, opening_connector: LoadedConnector, good_secrets: Payload) -> None:
        """The order of columns is all that tells one field's values from another's."""
        del opening_connector
        found = self._use(good_secrets, _discovered)
        complaints: list[str] = []
        for info in islice((info for info in found if info.fields and info.left_out is None), _COLLECTIONS):
            # Backwards, so that an order of the connector's own is seen.
            fields = tuple(reversed(info.fields))
            query = Read(info.ref, tuple(one.path for one in fields))
            batch = self._use(good_secrets, partial(_first, query=query))
            if batch is None:
                continue
            if len(batch.rows) > _BATCH:
                complaints.append(f"{info.ref.name}: a batch has {len(batch.rows)} rows; {_BATCH} were asked for.")
            for place, one in enumerate(fields):
                name = ".".join((info.ref.name, *one.path))
                kind, values = batch.kinds[place], [row[place] for row in batch.rows]
                if one.kind is not kind and Kind.ANY not in (kind, one.kind):
                    complaints.append(f"{name} is declared as {one.kind} and read as {kind}.")
                if one.nullable is False and None in values:
                    complaints.append(f"{name} is declared as never empty, and is.")
                if one.array and not all(isinstance(value, list | None) for value in values):
                    complaints.append(f"{name} is declared as an array, and its values are no lists.")
        expect_none(complaints)

    @rule(
        fix="Give the rows that match a row of Read.any_of in all its fields, and None matches nothing; COLLECTION_MISSING where "
        "there is no such collection, and the session stays open.",
        needs="good_secrets, and Connector.open_session",
    )
    def test_a_read_gives_the_rows_that_were_asked_for(
        self, opening_connector: LoadedConnector, good_secrets: Payload
    ) -> None:
        """A row too many is somebody else's data, and one too few is data that nobody finds."""
        del opening_connector
        found = self._use(good_secrets, _discovered)
        for info in islice((info for info in found if info.fields and info.left_out is None), _COLLECTIONS):
            paths = _to_ask_by(info)
            batch = self._use(good_secrets, partial(_first, query=Read(info.ref, paths))) if paths else None
            if batch is not None and batch.rows:
                asked = partial(_asked_for, info=info, paths=paths, rows=batch.rows)
                expect_none(self._use(good_secrets, asked))
                return

    @rule(
        fix="Give context.timeout to the driver when the session is opened, as in the test; map what it raises.",
        needs="secrets_for_server, and Connector.open_session",
    )
    def test_a_session_ends_in_time_at_a_hostile_far_end(self, opening_connector: LoadedConnector) -> None:
        """A far end that says nothing, or never stops, cannot hold a session up, and the code does not blame the connector."""
        del opening_connector
        self.import_ahead()
        complaints = []
        for name, server in {"silent": silent_server, "flooding": flooding_server}.items():
            code, error_type, seconds = self._ended(server)
            if (
                seconds > self.short_deadline + GRACE
            ):  # once more: a busy machine can be late, a connector is late by itself
                code, error_type, seconds = self._ended(server)
            if code is None:
                complaints.append(f"{name}: the session was opened, and the discovery came to an end.")
            elif code in OUR_FAULT:
                complaints.append(f"{name}: it ended with {code} (the connector raised {error_type}).")
            if seconds > self.short_deadline + GRACE:
                complaints.append(f"{name}: it took {seconds:.1f} s; it had {self.short_deadline:g} s.")
        expect_none(complaints)

    def _use(self, payload: Payload, what: Callable[[Session], Awaitable[_ResultT]]) -> _ResultT:
        """Use a session, with the time of several tests: modules are imported for the first one, and it does several things."""
        return self.use(payload, what, seconds=3 * self.deadline)

    def _ended(self, server: Callable[[], AbstractContextManager[FarEnd]]) -> tuple[str | None, str | None, float]:
        """How a discovery ended at a far end: its code, what the connector raised, and the seconds it took."""
        code = error_type = None
        with server() as far_end:
            payload = self.secrets_for_server(far_end.host, far_end.port)
            began = time.monotonic()
            try:
                self.use(payload, _discovered, far_end=far_end, seconds=self.short_deadline)
            except SessionNotOpened as failure:
                code, error_type = str(failure.report.code), failure.report.error_type
            except OperationFailed as failure:
                code, error_type = str(failure.code), failure.error_type
            return code, error_type, time.monotonic() - began


async def _discovered(session: Session) -> list[CollectionInfo]:
    return [info async for info in session.discover()]


def _to_ask_by(info: CollectionInfo) -> tuple[Path, ...]:
    """Fields whose values can be asked for and compared: those of the primary key first."""
    plain = [one.path for one in info.fields if one.kind in _COMPARABLE and not one.array]
    able = [path for path in plain if info.selectable is None or path in info.selectable]
    return tuple(sorted(able, key=lambda path: path not in info.primary_key))


async def _asked_for(
    session: Session, info: CollectionInfo, paths: tuple[Path, ...], rows: Sequence[tuple[Any, ...]]
) -> list[str]:
    """What is wrong with the answers to questions about a row that is there, and about what is not."""
    name = info.ref.name
    complaints = []
    missing = replace(info.ref, name=f"{name}_that_is_not_there")
    try:
        await _some(session, Read(missing, paths))
        complaints.append("A read of a collection that is not there does not fail with collection_missing.")
    except OperationFailed as failure:
        if failure.code != DataFailure.COLLECTION_MISSING:
            complaints.append(f"A read of a collection that is not there fails with {failure.code}.")
    row = dict(zip(paths, rows[0], strict=True))
    key = [path for path in info.primary_key if path in row] or [next(path for path in paths)]
    if all(row[path] is not None for path in key):
        wanted = tuple(row[path] for path in key)
        given = await _some(session, Read(info.ref, tuple(key), (Rows(tuple(key), [wanted]),)))
        shown = ", ".join(".".join(path) for path in key)
        if not given:
            complaints.append(f"{name}: a row is not found by what it has in {shown}.")
        elif any(list(map(_folded, one)) != list(map(_folded, wanted)) for one in given):
            complaints.append(f"{name}: asked for by {shown}, rows come that have something else there.")
    empty = next((path for place, path in enumerate(paths) if any(one[place] is None for one in rows)), paths[0])
    if await _some(session, Read(info.ref, (empty,), (Rows((empty,), [(None,)]),))):
        complaints.append(f"{name}: asked for by None in {'.'.join(empty)}, rows come.")
    return complaints


def _folded(value: Any) -> Any:
    """A text as databases compare it that do not look at the case, and at spaces at the end."""
    return value.casefold().rstrip() if isinstance(value, str) else value


async def _some(session: Session, query: Read) -> list[tuple[Any, ...]]:
    return [row async for batch in session.read(query, _BATCH) for row in batch.rows]


async def _first(session: Session, query: Read) -> Batch | None:
    async for batch in session.read(query, _BATCH):
        return batch
    return None
