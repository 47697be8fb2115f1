"""The process of one connection test, or of one exchange of an authorization code for tokens.

Forked by a fork server, it reads a job, does it, reports, and ends.
"""

from __future__ import annotations

import importlib
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NoReturn

from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.checks.confinement import Confinement, Confining
from connectory.checks.context import ChildContext
from connectory.checks.failures import STANDARD, meaning
from connectory.checks.linux import die_with_parent, hide_memory, leave_parent_behind, limited_growth, peak_memory
from connectory.checks.protocol import (
    ERROR_TYPE_LIMIT,
    JOB_LIMIT,
    ConnectorName,
    Denied,
    Event,
    Exchange,
    Job,
    Raised,
    Verdict,
    decode_job,
    encode_event,
    is_duration,
    is_sentence,
)
from connectory.checks.rehearsal import rehearse
from connectory.checks.tracebacks import traceback_of
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode
from connectory.contract.secrets import Secrets
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import SecretsInvalid, parse_secrets
from connectory.toolkit.http import bounded_wait

UNAUTHORIZED = (
    "Nobody has authorized this connection yet; a person does so at the address that "
    "GET /api/v1/connection/{key}/authorize answers."
)
"""Why the test of a connection fails that needs a person's consent and has no tokens."""

_SPARE_MEMORY = 16 * 2**20
"""Bytes of address space that a process may take on before its job is there. The rehearsal takes less than 1 MiB."""
_TELLING_LENGTH = 4
"""Shorter secrets occur in any sentence by chance."""
_MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_Emit = Callable[[Event], None]

# These say that a server was reached and what it answered; a connection elsewhere that was denied did not decide them.
_ANSWERED = {
    FailureCode.TLS_UNTRUSTED,
    FailureCode.AUTH_FAILED,
    FailureCode.INSECURE_AUTH_REFUSED,
    FailureCode.DATABASE_NOT_FOUND,
    FailureCode.SCHEMA_NOT_FOUND,
    FailureCode.PERMISSION_DENIED,
    FailureCode.UNEXPECTED_REDIRECT,
    FailureCode.RATE_LIMITED,
    FailureCode.HTTP_4XX,
    FailureCode.HTTP_5XX,
}


def load_connector(name: ConnectorName) -> LoadedConnector:
    """The connector of that name, without the deployer's settings; a job brings those.

    Raises:
        LookupError: it is not installed any more.
        PluginBroken: it does not load.
        ImportError: a driver that it names cannot be imported.
    """
    connector = find_connector(
        name.identifier, name.distribution, environment={}, source=name.source, target=name.target
    )
    for driver in connector.description.drivers:
        importlib.import_module(driver)
    return connector


def run_test(
    parent: int,
    job: int,
    result: int,
    name: ConnectorName,
    connector: LoadedConnector | None,
    confinement: Confinement,
) -> NoReturn:
    """Do one job in this process, which was forked for it, and end the process. Until the job is there, rehearse.

    Args:
        parent: the process id of the fork server.
        job: the descriptor to read the job from.
        result: the descriptor to report events to.
        name: which connector to test with.
        connector: that connector, where the fork server has it imported.
        confinement: what to keep the test to.
    """
    try:
        leave_parent_behind(job, result)
        sys.dont_write_bytecode = True
        emit = _emitter(result)
        try:
            confining = confinement.begin()
            die_with_parent(parent)
            hide_memory()
            if connector is not None and not _can_be_read(job):
                with limited_growth(_SPARE_MEMORY):
                    rehearse(connector)
            emit(_do(_read_job(job), name, connector, confining, emit))
        except MemoryError:
            emit(Verdict("failed", FailureCode.RESOURCE_LIMIT))
        except BaseException as error:
            emit(_unexpected(error))
    finally:
        os._exit(0)


def _emitter(descriptor: int) -> _Emit:
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


