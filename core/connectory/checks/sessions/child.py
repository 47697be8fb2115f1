"""The process of one session. Forked by a fork server, it logs in, does one operation after another as it is told, and ends."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.confinement import Confinement
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.linux import die_with_parent, hide_memory, leave_parent_behind
from connectory.checks.prepared import Emit, NotPrepared, Prepared, prepare, unexpected
from connectory.checks.protocol import Event, Job, Verdict, decode_job, encode_event
from connectory.checks.sessions.context import ChildSessionContext
from connectory.checks.sessions.facts import COLLECTIONS_LIMIT, path_of_names
from connectory.checks.sessions.frames import FRAME_LIMIT, read_frame, write_frame
from connectory.checks.sessions.messages import (
    AskPrivileges,
    Discover,
    Done,
    EndLogin,
    Failed,
    Login,
    Operation,
    ReadRows,
    decode_order,
    encode_answer,
    encode_login,
    encode_rows,
)
from connectory.checks.sessions.values import encoded_column
from connectory.checks.wire import is_duration
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode
from connectory.contract.data import Batch, CollectionInfo, Kind, Path, Privileges
from connectory.contract.session import DataFailure, DataSession, SessionFailed
from connectory.toolkit.http import bounded_wait


def run_session(
    parent: int,
    orders: int,
    answers: int,
    line: int,
    name: ConnectorName,
    connector: LoadedConnector | None,
    confinement: Confinement,
) -> NoReturn:
    """Serve one session in this process, which was forked for it, and end the process.

    Args:
        parent: the process id of the fork server.
        orders: the descriptor to read the job and the operations from, as frames.
        answers: the descriptor to write events and answers to, as frames.
        line: the descriptor to ask the service for connections on.
        name: which connector to do it with.
        connector: that connector, where the fork server has it imported.
        confinement: what to keep the session to.
    """
    emit = _Telling(answers)
    try:
        leave_parent_behind(orders, answers, line)
        sys.dont_write_bytecode = True
        try:
            confining = confinement.begin()
            die_with_parent(parent)
            hide_memory()
            job = _job(orders)
            context_of = partial(ChildSessionContext, tell_login=emit.login)
            prepared = prepare(job, name, connector, confining, socket.socket(fileno=line), emit, context_of)
            _serve(prepared, orders, answers, emit, max(job.largest_row, FRAME_LIMIT))
        except NotPrepared as problem:
            emit(problem.verdict)
        except MemoryError:
            emit(Verdict("failed", FailureCode.RESOURCE_LIMIT))
        except BaseException as error:
            emit(unexpected(error))
    finally:
        os._exit(0)


class _Telling:
    """Tells the service of the opening: events, until the verdict is told."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._over = False

    def __call__(self, event: Event) -> None:
        if not self._over:
            self._over = isinstance(event, Verdict)
            write_frame(self._answers, encode_event(event))

    def login(self, name: str) -> None:
        """Tell by which name the server knows the login, at any time."""
        write_frame(self._answers, encode_login(Login(name)))


def _job(orders: int) -> Job:
    message = read_frame(orders)
    if message is None:  # nobody wants the session any more
        os._exit(0)
    return decode_job(message)


def _serve(prepared: Prepared[ChildSessionContext], orders: int, answers: int, emit: Emit, largest_row: int) -> None:
    context = prepared.context
    try:
        session = prepared.connector.open_session(prepared.secrets, context)
    except CheckSkipped:
        emit(Verdict("skipped"))
        return
    except SessionFailed as failure:
        code = failure.code if isinstance(failure.code, FailureCode) else FailureCode.QUERY_FAILED
        emit(prepared.verdict_of(CheckFailed(code, retry_after=failure.retry_after)))
        return
    except BaseException as error:
        emit(prepared.verdict_of(error))
        return
    emit(Verdict("succeeded"))
    context.opened()
    while (message := read_frame(orders)) is not None:
        order = decode_order(message)
        context.begin(order.patience, order.over_at)
        last: Done | Failed = Done()
        try:
            for answer in _answers(session, order.operation, largest_row):
                write_frame(answers, answer, largest_row)
                context.renew()
        except BaseException as error:
            last = _failed(prepared, error)
        write_frame(answers, encode_answer(last))
    with suppress(BaseException):
        session.close()


def _failed(prepared: Prepared[ChildSessionContext], error: BaseException) -> Failed:
    if isinstance(error, SessionFailed):
        limited = error.code == FailureCode.RATE_LIMITED and is_duration(error.retry_after)
        wait = bounded_wait(error.retry_after) if limited else None
        try:
            field = None if error.field is None else path_of_names(error.field)
        except ValueError:
            field = None
        return Failed(error.code, field, wait)
    verdict = prepared.verdict_of(error)
    return Failed(verdict.code or FailureCode.INTERNAL_DRIVER_ERROR, None, verdict.retry_after, verdict.error_type)


def _answers(session: DataSession, operation: Operation, largest_row: int) -> Iterator[bytes]:
    """The parts of an answer as messages, one at a time."""
    match operation:
        case EndLogin(name):
            _require_defined(session, "end_login")
            session.end_login(name)
        case Discover(namespace, sample):
            _require_defined(session, "discover")
            for number, info in enumerate(session.discover(namespace, sample)):
                if number >= COLLECTIONS_LIMIT:
                    raise SessionFailed(FailureCode.RESOURCE_LIMIT)
                if not isinstance(info, CollectionInfo):
                    raise TypeError("discover() must give CollectionInfo only")
                yield encode_answer(info)
        case AskPrivileges(refs):
            _require_defined(session, "privileges")
            for ref, found in zip(refs, session.privileges(refs), strict=True):
                if not isinstance(found, Privileges) or found.ref != ref:
                    raise TypeError("privileges() must give Privileges of each collection, in their order")
                yield encode_answer(found)
        case ReadRows(query, batch):
            _require_defined(session, "read")
            kinds = None
            for part in session.read(query, batch):
                if kinds not in (None, part.kinds):
                    raise TypeError("the kinds must be the same in every batch")
                kinds = part.kinds
                yield from _row_messages(part, query.fields, largest_row)


def _require_defined(session: DataSession, operation: str) -> None:
    if getattr(type(session), operation) is getattr(DataSession, operation):
        raise SessionFailed(DataFailure.UNSUPPORTED)


def _row_messages(batch: Batch, fields: Sequence[Path], largest: int) -> Iterator[bytes]:
    if len(batch.kinds) != len(fields):
        raise TypeError("a batch must have a kind for each field")
    if batch.rows:
        columns = zip(*batch.rows, strict=True)
        encoded = [encoded_column(*column, largest) for column in zip(batch.kinds, columns, fields, strict=True)]
        yield from _fitting(batch.kinds, encoded, len(batch.rows), fields, largest)


def _fitting(
    kinds: Sequence[Kind], columns: Sequence[Sequence[Any]], rows: int, fields: Sequence[Path], largest: int
) -> Iterator[bytes]:
    """So many rows in messages that fit into frames."""
    message = encode_rows(kinds, columns)
    if len(message) <= (largest if rows == 1 else FRAME_LIMIT):
        yield message
    elif rows == 1:
        sizes = [len(str(value)) for (value,) in columns]
        raise SessionFailed(DataFailure.TOO_LARGE, field=fields[sizes.index(max(sizes))])
    else:
        del message
        middle = rows // 2
        yield from _fitting(kinds, [column[:middle] for column in columns], middle, fields, largest)
        yield from _fitting(kinds, [column[middle:] for column in columns], rows - middle, fields, largest)
