"""The turn of a test with the tokens of its connection, which no two tests may use at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class TokenTurn(Protocol):
    """Gives a test the tokens of earlier runs, and takes those that it was given for them."""

    async def take(self, patience: float) -> Mapping[str, Any] | None:
        """Wait for the turn; the tokens as they are then, or `None` where there are none. What it raises ends the test.

        Args:
            patience: seconds that it may wait.
        """

    def end(self, tokens: Mapping[str, Any] | None) -> None:
        """The test has ended, and its process is gone. Called however `take` ended, and where it was not called; never blocks.

        Args:
            tokens: what the test handed over, which replaces what it was given; `None` where it handed over nothing.
        """


class GivenTokens:
    """The turn of a test that has the tokens to itself."""

    def __init__(self, tokens: Mapping[str, Any] | None) -> None:
        self._tokens = tokens

    async def take(self, patience: float) -> Mapping[str, Any] | None:  # noqa: ARG002
        """The tokens, at once."""
        return self._tokens

    def end(self, tokens: Mapping[str, Any] | None) -> None:
        """Nothing: whoever runs the test finds them in its report."""
