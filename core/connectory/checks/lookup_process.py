"""The process that looks one name up, as the service sees it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from connectory.checks import channel
from connectory.checks.fork_protocol import ConnectorName
from connectory.checks.forks import ForkServerHandle, ForkServerLost
from connectory.checks.lookups import ANSWER_LIMIT, Answer, Unresolved, decode_answer
from connectory.checks.wire import ProtocolViolation


class LookupProcess:
    """One look-up, from its process's fork on.

    Args:
        server: forks the process: the one that has forked the test's.
        name: the connector that is tested.
        host: the name to look up.
        tell: is told the answer, unless this is closed before. Whoever is told must close this.

    Raises:
        OSError: this process has no more descriptors, or `server` is gone.
    """

    def __init__(
        self, server: ForkServerHandle, name: ConnectorName, host: str, tell: Callable[[Answer], None]
    ) -> None:
        self._server = server
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._line, theirs = channel.channel()
        try:
            with theirs:
                self._fork = server.fork("look_up", name, theirs.fileno())
            self._line.setblocking(False)
            self._line.send(host.encode())
        except ForkServerLost:
            self._line.close()
            raise ConnectionAbortedError from None
        self._loop.add_reader(self._line.fileno(), self._read)

    def close(self) -> None:
        """End the process."""
        self._loop.remove_reader(self._line.fileno())
        self._line.close()
        self._server.end(self._fork)

    def _read(self) -> None:
        try:
            answer = decode_answer(self._line.recv(ANSWER_LIMIT))
        except BlockingIOError:
            return
        except (OSError, ProtocolViolation):  # it died
            answer = Unresolved(socket.EAI_AGAIN)
        self._tell(answer)
