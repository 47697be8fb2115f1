"""One connection test from the command line, and the schema of a connector's secrets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from connectory.authoring.refusal import Refused
from connectory.authoring.secrets_file import Payload
from connectory.catalog.catalog import Catalog, find_connector
from connectory.catalog.loaded import LoadedConnector
from connectory.catalog.loading import PluginBroken
from connectory.catalog.record import PluginRecord
from connectory.catalog.survey import ConnectorLost, Survey, SurveyFailed
from connectory.checks.report import CheckReport
from connectory.checks.runner import CheckRunner
from connectory.checks.tracebacks import traceback_of
from connectory.contract.check import FailureCode
from connectory.documents.validation import Document, FieldProblem, SecretsInvalid, secrets_document
from connectory.settings import Settings, SettingsInvalid, read_settings


class _NotLoaded(Exception):
    """The connector is there, and cannot be used."""

    def __init__(self, record: PluginRecord, reason: str) -> None:
        super().__init__(reason)
        self.record = record


def print_schema(identifier: str) -> int:
    """Print the JSON Schema of the secrets of an installed connector, and return the exit code.

    Raises:
        Refused: there is no such connector, or it does not load.
    """
    try:
        connector = _find(_settings(), identifier)
    except _NotLoaded as problem:
        raise Refused(str(problem)) from None
    print(json.dumps(connector.schema, indent=2, ensure_ascii=False))
    return 0


def check(identifier: str, payload: Payload, *, debug: bool, as_json: bool) -> int:
    """Test a connection with `payload` as the service would, print what came of it, and return the exit code.

    Args:
        debug: whether to print the traceback of what the connector raised, too.
        as_json: whether to print JSON, with the names that the REST API has.

    Raises:
        Refused: there is no such connector.
    """
    settings = _settings()
    try:
        connector = _find(settings, identifier)
        document = _document(connector, payload)
    except _NotLoaded as problem:
        told = _why_it_does_not_load(problem.record) if debug else None
        return _print_report(problem.record, _unavailable(str(problem), told), as_json=as_json)
    except SecretsInvalid as refused:
        return print_problems(refused.problems, as_json=as_json)
    report = asyncio.run(_run(settings, connector, document, debug=debug))
    return _print_report(connector.record, report, as_json=as_json)


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsInvalid as error:
        raise Refused("\n".join(error.problems)) from None


def _find(settings: Settings, identifier: str) -> LoadedConnector:
    try:
        with Survey(settings.selection) as survey:
            catalog = survey.catalog()
    except SurveyFailed as problem:
        raise Refused(str(problem)) from None
    found = catalog.get(identifier)
    if found is not None:
        return found
    record = next((record for record in catalog.records if record.identifier == identifier), None)
    if record is None:
        raise Refused(f"No connector of that type is installed; there are: {_known(catalog)}.")
    raise _NotLoaded(record, catalog.unavailable_reason(identifier, record.distribution))


def _known(catalog: Catalog) -> str:
    return ", ".join(sorted({record.identifier for record in catalog.records})) or "none"


def _document(connector: LoadedConnector, payload: Payload) -> Document:
    try:
        return secrets_document(connector.secrets_model, payload)
    except ConnectorLost as problem:
        raise _NotLoaded(connector.record, str(problem)) from None


def _why_it_does_not_load(record: PluginRecord) -> str | None:
    """The traceback of what the connector raised when it was imported."""
    try:
        find_connector(record.identifier, record.distribution, source=record.source, target=record.target)
    except PluginBroken as problem:
        cause = problem.__cause__
        return traceback_of(cause, []) if cause is not None else None
    except LookupError:
        return None
    return None


async def _run(settings: Settings, connector: LoadedConnector, document: Document, *, debug: bool) -> CheckReport:
    runner = CheckRunner(
        policy=settings.egress_policy,
        deadline=settings.probe_deadline,
        closed=map(str, settings.own_paths),
        spares=0,
        cleartext_unverified=settings.allow_cleartext_in_unverified_tls,
        tracebacks=debug,
    )
    await runner.start()
    try:
        return await runner.run(connector.identifier, connector, lambda: document)
    finally:
        await runner.stop()


def _unavailable(reason: str, traceback: str | None) -> CheckReport:
    return CheckReport("failed", FailureCode.CONNECTOR_UNAVAILABLE, reason, traceback=traceback)


def print_problems(problems: list[FieldProblem], *, as_json: bool) -> int:
    """Print what is wrong with secrets, by field, and return the exit code of a wrong use."""
    told = [(".".join(map(str, problem["loc"])), problem["msg"]) for problem in problems]
    if as_json:
        print(json.dumps({"problems": [{"field": field, "message": message} for field, message in told]}, indent=2))
    else:
        print("The secrets do not fit the connector's schema; nothing was tested.", file=sys.stderr)
        for field, message in told:
            print(f"  {field or 'all fields'}: {message}", file=sys.stderr)
    return 2


def _print_report(record: PluginRecord, report: CheckReport, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_item(record, report), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(record, report)))
    return 1 if report.status == "failed" else 0


def _item(record: PluginRecord, report: CheckReport) -> dict[str, Any]:
    """The report under the names that the REST API has, and the traceback where there is one."""
    item = {
        "connection_type": record.identifier,
        "test_status": report.status,
        "failure_code": report.code,
        "failure_reason": report.reason,
        "failure_fields": report.failure_fields,
        "encrypted": report.encrypted,
        "verified": report.verified,
        "retry_after": report.retry_after,
        "steps": [asdict(step) for step in report.steps],
        "elapsed_ms": report.elapsed_ms,
    }
    return item | ({"traceback": report.traceback} if report.traceback is not None else {})


def _lines(record: PluginRecord, report: CheckReport) -> Iterator[str]:
    yield f"{record.identifier} ({record.distribution} {record.version}): {report.status}, {report.elapsed_ms:.0f} ms"
    width = max((len(step.name) for step in report.steps), default=0)
    for step in report.steps:
        yield f"  {step.name.ljust(width)}  {step.status}" + (
            "" if step.status == "skipped" else f"  {step.elapsed_ms:.0f} ms"
        )
    if report.encrypted is not None:
        certificate = "its certificate was verified" if report.verified else "its certificate was not verified"
        yield (
            f"The connection was encrypted; {certificate}." if report.encrypted else "The connection was not encrypted."
        )
    if report.code is not None:
        raised = f" (the connector raised {report.error_type})" if report.error_type else ""
        yield f"{report.code}{raised}: {report.reason}"
    if report.traceback is not None:
        yield ""
        yield report.traceback.rstrip()
