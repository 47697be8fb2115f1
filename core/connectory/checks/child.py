"""The process of one connection test, or of one exchange of an authorization code for tokens.

Forked by a fork server, it reads a job, does it, reports, and ends.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from functools import partial
from typing import NoReturn

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.addresses import VettedAddresses
from connectory.checks.confinement import Confinement, Confining
from connectory.checks.context import ChildContext
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.linux import die_with_parent, hide_memory, leave_parent_behind, limited_growth
from connectory.checks.prepared import Emit, NotPrepared, prepare, unexpected
from connectory.checks.protocol import (
    JOB_LIMIT,
    Event,
    Exchange,
    Job,
    Verdict,
    decode_job,
    encode_event,
)
from connectory.checks.rehearsal import rehearse
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode
from connectory.contract.secrets import Secrets

UNAUTHORIZED = (
    "Nobody has authorized this connection yet; a person does so at the address that "
    "GET /api/v1/connection/{key}/authorize answers."
)
"""Why the test of a connection fails that needs a person's consent and has no tokens."""

_SPARE_MEMORY = 16 * 2**20
"""Bytes of address space that a process may take on before its job is there. The rehearsal takes less than 1 MiB."""


def run_test(
    parent: int,
    job: int,
    result: int,
    line: int,
    name: ConnectorName,
    connector: LoadedConnector | None,
    confinement: Confinement,
) -> NoReturn:
    """Do one job in this process, which was forked for it, and end the process. Until the job is there, rehearse.

    Args:
        parent: the process id of the fork server.
        job: the descriptor to read the job from.
        result: the descriptor to report events to.
        line: the descriptor to ask the service for connections on.
        name: which connector to test with.
        connector: that connector, where the fork server has it imported.
        confinement: what to keep the test to.
    """
    try:
        leave_parent_behind(job, result, line)
        sys.dont_write_bytecode = True
        emit = _emitter(result)
        try:
            confining = confinement.begin()
            die_with_parent(parent)
            hide_memory()
            if connector is not None and not _can_be_read(job):
                with limited_growth(_SPARE_MEMORY):
                    rehearse(connector, is_over=partial(_can_be_read, job))
            emit(_do(_read_job(job), name, connector, confining, socket.socket(fileno=line), emit))
        except MemoryError:
            emit(Verdict("failed", FailureCode.RESOURCE_LIMIT))
        except BaseException as error:
            emit(unexpected(error))
    finally:
        os._exit(0)


def _emitter(descriptor: int) -> Emit:
    def emit(event: Event) -> None:
        line = encode_event(event)
        while line:
            line = line[os.write(descriptor, line) :]

    return emit


def _can_be_read(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _read_job(descriptor: int) -> Job:
    data = bytearray()
    while len(data) <= JOB_LIMIT and (chunk := os.read(descriptor, 65536)):
        data += chunk
    os.close(descriptor)
    return decode_job(bytes(data))


def _do(
    job: Job,
    name: ConnectorName,
    connector: LoadedConnector | None,
    confining: Confining,
    line: socket.socket,
    emit: Emit,
) -> Verdict:
    try:
        prepared = prepare(job, name, connector, confining, line, emit, _context)
    except NotPrepared as problem:
        return problem.verdict
    try:
        _run(prepared.connector, prepared.secrets, prepared.context, job.exchange)
    except CheckSkipped:
        return Verdict("skipped")
    except BaseException as error:
        return prepared.verdict_of(error)
    return Verdict("succeeded")


def _context(job: Job, addresses: VettedAddresses, emit: Emit) -> ChildContext:
    return ChildContext(
        killed_at=job.killed_at,
        addresses=addresses,
        settings=job.settings,
        emit=emit,
        tokens=job.tokens,
        cleartext_unverified=job.cleartext_unverified,
    )


def _run(connector: LoadedConnector, secrets: Secrets, context: ChildContext, exchange: Exchange | None) -> None:
    if exchange is not None:
        connector.exchange_code(secrets, exchange.code, exchange.code_verifier, context)
        if not context.has_stored_tokens:
            raise TypeError("connectory_exchange_code() must hand tokens to context.store_tokens()")
        return
    lacks_tokens = connector.description.authorization_required and context.tokens is None
    if lacks_tokens and connector.authorization(secrets) is not None:
        raise CheckFailed(FailureCode.AUTH_FAILED, remedy=UNAUTHORIZED)
    connector.test(secrets, context)
