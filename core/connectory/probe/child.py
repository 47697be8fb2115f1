"""The process that runs one connection test, and ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

from connectory.catalog.catalog import find_connector
from connectory.catalog.connector import Connector
from connectory.catalog.loading import PluginBroken
from connectory.contract.check import CheckFailed, CheckSkipped, FailureCode
from connectory.contract.secrets import SecretsInvalid, parse_secrets, sensitive_texts
from connectory.probe.context import ChildContext, EgressDenied
from connectory.probe.egress import EgressPolicy
from connectory.probe.process import die_with_parent, limit_resources

JOB_LIMIT = 2**20
"""Bytes that a job may have: a request body is limited to as much."""
RESULT_LIMIT = 2**16
"""Bytes that a child may answer."""
_LEAK_LENGTH = 4


def run_child(parent: int, job_fd: int, result_fd: int, connectors: dict[tuple[str, str], Connector]) -> None:
    """Read one job, run it, report, and end the process. Never returns."""
    try:
        die_with_parent(parent)
        os.setsid()
        _detach(job_fd, result_fd)
        job = json.loads(_read(job_fd))
        emit = _emitter(result_fd)
        limit_resources(job["memory"])
        verdict = _run(job, connectors, emit)
        emit(verdict)
    except MemoryError:
        _last_words(result_fd, FailureCode.RESOURCE_LIMIT)
    except BaseException as error:
        _last_words(result_fd, FailureCode.INTERNAL_DRIVER_ERROR, type(error).__name__)
    finally:
        os._exit(0)


def _detach(*keep: int) -> None:
    """Leave nothing of the template's: its signals, its standard streams, its files."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    last = 2
    for descriptor in sorted(keep):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, min(2**16, os.sysconf("SC_OPEN_MAX")))


def _read(descriptor: int) -> bytes:
    data = b""
    while len(data) <= JOB_LIMIT and (chunk := os.read(descriptor, 65536)):
        data += chunk
    os.close(descriptor)
    return data


def _emitter(descriptor: int) -> Callable[[dict[str, Any]], None]:
    left = RESULT_LIMIT - 4096  # the verdict always fits

    def emit(event: dict[str, Any]) -> None:
        nonlocal left
        line = json.dumps(event).encode() + b"\n"
        if event["event"] == "verdict" or left >= len(line):
            left -= len(line)
            os.write(descriptor, line)

    return emit


def _last_words(descriptor: int, code: FailureCode, error_type: str | None = None) -> None:
    event = {"event": "verdict", "status": "failed", "code": code, "error_type": error_type}
    os.write(descriptor, json.dumps(event).encode() + b"\n")


def _run(
    job: dict[str, Any], connectors: dict[tuple[str, str], Connector], emit: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    name = (job["identifier"], job["distribution"])
    connector = connectors.get(name)
    if connector is None:
        try:
            connector = find_connector(*name, environment={})
        except (LookupError, PluginBroken) as error:
            return _failed(FailureCode.CONNECTOR_UNAVAILABLE, error_type=type(error).__name__)
    emit({"event": "loaded"})
    context = ChildContext(
        deadline=job["deadline"],
        policy=EgressPolicy(job["allow_loopback"], tuple(job["deny"])),
        settings=job["settings"],
        emit=emit,
    )
    try:
        secrets = parse_secrets(connector.secrets_model, job["document"])
    except SecretsInvalid:
        outdated = "The stored secrets no longer fit the connector's schema; send them again with PUT /connection/{key}/secret."
        return _failed(FailureCode.SECRETS_UNREADABLE, remedy=outdated)
    context.enforce()
    try:
        connector.test(secrets, context)
    except CheckSkipped:
        return {"event": "verdict", "status": "skipped"}
    except BaseException as error:
        failure = _classify(error, connector, context)
        context.fail_step(failure.step)
        sensitive = [
            text for text in sensitive_texts(connector.secrets_model, job["document"]) if len(text) >= _LEAK_LENGTH
        ]
        remedy = failure.remedy if failure.remedy and not any(text in failure.remedy for text in sensitive) else None
        unexpected = failure.code is FailureCode.INTERNAL_DRIVER_ERROR
        return _failed(
            failure.code,
            remedy=remedy,
            retry_after=failure.retry_after,
            error_type=type(error).__name__ if unexpected else None,
        )
    return {"event": "verdict", "status": "succeeded"}


def _failed(code: FailureCode, **more: Any) -> dict[str, Any]:
    return {"event": "verdict", "status": "failed", "code": code, **more}


def _classify(error: BaseException, connector: Connector, context: ChildContext) -> CheckFailed:
    if context.denied or isinstance(error, EgressDenied):
        return CheckFailed(FailureCode.ADDRESS_NOT_ALLOWED)
    if isinstance(error, CheckFailed):
        return error
    if isinstance(error, MemoryError):
        return CheckFailed(FailureCode.RESOURCE_LIMIT)
    if isinstance(error, ImportError):
        distribution = connector.record.distribution
        missing = f"The module '{error.name}' cannot be imported" if error.name else "The driver cannot be imported"
        return CheckFailed(
            FailureCode.DRIVER_MISSING, remedy=f"{missing}; run: pip install --force-reinstall {distribution}"
        )
    if isinstance(error, TimeoutError):
        return CheckFailed(context.timeout_code)
    return CheckFailed(FailureCode.INTERNAL_DRIVER_ERROR)
