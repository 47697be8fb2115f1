"""What importing a connector does to the process that imports it, seen in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from typing import Any

from packaging.utils import canonicalize_name

IMPORT_LIMIT = 1.0
"""Seconds that importing a connector may take: the service does it for each at its start, and an author's tests each time."""
SERVER_ONLY = ("connectory.api", "connectory.store", "connectory.vault", "connectory.checks", "connectory.settings")
"""Parts of core that no plugin may import: they are not there where only `connectory` is installed, or not stable."""
HEAVY = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "cryptography", "pytest")
"""What drawing the list of connectors must not import, besides the connector's own drivers."""

# What waits for a processor on a busy machine is not the plugin's; Linux counts it in /proc/self/schedstat.
_OBSERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import logging, os, socket, tempfile, threading, time, traceback, warnings
from connectory.catalog.catalog import find_connector

def waited():
    try:
        with open("/proc/self/schedstat") as counted:
            return int(counted.read().split()[1]) / 1e9
    except OSError:
        return 0.0

def state():
    return {
        "logging.disable()": logging.root.manager.disable,
        "the root logger's level": logging.root.level,
        "the root logger's handlers": [repr(handler) for handler in logging.root.handlers],
        "the class of loggers": repr(logging.getLoggerClass()),
        "how logging makes records": repr(logging.getLogRecordFactory()),
        "methods of loggers": [repr(vars(logging.Logger)[name]) for name in ("_log", "handle", "callHandlers", "isEnabledFor")],
        "the timeout of new sockets": socket.getdefaulttimeout(),
        "the running threads": threading.active_count(),
        "sys.stdout or sys.stderr": [repr(sys.stdout), repr(sys.stderr)],
        "sys.excepthook": repr(sys.excepthook),
        "the working directory": os.getcwd(),
        "the environment": dict(os.environ),
    }

before, own = state(), os.dup(1)
found = {"failure": None}
with tempfile.TemporaryFile() as written, warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    for descriptor in (1, 2):
        os.dup2(written.fileno(), descriptor)
    began = time.perf_counter() - waited()
    try:
        connector = find_connector(sys.argv[2], sys.argv[3])
        connector.description, connector.schema
    except BaseException:
        found["failure"] = traceback.format_exc()
    found["seconds"] = time.perf_counter() - waited() - began
    sys.stdout.flush(), sys.stderr.flush()
    written.seek(0)
    found["output"] = written.read(2000).decode("utf-8", "replace")
    after = state()
found["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in warned]
found["changed"] = [name for name in before if before[name] != after[name]]
found["modules"] = sorted(sys.modules)
os.write(own, json.dumps(found).encode())
os._exit(0)
"""

Observed = dict[str, Any]
"""What was seen: `failure`, `seconds`, `output`, `warnings`, `changed` and `modules`."""


def observe(identifier: str, distribution: str) -> Observed:
    """Have a fresh interpreter know the connector and its schema, as the service does at its start."""
    command = [sys.executable, "-c", _OBSERVE, json.dumps(sys.path), identifier, canonicalize_name(distribution)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    if finished.returncode != 0:
        return {"failure": f"The interpreter ended with {finished.returncode}.\n{finished.stderr}"}
    observed: Observed = json.loads(finished.stdout)
    return observed


def failure_of(observed: Observed) -> list[str]:
    """Why there is nothing more to see."""
    failure = observed["failure"]
    return [] if failure is None else [f"The connector does not load in a fresh interpreter:\n{failure}"]


def early_imports(observed: Observed, drivers: Collection[str]) -> list[str]:
    """What is imported, and should not be."""
    unwanted = {name for name in (*drivers, *HEAVY, *SERVER_ONLY) if name in observed.get("modules", ())}
    complaints = [f"'{name}' is imported before a test runs; import it inside the test." for name in sorted(unwanted)]
    return failure_of(observed) or complaints


def noise(observed: Observed) -> list[str]:
    """What importing has written, warned of, and changed for everybody else in the process."""
    if observed["failure"] is not None:
        return failure_of(observed)
    complaints = [f"Importing it warns: {warning}" for warning in observed["warnings"]]
    complaints += [
        f"Importing it changes {name} of the whole process; do it inside the test." for name in observed["changed"]
    ]
    if observed["output"]:
        complaints.append(
            f"Importing it writes, which breaks what reads the output of commands: {observed['output']!r}"
        )
    return complaints


def slowness(observed: Observed) -> list[str]:
    """Whether importing it takes too long."""
    if observed["failure"] is not None or observed["seconds"] <= IMPORT_LIMIT:
        return failure_of(observed)
    took = f"Importing it took {observed['seconds']:.1f} s; at most {IMPORT_LIMIT:g} s"
    return [f"{took}: import what is heavy inside the test, and wait for nothing."]
