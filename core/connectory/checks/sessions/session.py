"""A session as the service uses it: operations whose answers come as they are read, from a process that is believed nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from connectory.checks.refusals import ShuttingDown
from connectory.checks.report import CheckReport
from connectory.checks.sessions.facts import COLLECTIONS_LIMIT
from connectory.checks.sessions.messages import (
    Answer,
    AskPrivileges,
    Code,
    Discover,
    Done,
    EndLogin,
    Failed,
    Operation,
    Order,
    ReadRows,
    decode_answer,
    encode_order,
)
from connectory.checks.sessions.process import SessionProcess
from connectory.checks.wire import ProtocolViolation
from connectory.contract.check import FailureCode
from connectory.contract.data import Batch, CollectionInfo, CollectionRef, Path, Privileges, Read

DISCOVERY_LIMIT = 32 * 2**20
"""Bytes of all that one discovery may say: three times what 5,000 tables of 20 columns take."""


_ResultT = TypeVar("_ResultT")


class OperationFailed(Exception):
    """An operation failed.

    Attributes:
        code: why.
        field: the field it is about; `None` where it is about none.
        retry_after: seconds the far end asked to wait.
        error_type: the class name of an unexpected exception, for the log.
    """

    def __init__(
        self,
        code: Code,
        *,
        field: Path | None = None,
        retry_after: int | None = None,
        error_type: str | None = None,
    ) -> None:
        super().__init__(code.value)
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.error_type = error_type


class Session:
    """An open session. One operation at a time; one that fails leaves it open, unless its process had to be killed.

    An operation whose answer is not read to its end ends the session: there is no way to have a far end stop but to leave it.

    Args:
        process: has opened the session.
        patience: seconds that an operation may take for each part of its answer.
        over_at: when the whole session is over, on `time.monotonic()`.

    Attributes:
        opening: how it was opened: the steps, and whether the connection is encrypted.
    """

    def __init__(self, process: SessionProcess, opening: CheckReport, *, patience: float, over_at: float) -> None:
        self.opening = opening
        self._process = process
        self._patience = patience
        self._over_at = over_at

    async def discover(
        self, namespace: Mapping[str, str] | None = None, sample: int = 1000
    ) -> AsyncIterator[CollectionInfo]:
        """Every collection, as the connector gives them.

        Raises:
            OperationFailed: it failed; what came before is not all.
            ShuttingDown: the service is ending.
        """
        number = size = 0
        async for answer, length in self._answers(Discover(namespace, sample)):
            if not isinstance(answer, CollectionInfo):
                raise self._broken()
            number, size = number + 1, size + length
            if number > COLLECTIONS_LIMIT or size > DISCOVERY_LIMIT:
                self._process.kill()
                raise OperationFailed(FailureCode.RESOURCE_LIMIT)
            yield answer

    async def privileges(self, refs: Sequence[CollectionRef]) -> AsyncIterator[Privileges]:
        """What the account may do with each of `refs`, in their order.

        Raises:
            OperationFailed: it failed; what came before is not all.
        """
        rest = list(reversed(refs))
        async for answer, _ in self._answers(AskPrivileges(tuple(refs))):
            if not (isinstance(answer, Privileges) and rest and rest.pop() == answer.ref):
                raise self._broken()
            yield answer
        if rest:
            raise self._broken()

    async def read(self, query: Read, batch: int = 2000) -> AsyncIterator[Batch]:
        """The rows that were asked for, in batches of at most `batch` rows and about a MiB.

        Raises:
            OperationFailed: it failed; what came before is not all.
        """
        kinds = None
        async for answer, _ in self._answers(ReadRows(query, batch)):
            fits = isinstance(answer, Batch) and len(answer.kinds) == len(query.fields)
            if not isinstance(answer, Batch) or not fits or kinds not in (None, answer.kinds):
                raise self._broken()
            kinds = answer.kinds
            yield answer

    async def end_login(self, name: str) -> None:
        """Have the server end another login, with whatever it is doing.

        Raises:
            OperationFailed: it failed.
        """
        async for _ in self._answers(EndLogin(name)):
            raise self._broken()

    async def _answers(self, operation: Operation) -> AsyncIterator[tuple[Answer, int]]:
        """The parts of the answer, and how many bytes each had."""
        if self._process.busy:
            raise RuntimeError("a session does one operation at a time, and none after one that was left")
        self._process.busy = True
        await self._in_time(self._process.send(encode_order(Order(operation, self._patience, self._over_at))))
        while True:
            message = await self._in_time(self._process.receive())
            if message is None:
                raise await self._dead()
            try:
                answer = decode_answer(message)
            except ProtocolViolation:
                raise self._broken() from None
            if isinstance(answer, Done | Failed):
                break
            yield answer, len(message)
        self._process.busy = False
        if isinstance(answer, Failed):
            raise OperationFailed(
                answer.code, field=answer.field, retry_after=answer.retry_after, error_type=answer.error_type
            )

    async def _in_time(self, awaited: Coroutine[Any, Any, _ResultT]) -> _ResultT:
        left = min(self._patience, self._over_at - time.monotonic())
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await awaited
        except TimeoutError:
            self._process.kill()
            raise OperationFailed(FailureCode.TIMEOUT) from None

    async def _dead(self) -> Exception:
        """What to raise where the process ended in the middle."""
        if self._process.killed:
            return ShuttingDown()
        status = await self._process.ended()
        starved = status is not None and -status in {signal.SIGKILL, signal.SIGXFSZ}  # the system was out of memory
        return OperationFailed(FailureCode.RESOURCE_LIMIT if starved else FailureCode.CRASHED)

    def _broken(self) -> OperationFailed:
        """What the process said is not what a session's process says."""
        self._process.kill()
        return OperationFailed(FailureCode.CRASHED)
