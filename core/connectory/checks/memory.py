"""How much memory connection tests, and the processes that they are forked from, take together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from connectory.checks.linux import family

BUDGET = 2 * 2**30
"""Bytes that they may take together: tests at their limit of 512 MiB are few, and one of a database takes 20 MiB."""


@dataclass(frozen=True)
class Usage:
    """Bytes in use.

    Attributes:
        total: of the fork servers and everything below them.
        largest: the process that takes most, with what it has started, of those right below a fork server; `None` where there
            is none.
    """

    total: int
    largest: int | None


def usage(root: int, branches: Collection[int], forks: Collection[int]) -> Usage:
    """What the tree of the fork server `root` takes. All are process ids.

    A fork shares its parent's memory until one of them writes to it. What the service asked for counts which it has more than
    its fork server. What a test has started counts in full, since it may write to all of it, and the kernel does not say to whom
    memory belongs; so does what it has left to itself, which the fork server then adopts.

    Args:
        root: the root fork server.
        branches: the other fork servers.
        forks: the tests, and whatever else the service had them fork.
    """
    table = family(root)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for process, (parent, _) in table.items():
        children[parent].append(process)

    def resident(process: int) -> int:
        return table[process][1] if process in table else 0

    def grown(process: int, parent: int) -> int:
        return max(0, resident(process) - resident(parent))

    def whole(process: int) -> int:
        return resident(process) + sum(map(whole, children[process]))

    servers = {root, *branches}
    sizes = {
        process: (grown(process, server) if process in forks else resident(process))
        + sum(map(whole, children[process]))
        for server in servers
        for process in children[server]
        if process not in servers
    }
    total = resident(root) + sum(grown(branch, root) for branch in branches) + sum(sizes.values())
    return Usage(total, max(sizes, key=lambda process: sizes[process], default=None))
