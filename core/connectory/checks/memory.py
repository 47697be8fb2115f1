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

    A fork shares its parent's memory until one of them writes to it. A test is trusted to share what its fork server has, and
    counts which it has more. What a test forks counts in full: it may write to all of it, and the kernel does not say to whom
    memory belongs.
    """
    table = family(root)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for process, (parent, _) in table.items():
        children[parent].append(process)

    def below(process: int, shared: int, of_test: bool) -> int:
        resident = table[process][1]
        of_test = of_test or process in sizes
        size = max(0, resident - shared)
        size += sum(below(child, 0 if of_test else resident, of_test) for child in children[process])
        if process in sizes:
            sizes[process] = size
        return size

    sizes = {test: 0 for test in tests if test in table}
    total = below(root, 0, root in sizes) if root in table else 0
    return Usage(total, max(sizes, key=lambda test: sizes[test], default=None))
