"""Doing once, with made-up secrets, what every test does before its driver's own work, so that no test has to wait for it.

What a process does for the first time is slow: modules are imported, caches and libraries are filled. After a fork, the kernel
copies each page that is written to, and Python writes to whatever it looks at. A rehearsal in a branch spares its tests the
first, one in a process that waits for its job spares the test the second.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from connectory.catalog.loaded import LoadedConnector
from connectory.checks.addresses import VettedAddresses
from connectory.checks.context import ChildContext
from connectory.checks.egress import EgressPolicy
from connectory.checks.linux import peak_memory
from connectory.checks.protocol import (
    Event,
    Job,
    Verdict,
    decode_job,
    encode_event,
    encode_job,
)
from connectory.contract.secrets import Secrets
from connectory.contract.ssl_mode import SslMode
from connectory.documents.sensitivity import field_names
from connectory.documents.validation import Document, SecretsInvalid, parse_secrets
from connectory.toolkit.tls import tls_context

_HOSTS = ("localhost", "127.0.0.1")
_TEXT = "1"
"""What every field is given: a text that most accept, numbers among them."""
_TIME = 10.0


def rehearse(connector: LoadedConnector, is_over: Callable[[], bool] = lambda: False) -> None:
    """Go through a test's own steps without a secret, a driver, or a far end other than this process.

    Args:
        is_over: asked between the steps; where it says so, the others are left out. Default: all are done.
    """
    with suppress(Exception):  # the test that follows says what is wrong
        for step in _steps(connector):
            if is_over():
                return
            step()


def _steps(connector: LoadedConnector) -> Iterator[Callable[[], object]]:
    """What a test does for the first time; what takes long comes last."""
    plugin = connector.configured({}).plugin()
    model = plugin.secrets_model
    job = _job(dict.fromkeys(field_names(model), _TEXT))
    yield plugin.hooks.connectory_describe
    yield lambda: decode_job(encode_job(job))
    yield lambda: _parse(model, job.document)
    yield lambda: _emit(Verdict("succeeded"))
    yield peak_memory
    yield lambda: _connect(job)
    yield lambda: tls_context(SslMode.REQUIRED, None)


def _emit(event: Event) -> None:
    encode_event(event)


def _job(document: Document) -> Job:
    policy = EgressPolicy(allow_loopback=True)
    return Job(document=document, settings={}, policy=policy, killed_at=time.monotonic() + _TIME, memory=0)


def _parse(model: type[Secrets], document: Document) -> None:
    """Validate the made-up secrets, and then those of them that are accepted."""
    try:
        parse_secrets(model, document)
    except SecretsInvalid as error:
        refused = {str(problem["loc"][0]) for problem in error.problems if problem["loc"]}
        with suppress(SecretsInvalid):
            parse_secrets(model, {name: value for name, value in document.items() if name not in refused})


def _connect(job: Job) -> None:
    context = ChildContext(
        killed_at=job.killed_at,
        addresses=VettedAddresses(job.policy, on_denial=lambda: None),
        settings=job.settings,
        emit=_emit,
    )
    context.skip_step("rehearsal")
    for host in _HOSTS:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connection, _ = context.connect(host, listener.getsockname()[1])
        connection.close()  # after the listener: a connection that the far end gave up leaves nothing in the kernel
