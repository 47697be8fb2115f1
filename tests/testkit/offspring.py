"""The processes that one test starts, apart from the servers and templates that other tests keep running."""

import psutil


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
