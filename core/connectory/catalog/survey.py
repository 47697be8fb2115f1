"""Load every plugin in a process of its own, while the service makes itself ready.

What the service shows of its connectors comes back as data. A connector's code is imported into the service when it first
validates secrets; most of what is installed never is. A plugin that ends its process when it is imported costs only itself.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stdout, suppress
from dataclasses import asdict
from typing import Any, NoReturn, Self, TextIO

from connectory.catalog.catalog import Catalog, build_catalog, find_connector
from connectory.catalog.discovery import Selection
from connectory.catalog.loaded import LoadedConnector, Plugin
from connectory.catalog.loading import LOAD_LIMIT, PluginBroken, too_slow
from connectory.catalog.process_state import ProcessState
from connectory.catalog.record import PluginRecord, PluginStatus
from connectory.catalog.watch import Attentive
from connectory.contract.description import Description
from connectory.documents.roles import FieldFacts

_Key = tuple[str, str, str]


class SurveyFailed(Exception):
    """The installed plugins cannot be looked at; the message is one line."""


class ConnectorLost(Exception):
    """A connector loaded when the service started, but does not any more; the message says what to do."""


_MANY = 250
"""Installed distributions from which on several processes look at them: 500 connectors take one process seconds."""
_MOST = 4
_ONE_AT_A_TIME = threading.Lock()


class Survey:
    """What is installed, found out by forked processes. Use it as a context, so that they end with it.

    Must be made before the process has threads.

    Args:
        selection: the deployer's allow and deny lists and pins.

    Raises:
        SurveyFailed: no process can be started.
    """

    def __init__(self, selection: Selection) -> None:
        parts = min(_MOST, os.cpu_count() or 1) if _installed() >= _MANY else 1
        self._parts = ExitStack()
        with ExitStack() as started:
            self._surveys = [started.enter_context(_PartOfSurvey(selection, (part, parts))) for part in range(parts)]
            self._parts = started.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def catalog(self) -> Catalog:
        """Wait for the answer. The connectors in it load their plugins when they are first used.

        Raises:
            SurveyFailed: a process ended, and not while it ran a plugin's code; or it cannot be started again.
        """
        found = [survey.answer() for survey in self._surveys]
        return Catalog(
            [record for one in found for record in one.records],
            [connector for one in found for connector in one.connectors.values()],
            [name for one in found for name in one.variables],
        )


def _installed() -> int:
    """How many distributions there are, about: looking at each takes a millisecond, and counting their folders does not."""
    found = 0
    for folder in sys.path:
        with suppress(OSError), os.scandir(folder or ".") as entries:
            found += sum(entry.name.endswith(".dist-info") for entry in entries)
    return found


class _PartOfSurvey:
    """What is installed, or an equal part of it, found out by one forked process.

    Args:
        share: which part, of how many.
    """

    def __init__(self, selection: Selection, share: tuple[int, int]) -> None:
        self._selection, self._share = selection, share
        self._crashed: dict[_Key, str] = {}
        self._slow: set[PluginRecord] = set()
        self._deferred: frozenset[PluginRecord] = frozenset()
        self._one_by_one = False
        self._pid = 0
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._wait()

    def answer(self) -> Catalog:
        """Wait for the answer.

        Raises:
            SurveyFailed: as `Survey.catalog`.
        """
        # Each turn is one process. It says what it is about to load before it does, so when it ends without an answer,
        # the plugin it named last is to blame: the next process is told to leave that one out. Where others were still being
        # loaded beside it, nobody knows which one is: the next process loads the slow ones last, and where that does not tell
        # either, one by one.
        while True:
            loading: PluginRecord | None = None
            alone, again = True, False
            for line in self._answers:
                if not line.endswith("\n"):
                    break  # the process ended in the middle of it
                match json.loads(line):
                    case {"loading": record, "alone": bool(alone)}:
                        loading = _record(record) if record else None
                    case {"slow": record}:
                        self._slow.add(_record(record))
                    case {"again": True}:
                        again = True
                    case {"log": [str(name), int(level), str(text)]}:
                        logging.getLogger(name).log(level, text)
                    case {"records": list(records), "connectors": list(connectors), "variables": list(variables)}:
                        self._wait()
                        return Catalog([_record(record) for record in records], map(_connector, connectors), variables)
            status = self._wait()
            if again:
                self._deferred = frozenset(self._slow)
                self._start()
                continue
            if loading is None:
                raise SurveyFailed(
                    f"The process that looks for plugins ended ({_ending(status)}), and not in a plugin."
                )
            if alone or self._one_by_one:
                self._crashed[_key(loading)] = _why(loading, status)
            elif self._slow <= self._deferred:
                self._one_by_one = True
            self._deferred = frozenset(self._slow)
            self._start()

    def _start(self) -> None:
        reader, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            reason = error.strerror or type(error).__name__
            raise SurveyFailed(f"No process can be started to look for plugins ({reason}).") from None
        if self._pid == 0:
            os.close(reader)
            self._survey(os.fdopen(writer, "w", encoding="utf-8"))
        os.close(writer)
        self._answers = os.fdopen(reader, encoding="utf-8")

    def _survey(self, answers: TextIO) -> NoReturn:
        """In the forked process: load everything and answer."""
        errors = os.fdopen(os.dup(2), "w")
        one_at_a_time = threading.Lock()  # a plugin that hangs is left behind in a thread, and may log from there

        def answer(message: dict[str, Any]) -> None:
            with one_at_a_time:
                answers.write(json.dumps(message) + "\n")
                answers.flush()

        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            logging.getLogger().handlers[:] = [_Forward(answer)]
            watch = _Announcing(answer, self._crashed)
            if self._one_by_one:
                watch.patience = LOAD_LIMIT
            else:
                watch.deferred = self._deferred
            catalog = build_catalog(self._selection, watch=watch, share=self._share)
            signal.alarm(0)
            answer({"loading": None, "alone": True})
            # All of it at the end: the pipe takes 64 KiB (pipe(7)) before somebody has to read.
            connectors = [_facts(connector) for connector in catalog.connectors.values()]
            records = [asdict(record) for record in catalog.records]
            answer({"records": records, "connectors": connectors, "variables": sorted(catalog.variables)})
        except BrokenPipeError:
            os._exit(0)  # nobody waits for it any more
        except BaseException:
            traceback.print_exc(file=errors)
            errors.flush()
            os._exit(1)
        os._exit(0)

    def _wait(self) -> int:
        self._answers.close()
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


class _Announcing(Attentive):
    """Says what is loaded before it is."""

    def __init__(self, answer: Callable[[dict[str, Any]], None], crashed: Mapping[_Key, str]) -> None:
        super().__init__()
        self._answer, self._crashed = answer, crashed
        self._beside = False

    def begin(self, record: PluginRecord) -> None:
        if _key(record) in self._crashed:
            raise PluginBroken(self._crashed[_key(record)])
        super().begin(record)
        # Loading has a limit already; the alarm is for native code that never lets another thread run. Answering is not
        # limited: it may have to wait until the service reads.
        signal.alarm(0)
        self._answer({"loading": asdict(record), "alone": self._alone is not None})
        signal.alarm(int(LOAD_LIMIT) + 2)

    def note_slow(self, record: PluginRecord) -> None:
        self._answer({"slow": asdict(record)})
        self._beside |= self.patience < LOAD_LIMIT and record not in self.deferred

    def wait_for_slow(self) -> None:
        # What others did beside them is anybody's doing. Once more, with the slow ones last.
        if self._beside:
            self._answer({"again": True})
            os._exit(0)


def text_of(record: logging.LogRecord) -> str:
    """What the service logs of a line: its own whole, of others their template. Their arguments may hold untrusted text."""
    return record.getMessage() if record.name.startswith("connectory.") else str(record.msg)


class _Forward(logging.Handler):
    """Has the service log what is logged here."""

    def __init__(self, answer: Any) -> None:
        super().__init__(logging.WARNING)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self._answer({"log": [record.name, record.levelno, text_of(record)]})


def _record(values: dict[str, Any]) -> PluginRecord:
    return PluginRecord(**values | {"status": PluginStatus(values["status"])})


def _key(record: PluginRecord) -> _Key:
    return record.identifier, record.distribution, record.target


def _why(record: PluginRecord, status: int) -> str:
    if status == -signal.SIGALRM:
        return too_slow()
    return (
        f"Importing it ended the process ({_ending(status)}); report it to the authors of "
        f"{record.distribution} {record.version}."
    )


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _facts(connector: LoadedConnector) -> dict[str, Any]:
    return {
        "record": asdict(connector.record),
        "system_type": connector.system_type,
        "description": connector.description.model_dump(mode="json"),
        "schema": connector.schema,
        "fields": connector.fields,
        "settings_values": connector.settings_values,
        "asks_for_consent": connector.asks_for_consent,
        "opens_sessions": connector.opens_sessions,
        "knows_collections": connector.knows_collections,
    }


def _connector(facts: dict[str, Any]) -> LoadedConnector:
    record = _record(facts["record"])
    description = Description.model_validate(facts["description"])
    fields = tuple(FieldFacts(*field) for field in facts["fields"])
    made = {"record": record, "description": description, "fields": fields, "plugin": _Later(record)}
    return LoadedConnector(**facts | made)


class _Later:
    """The plugin of a connector, loaded when it is first asked for."""

    def __init__(self, record: PluginRecord) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._plugin: Plugin | None = None

    def __call__(self) -> Plugin:
        with self._lock:
            if self._plugin is None:
                self._plugin = self._load()
        return self._plugin

    def _load(self) -> Plugin:
        record, unheard = self._record, io.StringIO()
        try:
            # What it does besides was seen in the process that surveyed it, and is told where plugins are listed. One at a time:
            # what two do to the process could not be told apart.
            with _ONE_AT_A_TIME, ProcessState(), warnings.catch_warnings(), redirect_stdout(unheard):
                warnings.simplefilter("ignore")
                found = find_connector(
                    record.identifier, record.distribution, source=record.source, target=record.target
                )
        except PluginBroken as problem:
            reason = str(problem)
        except LookupError:
            reason = f"It is no longer installed; run: pip install {record.distribution}"
        else:
            return found.plugin()
        raise ConnectorLost(
            f"The connector '{record.identifier}' has changed since the service started: {reason} Then restart the service."
        )
