"""Every connector against every kind of far end that an attacker, a broken network or a typing error can put there.

Each test ends in time, with a code that says what happened, and shows and sends no secret where it must not. Afterwards nothing
is left of it: no process, no descriptor, no thread, no memory.
"""

import gc
import json
import logging
import os
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, NamedTuple

import psutil
import pytest

from connectory import FailureCode
from connectory.documents.masking import sensitive_texts
from connectory.documents.validation import secrets_document
from connectory.testing import Outcome, Trial, Workbench, build_catalog, refused_port, silent_server
from connectory.testing.certificates import Certificates
from connectory.testing.exposure import appearances
from servers.hostile_rows import Row, rows
from servers.mariadb.server import MariaDBServer
from servers.mssql import odbc
from servers.postgres.server import PostgresServer
from testkit.offspring import Offspring

DEADLINE = 3.0
NOISE = 1.0 + 2.0
"""Seconds after its deadline by which a test must have been reported: one that is promised, and two for a busy machine."""
MEMORY_BOUND = 20 * 2**20
"""Bytes by which a process that stays may have grown after a row. One flooded answer that was kept would be 400 MiB."""

CODES = {
    "refused": {FailureCode.CONNECT_REFUSED},
    "black hole": {FailureCode.CONNECT_TIMEOUT},
    "silent": {FailureCode.TIMEOUT},
    "silent after TLS": {FailureCode.TIMEOUT},
    "silent after login": {FailureCode.TIMEOUT},
    "drip": {FailureCode.TIMEOUT, FailureCode.PROTOCOL_MISMATCH},
    "flood": {FailureCode.TIMEOUT, FailureCode.PROTOCOL_MISMATCH, FailureCode.RESOURCE_LIMIT},
    "bomb": {FailureCode.TIMEOUT, FailureCode.PROTOCOL_MISMATCH, FailureCode.RESOURCE_LIMIT},
    "wrong protocol": {FailureCode.PROTOCOL_MISMATCH},
    "refused login": {FailureCode.AUTH_FAILED},
    "reflects": {FailureCode.AUTH_FAILED, FailureCode.PROTOCOL_MISMATCH},
    "downgrade": {FailureCode.TLS_FAILED, FailureCode.PROTOCOL_MISMATCH},
    "second host": {FailureCode.AUTH_FAILED, FailureCode.UNEXPECTED_REDIRECT},
    "success": {None},
}
"""The behaviours, and what each may come to."""

THAT_HANG = ("black hole", "silent", "silent after TLS", "silent after login", "drip", "flood", "bomb")

_NO_SECOND_HOST = "the protocol names no other server"
_WITH_THE_REQUEST = "credentials travel with the request that is not answered, which is 'silent'"
_OWN_SERVER = "its stand-in is a process of its own, and its conformance tests assert this with it"
_WITH_KEYS = ("datadog", "hubspot", "mailchimp", "segment", "sendgrid", "sentry", "stripe", "zendesk")
LEFT_OUT: dict[str, dict[str, str]] = {
    "manual": dict.fromkeys(CODES, "it connects to nothing"),
    "postgres": {"second host": _NO_SECOND_HOST},
    "redshift": {"second host": _NO_SECOND_HOST, "success": _OWN_SERVER},
    "mysql": {"second host": _NO_SECOND_HOST},
    "mariadb": {"second host": _NO_SECOND_HOST},
    "mssql": {"success": _OWN_SERVER},
    "mongodb": {"success": _OWN_SERVER},
    "snowflake": {"refused login": _OWN_SERVER, "success": _OWN_SERVER},
    "bigquery": {"refused login": _OWN_SERVER, "success": _OWN_SERVER},
    **{identifier: {"silent after login": _WITH_THE_REQUEST} for identifier in _WITH_KEYS},
}
"""The cells that make no sense for a connector, and why."""

GROUPS = ("PostgreSQL and MySQL", "Redshift and SQL Server", "MongoDB and warehouses", "web services")
"""The rows that are tested at the same time: few enough for floods not to share the memory that all tests may take."""

MAY_CRASH = {
    (
        "snowflake",
        "bomb",
    ): "its native core aborts where it gets no more memory; the answer says that the driver crashed"
}


class Footprint(NamedTuple):
    """How many processes tests have, and what this process holds and those that they are forked from, by process id.

    The two pipes to each process that waits for the next test of its connector are not counted: whether one is there yet
    depends on how busy the machine is.
    """

    spares: int
    descriptors: dict[int, int]
    threads: dict[int, int]
    memory: dict[int, int]

    @classmethod
    def of(cls, offspring: Offspring) -> "Footprint":
        roots = offspring.children()
        staying = [psutil.Process(), *roots, *(branch for root in roots for branch in root.children())]
        spares = len(offspring.all()) - len(staying) + 1
        descriptors = {process.pid: process.num_fds() for process in staying}
        descriptors[os.getpid()] -= 2 * spares
        return cls(
            spares,
            descriptors,
            {process.pid: process.num_threads() for process in staying},
            {process.pid: process.memory_info().rss for process in staying},
        )


