"""A console that listens, in a thread of the test's own process, so that the test can see and change what it does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from connectory.testing import free_port
from connectory_console.command import alone
from testkit.waiting import wait_until


@contextmanager
def listening(console: Starlette) -> Iterator[str]:
    """The address of its origin."""
    server = uvicorn.Server(uvicorn.Config(alone(console), port=free_port(), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(30)
