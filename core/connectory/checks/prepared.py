"""What comes before a connector's own code runs in the process of a test or a session, and what exceptions that end it mean."""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.checks import calling
from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.checks.confinement import Confining
from connectory.checks.context import ChildContext
from connectory.checks.failures import STANDARD, meaning
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.line import Line
from connectory.checks.linux import peak_memory
from connectory.checks.protocol import (
    ERROR_TYPE_LIMIT,
    Denied,
    Event,
    Job,
    Raised,
    Verdict,
    is_sentence,
)
from connectory.checks.tracebacks import traceback_of
from connectory.checks.wire import is_duration
from connectory.contract.check import CheckFailed, FailureCode
from connectory.contract.secrets import Secrets
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import SecretsInvalid, parse_secrets
from connectory.toolkit.http import bounded_wait

_TELLING_LENGTH = 4
"""Shorter secrets occur in any sentence by chance."""
_MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
Emit = Callable[[Event], None]
"""Sends one event to the service."""

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


def load_connector(name: ConnectorName, *, for_sessions: bool = False) -> LoadedConnector:
    """The connector of that name, without the deployer's settings; a job brings those.

    Args:
        for_sessions: whether to import what its sessions need, too. Default: no.

    Raises:
        LookupError: it is not installed any more.
        PluginBroken: it does not load.
        ImportError: a driver that it names cannot be imported.
    """
    connector = find_connector(
        name.identifier, name.distribution, environment={}, source=name.source, target=name.target
    )
    described = connector.description
    for module in (*described.drivers, *(described.session_modules if for_sessions else ())):
        importlib.import_module(module)
    return connector


ContextT = TypeVar("ContextT", bound=ChildContext)


class NotPrepared(Exception):
    """The connector's own code cannot be run; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.code)
        self.verdict = verdict


@dataclass(frozen=True)
class Prepared(Generic[ContextT]):
    """All that the connector's code needs, in a process that is confined for good.

    Attributes:
        connector: with the deployer's settings.
        secrets: as its class made them.
        context: what its code is given.
    """

    connector: LoadedConnector
    secrets: Secrets
    context: ContextT
    _name: ConnectorName
    _job: Job
    _addresses: VettedAddresses
    _much_memory: int
    _emit: Emit

    def verdict_of(self, error: BaseException) -> Verdict:
        """What the exception comes to that ended the connector's code."""
        job = self._job
        hidden = [
            *sensitive_texts(self.connector.secrets_model, job.document),
            *self.context.token_texts,
            *(filter(None, (job.exchange.code, job.exchange.code_verifier)) if job.exchange is not None else ()),
        ]
        hidden = [text for text in hidden if len(text) >= _TELLING_LENGTH]
        if job.traceback:
            self._emit(Raised(traceback_of(error, hidden)))
        verdict = _classified(error, self._name, self.context, hidden)
        if self._addresses.denied and (_was_denied(error) or verdict.code not in _ANSWERED):
            return Verdict("failed", FailureCode.ADDRESS_NOT_ALLOWED)
        if peak_memory() > self._much_memory:
            # Native code that runs out of memory says so in text only, if at all. Nothing asks for half the allowance
            # but a flood: reading on doubles a buffer, and that is what the limit stops.
            return Verdict("failed", FailureCode.RESOURCE_LIMIT)
        return verdict


def prepare(
    job: Job,
    name: ConnectorName,
    connector: LoadedConnector | None,
    confining: Confining,
    end: socket.socket,
    emit: Emit,
    context_of: Callable[[Job, VettedAddresses, Emit], ContextT],
) -> Prepared[ContextT]:
    """Confine this process for good, and have everything that the connector's code needs.

    Args:
        job: what the process is to do.
        name: which connector to do it with.
        connector: that connector, where the fork server has it imported.
        confining: the confinement that has begun.
        end: of the line by which to ask the service for connections and addresses.
        emit: sends one event to the service.
        context_of: makes the context.

    Raises:
        NotPrepared: the connector's code cannot be run.
    """
    # Before the connector is imported, where it still has to be: a thread that it starts then is confined too.
    confining.complete(
        memory=job.memory,
        also_readable=_paths(name.target, *job.settings.values()),
        ports=job.native_ports,
        datagrams=job.datagrams,
    )
    connector = connector or _imported(job, name, emit)
    connector = connector.configured(job.settings)
    try:
        secrets = parse_secrets(connector.secrets_model, job.document)
    except SecretsInvalid:
        outdated = "The stored secrets do not fit this version of the connector; send a complete set again."
        raise NotPrepared(Verdict("failed", FailureCode.SECRETS_UNREADABLE, remedy=outdated)) from None
    line = Line(end)
    # Where the kernel does not keep this process from datagrams, it asks the DNS itself.
    resolver = line.look_up if confining.limits_datagrams and not job.datagrams else None
    addresses = VettedAddresses(job.policy, on_denial=lambda: emit(Denied()), resolver=resolver)
    context = context_of(job, addresses, emit)
    much_memory = peak_memory() + job.memory // 2
    if confining.limits_connections:
        calling.install(line, addresses, confining.relays)
    addresses.enforce()
    return Prepared(connector, secrets, context, name, job, addresses, much_memory, emit)


def _imported(job: Job, name: ConnectorName, emit: Emit) -> LoadedConnector:
    try:
        return load_connector(name)
    except PluginBroken as problem:
        verdict = Verdict("failed", FailureCode.CONNECTOR_UNAVAILABLE, remedy=str(problem))
    except LookupError:
        gone = f"The connector '{name.identifier}' is no longer installed; run: pip install {name.distribution}"
        verdict = Verdict("failed", FailureCode.CONNECTOR_UNAVAILABLE, remedy=gone)
    except ImportError as error:
        if job.traceback:
            emit(Raised(traceback_of(error, [])))
        verdict = _driver_missing(error, name)
    raise NotPrepared(verdict)


def _paths(*values: object) -> list[str]:
    """Those that name a file or a folder: a driver's library in the deployer's settings, a connector's definition."""
    return [value for value in values if isinstance(value, str) and value.startswith("/")]


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
    return Verdict("failed", code) if isinstance(code, FailureCode) else unexpected(error)


def unexpected(error: BaseException) -> Verdict:
    """The verdict on an exception that nobody has foreseen."""
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