@pytest.fixture(autouse=True)
def _trust_and_drivers(trusting_machine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in odbc.settings().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """Where no connector may be led."""
    with silent_server() as server:
        yield server


@pytest.fixture
def table(
    certificates: Certificates, postgres: PostgresServer, mariadb: MariaDBServer, elsewhere: Any
) -> dict[str, list[Row]]:
    return rows(certificates, postgres, mariadb, elsewhere)


def test_every_cell_is_tested_or_left_out_for_a_reason(table: dict[str, list[Row]]) -> None:
    found = {row.identifier: row for group in table.values() for row in group}
    # Other tests of the same process install connectors of their own.
    records = build_catalog().records
    installed = {record.identifier for record in records if record.distribution.startswith("connectory")}
    assert found.keys() | {"manual"} == installed
    for identifier in installed:
        tested = found[identifier].cells.keys() if identifier in found else set()
        assert tested | LEFT_OUT.get(identifier, {}).keys() == CODES.keys(), identifier
        assert not tested & LEFT_OUT.get(identifier, {}).keys(), identifier
    assert tuple(table) == GROUPS


@pytest.mark.parametrize("group", GROUPS)
def test_no_far_end_holds_a_connector_up_or_learns_or_leaves_anything(
    group: str,
    table: dict[str, list[Row]],
    elsewhere: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    cells = [(row, behaviour) for row in table[group] for behaviour in row.cells]
    offspring = Offspring()
    with Workbench() as workbench:
        try_each_once(workbench, table[group])
        before = settled(offspring)
        complaints = []
        secrets: set[str] = set()
        for hanging in (False, True):  # those that hang may all do so at once, and hold up none that end by themselves
            some = [(row, behaviour) for row, behaviour in cells if (behaviour in THAT_HANG) is hanging]
            found, sent = examine(workbench, some, at_once=12 if hanging else 4)
            complaints += found
            secrets |= sent
        try_each_once(workbench, table[group])
        complaints += left_behind(before, settled(offspring), connectors=len(table[group]))
    written = capfd.readouterr()
    complaints += appearances(secrets, {"a log": caplog.text, "output": written.out, "errors": written.err})
    assert elsewhere.connections == 0
    assert not complaints, "\n".join(complaints)


def try_each_once(workbench: Workbench, group: list[Row]) -> None:
    """Have the drivers imported, and a process waiting for each connector's next test."""
    with refused_port() as nobody:
        trials = [row.trial("refused", nobody) for row in group]
        for _ in range(10):  # an import on a busy machine takes longer than a test has
            outcomes = workbench.test_trials(trials, deadline=DEADLINE, at_once=1)
            if all(outcome.report.code is FailureCode.CONNECT_REFUSED for outcome in outcomes):
                return


def examine(workbench: Workbench, cells: list[tuple[Row, str]], *, at_once: int) -> tuple[list[str], set[str]]:
    """What is wrong with the tests of these cells, and the secrets that they had."""
    with ExitStack() as running:
        servers = [running.enter_context(row.cells[behaviour].start()) for row, behaviour in cells]
        trials = [row.trial(behaviour, server) for (row, behaviour), server in zip(cells, servers, strict=True)]
        outcomes = workbench.test_trials(trials, deadline=DEADLINE, at_once=at_once)
        received = [getattr(server, "received", b"") for server in servers]
    complaints, secrets = [], set()
    for (row, behaviour), trial, outcome, got in zip(cells, trials, outcomes, received, strict=True):
        hidden = hidden_texts(trial)
        secrets.update(hidden)
        crashed = {FailureCode.CRASHED} if (row.identifier, behaviour) in MAY_CRASH else set()
        wrong = list(judge(behaviour, outcome, CODES[behaviour] | crashed))
        texts = {"the report": json.dumps(asdict(outcome.report), default=repr)}
        if behaviour == "downgrade":
            texts["what was sent in clear"] = got.decode("latin-1")
        wrong += appearances(hidden, texts)
        complaints += [f"{row.identifier}, {behaviour}: {problem}" for problem in wrong]
    return complaints, secrets


def hidden_texts(trial: Trial) -> list[str]:
    document = secrets_document(trial.connector.secrets_model, dict(trial.payload))
    return [text for text in sensitive_texts(trial.connector.secrets_model, document) if len(text) >= 6]


def judge(behaviour: str, outcome: Outcome, codes: Collection[FailureCode | None]) -> Iterator[str]:
    report, seconds = outcome
    if report.code not in codes:
        yield f"it ended with {report.code} ({report.error_type}), steps {report.steps}"
    if seconds > DEADLINE + NOISE:
        yield f"it took {seconds:.1f} s"
    if [step.status for step in report.steps].count("failed") != (0 if behaviour == "success" else 1):
        yield f"not exactly one step failed: {report.steps}"


def settled(offspring: Offspring) -> Footprint:
    """The footprint once nothing begins or ends for a while."""
    patience = time.monotonic() + 20
    last = Footprint.of(offspring)
    same_since = time.monotonic()
    while time.monotonic() < patience and time.monotonic() - same_since < 0.3:
        time.sleep(0.03)
        gc.collect()
        now = Footprint.of(offspring)
        if now[:3] != last[:3]:
            last, same_since = now, time.monotonic()
    return now


def left_behind(before: Footprint, now: Footprint, connectors: int) -> Iterator[str]:
    """What is there now and was not before. One process may wait for each connector's next test."""
    if now.spares > connectors:
        yield f"{now.spares} processes wait for tests of {connectors} connectors"
    for name, was, found in zip(Footprint._fields[1:3], before[1:3], now[1:3], strict=True):
        if any(number > was.get(pid, 0) for pid, number in found.items()):
            yield f"{name}: {was} before, {found} afterwards"
    for pid, memory in now.memory.items():
        grown = memory - before.memory.get(pid, 0)
        if grown > MEMORY_BOUND:
            yield f"process {pid} has grown by {grown / 2**20:.1f} MiB"
