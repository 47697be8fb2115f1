"""The process of one connection test, or of one exchange of an authorization code for tokens.

Forked from a template, it reads a job, does it, reports, and ends.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from connectory.catalog.catalog import find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.checks.addresses import AddressDenied, VettedAddresses
from connectory.checks.context import ChildContext, seconds
from connectory.checks.egress import EgressPolicy
from connectory.checks.linux import die_with_parent, leave_parent_behind, limit_resources, peak_memory
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode
from connectory.contract.secrets import Secrets
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import SecretsInvalid, parse_secrets

JOB_LIMIT = 2**20
"""Bytes of a job."""
RESULT_LIMIT = 2**16
"""Bytes of all that a child reports."""
REMEDY_LIMIT = 500
"""Characters of a plugin's own sentence."""
UNAUTHORIZED = (
    "Nobody has authorized this connection yet; a person does so at the address that "
    "GET /api/v1/connection/{key}/authorize answers."
)
"""Why the test of a connection fails that needs a person's consent and has no tokens."""

_TELLING_LENGTH = 4
"""Shorter secrets occur in any sentence by chance."""
_MODULE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_Emit = Callable[[dict[str, Any]], None]

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


class ConnectorName(NamedTuple):
    """Which connector: its identifier, the distribution that ships it, and, for a sourced one, what it is made from."""

    identifier: str
    distribution: str
    source: str = ""
    target: str = ""

    @classmethod
    def of(cls, connector: LoadedConnector) -> ConnectorName:
        """The name of a connector that is loaded."""
        record = connector.record
        return cls(record.identifier, record.distribution, record.source, record.target if record.source else "")

    def load(self) -> LoadedConnector:
        """The connector, without the deployer's settings; a job brings those.

        Raises:
            LookupError: it is not installed any more.
            PluginBroken: it does not load.
            ImportError: a driver that it names cannot be imported.
        """
        connector = find_connector(
            self.identifier, self.distribution, environment={}, source=self.source, target=self.target
        )
        for driver in connector.description.drivers:
            importlib.import_module(driver)
        return connector


def run_test(parent: int, job: int, result: int, name: ConnectorName, connector: LoadedConnector | None) -> NoReturn:
    """Do one job in this process, which was forked for it, and end the process.

    Args:
        parent: the process id of the template.
        job: the descriptor to read the job from, as JSON.
        result: the descriptor to report to, as lines of JSON.
        name: which connector to test with.
        connector: that connector, where the template has it imported.
    """
    try:
        leave_parent_behind(job, result)
        die_with_parent(parent)
        sys.dont_write_bytecode = True
        emit = _emitter(result)
        try:
            emit({"event": "verdict", **_verdict(_read_job(job), name, connector, emit)})
        except MemoryError:
            emit({"event": "verdict", **_failed(FailureCode.RESOURCE_LIMIT)})
        except BaseException as error:
            emit({"event": "verdict", **_failed(FailureCode.INTERNAL_DRIVER_ERROR, error_type=type(error).__name__)})
    finally:
        os._exit(0)


