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
        total: of the root fork server and everything below it.
        largest: the test that takes most, with what it has started; `None` where no test runs.
    """

    total: int
    largest: int | None


def usage(root: int, tests: Collection[int]) -> Usage:
    """What the tree of the fork server `root` takes, where `tests` run. All are process ids.

    A fork shares its parent's memory until one of them writes to it, so of each process that counts which it has more.
    """
    table = family(root)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for process, (parent, _) in table.items():
        children[parent].append(process)

    def below(process: int) -> int:
        parent, resident = table[process]
        shared = table[parent][1] if process != root and parent in table else 0
        return max(0, resident - shared) + sum(map(below, children[process]))

    sizes = {test: below(test) for test in tests if test in table}
    return Usage(below(root) if root in table else 0, max(sizes, key=lambda test: sizes[test], default=None))
