"""What a plugin raises when it finds, while it loads, that it cannot be used."""

from __future__ import annotations


class ConnectorUnusable(Exception):
    """Raised while a plugin loads, by its module or by one of its hooks but the test: this connector cannot be used.

    Its record is then `failed`, and `message` is the reason that people read, so it must be one line that says what is
    wrong, where, and what to do. Other exceptions show by their type only, because their text may hold anything.

    Args:
        message: at most 500 printable characters. Never put a secret, or the value of an environment variable, into it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
