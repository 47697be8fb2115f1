"""What keeps a command from doing what it was asked."""

from __future__ import annotations


class Refused(Exception):
    """The command cannot do what it was asked, with exit code 2. The message has a line for each thing that is wrong."""