def _do(job: Job, name: ConnectorName, connector: LoadedConnector | None, confining: Confining, emit: _Emit) -> Verdict:
    # Before the connector is imported, where it still has to be: a thread that it starts then is confined too.
    confining.complete(memory=job.memory, also_readable=_paths(name.target, *job.settings.values()))
    try:
        connector = connector or load_connector(name)
    except PluginBroken as problem:
        return Verdict("failed", FailureCode.CONNECTOR_UNAVAILABLE, remedy=str(problem))
    except LookupError:
        gone = f"The connector '{name.identifier}' is no longer installed; run: pip install {name.distribution}"
        return Verdict("failed", FailureCode.CONNECTOR_UNAVAILABLE, remedy=gone)
    except ImportError as error:
        if job.traceback:
            emit(Raised(traceback_of(error, [])))
        return _driver_missing(error, name)
    connector = connector.configured(job.settings)
    try:
        secrets = parse_secrets(connector.secrets_model, job.document)
    except SecretsInvalid:
        outdated = "The stored secrets do not fit this version of the connector; send a complete set again."
        return Verdict("failed", FailureCode.SECRETS_UNREADABLE, remedy=outdated)
    addresses = VettedAddresses(job.policy, on_denial=lambda: emit(Denied()))
    context = ChildContext(
        killed_at=job.killed_at, addresses=addresses, settings=job.settings, emit=emit, tokens=job.tokens
    )
    much_memory = peak_memory() + job.memory // 2
    addresses.enforce()
    try:
        _run(connector, secrets, context, job.exchange)
    except CheckSkipped:
        return Verdict("skipped")
    except BaseException as error:
        hidden = [
            *sensitive_texts(connector.secrets_model, job.document),
            *context.token_texts,
            *(filter(None, (job.exchange.code, job.exchange.code_verifier)) if job.exchange is not None else ()),
        ]
        hidden = [text for text in hidden if len(text) >= _TELLING_LENGTH]
        if job.traceback:
            emit(Raised(traceback_of(error, hidden)))
        verdict = _classified(error, name, context, hidden)
        if addresses.denied and (_was_denied(error) or verdict.code not in _ANSWERED):
            return Verdict("failed", FailureCode.ADDRESS_NOT_ALLOWED)
        if peak_memory() > much_memory:
            # Native code that runs out of memory says so in text only, if at all. Nothing asks for half the allowance
            # but a flood: reading on doubles a buffer, and that is what the limit stops.
            return Verdict("failed", FailureCode.RESOURCE_LIMIT)
        return verdict
    return Verdict("succeeded")


def _paths(*values: object) -> list[str]:
    """Those that name a file or a folder: a driver's library in the deployer's settings, a connector's definition."""
    return [value for value in values if isinstance(value, str) and value.startswith("/")]


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


def _classified(error: BaseException, name: ConnectorName, context: ChildContext, hidden: Iterable[str]) -> Verdict:
    """What the exception that ended a test comes to."""
    if isinstance(error, CheckFailed):
        asks_for_a_wait = error.code == FailureCode.RATE_LIMITED and is_duration(error.retry_after)
        return Verdict(
            "failed",
            FailureCode(error.code),
            step=error.step,
            remedy=_presentable(error.remedy, hidden),
            retry_after=bounded_wait(error.retry_after) if asks_for_a_wait else None,
        )
    if isinstance(error, ImportError):
        missing = _driver_missing(error, name)
        return replace(missing, remedy=_presentable(missing.remedy, hidden))
    if isinstance(error, TimeoutError):
        return Verdict("failed", context.timeout_code)
    code = meaning(error, STANDARD)
    return Verdict("failed", code) if isinstance(code, FailureCode) else _unexpected(error)


def _unexpected(error: BaseException) -> Verdict:
    error_type = type(error).__name__
    fits = len(error_type) <= ERROR_TYPE_LIMIT and error_type.isprintable()
    return Verdict("failed", FailureCode.INTERNAL_DRIVER_ERROR, error_type=error_type if fits else "Exception")


def _driver_missing(error: ImportError, name: ConnectorName) -> Verdict:
    module = f"The module '{error.name}'" if _MODULE_NAME.fullmatch(error.name or "") else "A module of the driver"
    remedy = f"{module} cannot be imported; run: pip install --force-reinstall {name.distribution}"
    return Verdict("failed", FailureCode.DRIVER_MISSING, remedy=remedy)


def _was_denied(error: BaseException | None) -> bool:
    return any(isinstance(cause, AddressDenied) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it came from, once each: a chain may be a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _presentable(remedy: object, hidden: Iterable[str]) -> str | None:
    """A plugin's own sentence, unless it holds what must not be shown."""
    if not isinstance(remedy, str) or not is_sentence(remedy):
        return None
    return None if any(text in remedy for text in hidden) else remedy