def _emitter(descriptor: int) -> _Emit:
    def emit(event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        while line:
            line = line[os.write(descriptor, line) :]

    return emit


def _read_job(descriptor: int) -> dict[str, Any]:
    data = bytearray()
    while len(data) <= JOB_LIMIT and (chunk := os.read(descriptor, 65536)):
        data += chunk
    os.close(descriptor)
    job: dict[str, Any] = json.loads(data)
    return job


def _verdict(
    job: dict[str, Any], name: ConnectorName, connector: LoadedConnector | None, emit: _Emit
) -> dict[str, Any]:
    try:
        connector = connector or name.load()
    except PluginBroken as problem:
        return _failed(FailureCode.CONNECTOR_UNAVAILABLE, remedy=str(problem))
    except LookupError:
        gone = f"The connector '{name.identifier}' is no longer installed; run: pip install {name.distribution}"
        return _failed(FailureCode.CONNECTOR_UNAVAILABLE, remedy=gone)
    except ImportError as error:
        return _driver_missing(error, name)
    connector = connector.configured(job["settings"])
    try:
        secrets = parse_secrets(connector.secrets_model, job["document"])
    except SecretsInvalid:
        outdated = "The stored secrets do not fit this version of the connector; send a complete set again."
        return _failed(FailureCode.SECRETS_UNREADABLE, remedy=outdated)
    addresses = VettedAddresses(
        EgressPolicy(job["allow_loopback"], tuple(job["deny"])), on_denial=lambda: emit({"event": "denied"})
    )
    context = ChildContext(
        killed_at=job["killed_at"],
        addresses=addresses,
        settings=job["settings"],
        emit=emit,
        tokens=job["tokens"],
    )
    limit_resources(job["memory"])
    much_memory = peak_memory() + job["memory"] // 2
    addresses.enforce()
    try:
        _run(connector, secrets, context, job["exchange"])
    except CheckSkipped:
        return {"status": "skipped"}
    except BaseException as error:
        failure = _classified(error, name, context)
        if addresses.denied and (_was_denied(error) or failure["code"] not in _ANSWERED):
            return _failed(FailureCode.ADDRESS_NOT_ALLOWED)
        if peak_memory() > much_memory:
            # Native code that runs out of memory says so in text only, if at all. Nothing asks for half the allowance
            # but a flood: reading on doubles a buffer, and that is what the limit stops.
            return _failed(FailureCode.RESOURCE_LIMIT)
        hidden = [
            *sensitive_texts(connector.secrets_model, job["document"]),
            *context.token_texts,
            *filter(None, (job["exchange"] or {}).values()),
        ]
        return failure | {"remedy": _presentable(failure["remedy"], hidden)}
    return {"status": "succeeded"}


def _run(connector: LoadedConnector, secrets: Secrets, context: ChildContext, exchange: dict[str, Any] | None) -> None:
    if exchange is not None:
        connector.exchange_code(secrets, exchange["code"], exchange["code_verifier"], context)
        if not context.has_stored_tokens:
            raise TypeError("connectory_exchange_code() must hand tokens to context.store_tokens()")
        return
    lacks_tokens = connector.description.authorization_required and context.tokens is None
    if lacks_tokens and connector.authorization(secrets) is not None:
        raise CheckFailed(FailureCode.AUTH_FAILED, remedy=UNAUTHORIZED)
    connector.test(secrets, context)


def _classified(error: BaseException, name: ConnectorName, context: ChildContext) -> dict[str, Any]:
    if isinstance(error, CheckFailed):
        return _failed(
            FailureCode(error.code), step=error.step, remedy=error.remedy, retry_after=seconds(error.retry_after)
        )
    if isinstance(error, MemoryError):
        return _failed(FailureCode.RESOURCE_LIMIT)
    if isinstance(error, ImportError):
        return _driver_missing(error, name)
    if isinstance(error, TimeoutError):
        return _failed(context.timeout_code)
    return _failed(FailureCode.INTERNAL_DRIVER_ERROR, error_type=type(error).__name__)


def _driver_missing(error: ImportError, name: ConnectorName) -> dict[str, Any]:
    module = f"The module '{error.name}'" if _MODULE_NAME.fullmatch(error.name or "") else "A module of the driver"
    remedy = f"{module} cannot be imported; run: pip install --force-reinstall {name.distribution}"
    return _failed(FailureCode.DRIVER_MISSING, remedy=remedy)


def _was_denied(error: BaseException | None) -> bool:
    return any(isinstance(cause, AddressDenied) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it came from, once each: a chain may be a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _presentable(remedy: object, secret: Iterable[str]) -> str | None:
    """A plugin's own sentence, unless it holds what must not be shown."""
    if not isinstance(remedy, str) or len(remedy) > REMEDY_LIMIT or not remedy.isprintable():
        return None
    return None if any(text in remedy for text in secret if len(text) >= _TELLING_LENGTH) else remedy


def _failed(
    code: FailureCode,
    *,
    step: str | None = None,
    remedy: str | None = None,
    retry_after: float | None = None,
    error_type: str | None = None,
) -> dict[str, Any]:
    return {
        "status": "failed",
        "code": code.value,
        "step": step,
        "remedy": remedy,
        "retry_after": retry_after,
        "error_type": error_type,
    }
