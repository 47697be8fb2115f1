"""The processes that one test starts, apart from the servers and templates that other tests keep running."""

import signal
from collections.abc import Callable

import psutil

from testkit.loopback import Peer


class Offspring:
    """Children of this process that were not there when this was made, and their descendants."""

    def __init__(self) -> None:
        self._others = {child.pid for child in psutil.Process().children()}

    def children(self) -> list[psutil.Process]:
        """The direct children only."""
        return [child for child in psutil.Process().children() if child.pid not in self._others]

    def all(self) -> list[psutil.Process]:
        """The children and everything below them."""
        found = self.children()
        return found + [below for child in found for below in child.children(recursive=True)]


def striking(offspring: Offspring, number: signal.Signals) -> Callable[[Peer], None]:
    """A far end that, as soon as a connection test has connected, sends `number` to each fork server that tests are forked from.

    No test can do that itself: the kernel keeps its signals from other processes.
    """

    def handle(peer: Peer) -> None:
        for root in offspring.children():
            for branch in root.children():
                branch.send_signal(number)
        peer.drain()

    return handle
